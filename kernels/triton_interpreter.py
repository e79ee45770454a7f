"""Triton's interpreter, made to round as a GPU does. Used only where a kernel runs on CPU tensors.

The interpreter (Triton 3.7) carries a kernel out in NumPy, one program after another. What it gets wrong for us, and what
`gpu_rounding` puts right while a kernel runs:

- `tl.fma` multiplies and adds with two roundings; our range reductions and error-free transformations need one.
- float32 to bfloat16 truncates; the GPU rounds to nearest, ties to even.
- A scalar condition that is spread over a block takes the type of the numbers it compared, on which `&` then fails.
- `tl.sum` is itself a `@triton.jit` function, which exists for the interpreter only if TRITON_INTERPRET was set when Triton was
  imported. We do without, so that a process can both interpret and compile, and give `tl.reduce` the sum directly.
- `tl.map_elementwise` does not exist, and functions that a kernel calls would have to be marked by TRITON_INTERPRET as well.
- Integers are shifted to the right, and made wider, with their sign, whatever was asked for.
- libdevice does not exist: its float64 functions are torch's (or NumPy's).
- In Triton 3.6 a size is an array of one number, which NumPy 2.4 does not take for an index.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.jit import JITFunction

from kernels.triton_compiler import load

_Array = npt.NDArray[Any]


def interpreted(source: str, name: str, names: Mapping[str, Callable[..., Any]] | None = None) -> Any:
    """The function `name` of a generated module, to be launched as `function[grid](...)` within `gpu_rounding()`.

    `names`: functions that the source calls and does not have.
    """
    module = load(source)
    vars(module).update(names or {})
    if hasattr(module, "libdevice"):
        vars(module)["libdevice"] = _Libdevice()
    kernel = interpreter.InterpretedFunction(getattr(module, name).fn)
    for called, function in list(vars(module).items()):
        if isinstance(function, JITFunction):
            vars(module)[called] = interpreter.InterpretedFunction(function.fn).rewrite()
    return kernel


@contextmanager
def gpu_rounding() -> Iterator[None]:
    """Replace what the module's text lists, and put it back. Not for several threads at a time, nor is the interpreter."""
    builder = interpreter.interpreter_builder
    plain_cast, plain_splat, plain_sum, plain_map = builder.cast_impl, builder.create_splat, tl.sum, tl.map_elementwise
    plain_shift, plain_widen, plain_patch = builder.create_lshr, builder.create_int_cast, interpreter._patch_lang_tensor

    def cast(source: Any, type: Any) -> Any:
        if source.dtype.scalar == tl.float32 and type.scalar == tl.bfloat16:
            return interpreter.TensorHandle(_to_bfloat16(source.data), tl.bfloat16)
        return plain_cast(source, type)

    def splat(type: Any, value: Any) -> Any:
        if value.data.dtype == np.bool_:
            value = interpreter.TensorHandle(value.data, tl.int1)
        return plain_splat(type, value)

    def shift(value: Any, by: Any) -> Any:
        return interpreter.TensorHandle(plain_shift(_natural(value), _natural(by)).data.view(value.data.dtype), value.dtype)

    def int_cast(value: Any, type: Any, signed: bool) -> Any:
        return plain_widen(value if signed or value.data.dtype == np.bool_ else _natural(value), type, signed)

    def fma(x: Any, y: Any, z: Any) -> Any:
        fused = _fma32 if z.dtype.scalar == tl.float32 else _fma64
        return interpreter.TensorHandle(fused(x.data, y.data, z.data), z.dtype.scalar)

    def total(value: Any, axis: int | None = None, keep_dims: bool = False) -> Any:
        return tl.reduce(value, axis, tl.standard._sum_combine, keep_dims=keep_dims)

    def patch(tensor: Any, scope: Any) -> None:
        plain_patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda value: int(value.handle.data.item()))

    # Attributes of the one builder object hide its class's methods, and are easily taken away.
    builder.cast_impl, builder.create_splat, builder.create_fma = cast, splat, fma
    builder.create_lshr, builder.create_int_cast = shift, int_cast
    tl.sum, tl.map_elementwise, interpreter._patch_lang_tensor = total, _map_elementwise, patch
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        del builder.cast_impl, builder.create_splat, builder.create_fma, builder.create_lshr, builder.create_int_cast
        tl.sum, tl.map_elementwise, interpreter._patch_lang_tensor = plain_sum, plain_map, plain_patch


def _map_elementwise(function: Callable[..., Any], *args: Any, pack: int = 1) -> tuple[Any, ...]:
    """The function of scalars, on all elements at once: every `pack`-th of them in each of its arguments."""
    shape = np.broadcast_shapes(*(a.handle.data.shape for a in args if a.type.is_block()))

    def parts(value: Any) -> list[Any]:
        if not value.type.is_block():
            return [value] * pack
        columns = np.broadcast_to(value.handle.data, shape).reshape(-1, pack).T
        return [_block(np.ascontiguousarray(column), value.dtype) for column in columns]

    found = function(*(part for value in args for part in parts(value)))
    results = []
    for k in range(0, len(found), pack):
        columns = [np.broadcast_to(part.handle.data, (math.prod(shape) // pack,)) for part in found[k : k + pack]]
        results.append(_block(np.stack(columns, axis=-1).reshape(shape), found[k].dtype))
    return tuple(results)


def _natural(value: Any) -> Any:
    """The same integers without a sign."""
    data = value.data
    return interpreter.TensorHandle(data.view(f"u{data.dtype.itemsize}"), value.dtype)


def _block(data: _Array, dtype: Any) -> Any:
    return tl.tensor(interpreter.TensorHandle(data, dtype), tl.block_type(dtype, list(data.shape)))


def _fma32(x: _Array, y: _Array, z: _Array) -> _Array:
    """x*y + z in float32, rounded once.

    The product of two float32 is exact in float64. The sum is rounded to odd there (a sum that is not exact gets an odd last bit),
    after which rounding to float32 is as good as rounding the exact sum: Boldo and Melquiond, "Emulation of a FMA and
    correctly rounded sums: proved algorithms using rounding to odd", IEEE Trans. Computers 57 (2008).
    """
    product, addend = np.broadcast_arrays(x.astype(np.float64) * y.astype(np.float64), z.astype(np.float64))
    total = product + addend
    rest = total - product
    error = (product - (total - rest)) + (addend - rest)
    bits = total.view(np.int64)
    inexact = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
    # One step away from zero where the error has the sum's sign, else towards it.
    step = np.where(np.signbit(error) == np.signbit(total), 1, -1)
    odd: _Array = np.where(inexact, bits + step, bits).view(np.float64)
    return odd.astype(np.float32)


def _fma64(x: _Array, y: _Array, z: _Array) -> _Array:
    """x*y + z in float64, rounded once, by the C library: about 0.3 microseconds an element."""
    function = ctypes.CDLL(ctypes.util.find_library("m")).fma
    function.argtypes, function.restype = [ctypes.c_double] * 3, ctypes.c_double
    result: _Array = np.vectorize(function, otypes=[np.float64])(x, y, z)
    return result


def _to_bfloat16(data: _Array) -> _Array:
    """The bits of the nearest bfloat16 numbers, uint16."""
    rounded = torch.from_numpy(np.array(data, np.float32)).to(torch.bfloat16)
    bits: _Array = rounded.view(torch.int16).numpy().view(np.uint16)
    return bits


class _Libdevice:
    """The functions of libdevice for float64 values, by name."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(torch, name, None)

        def call(*operands: Any) -> Any:
            arrays = [np.array(operand.handle.data, np.float64) for operand in operands]
            result = getattr(np, name)(*arrays) if function is None else function(*map(torch.from_numpy, arrays)).numpy()
            block = max((operand.type for operand in operands), key=lambda type: len(getattr(type, "shape", ())))
            return tl.tensor(interpreter.TensorHandle(result, tl.float64), block)

        return call
