"""What a block computes, in NumPy: each instruction with its own dtype. The reference that no backend had a hand in.

A float32 fma is computed in float64, where the product is exact, and rounded to float32; a float64 fma from the exact error of product
and sum (Dekker 1971, Knuth). Integers wrap around.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from codegen.instructions import Block, Instruction, Type, Value

Array = npt.NDArray[Any]
DTYPES: Final[dict[Type, type[np.generic]]] = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64, "b": np.bool_}
_UNSIGNED: Final = {np.dtype(np.int32): np.uint32, np.dtype(np.int64): np.uint64}
_LIBRARY: Final[dict[str, Callable[..., Array]]] = {
    **{name: getattr(np, name) for name in ("exp", "expm1", "log", "log1p", "cbrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{name: getattr(np, "arc" + name[1:]) for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh")},
    "erf": np.vectorize(math.erf, otypes=[np.float64]), "erfc": np.vectorize(math.erfc, otypes=[np.float64]), "pow": np.power,
}  # fmt: skip
_TO_FLOAT: Final = {np.dtype(np.int32): np.float32, np.dtype(np.int64): np.float64}
_BITS: Final = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}


def _split(a: Array) -> tuple[Array, Array]:
    scaled = a * 134217729.0
    high = scaled - (scaled - a)
    return high, a - high


def _fma(a: Array, b: Array, c: Array) -> Array:
    if a.dtype == np.float32:
        return (a.astype(np.float64) * b + c).astype(np.float32)
    product = a * b
    (a1, a0), (b1, b0) = _split(a), _split(b)
    error = ((a1 * b1 - product) + a1 * b0 + a0 * b1) + a0 * b0
    total = product + c
    part = total - product
    error = error + ((product - (total - part)) + (c - part))
    return np.where(np.isfinite(error), total + error, total)


def _widen(a: Array) -> Array:
    return a.astype(np.float64) if a.dtype == np.float32 else a.view(np.uint32).astype(np.int64)


def _shr(a: Array, n: Array) -> Array:
    unsigned = _UNSIGNED[a.dtype]
    shifted: Array = (a.view(unsigned) >> n.view(unsigned)).view(a.dtype)
    return shifted


_OPERATIONS: Final[dict[str, Callable[..., Array]]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "fma": _fma,
    "neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "and": np.logical_and, "or": np.logical_or, "not": np.logical_not, "select": np.where, "rare": np.where,
    "iadd": np.add, "isub": np.subtract, "imul": np.multiply,
    "iand": np.bitwise_and, "ior": np.bitwise_or, "ixor": np.bitwise_xor,
    "shl": np.left_shift, "shr": _shr, "sar": np.right_shift, "ilt": np.less, "ieq": np.equal,
    "to_float": lambda a: a.astype(_TO_FLOAT[a.dtype]), "bits": lambda a: a.view(_BITS[a.dtype]),
    "from_bits": lambda a: a.view(_TO_FLOAT[a.dtype]),
    "widen": _widen, "narrow": lambda a: a.astype(np.float32 if a.dtype == np.float64 else np.int32),
}  # fmt: skip


def evaluate(block: Block, inputs: Mapping[str, Array], *results: Value) -> list[Array]:
    """The arrays of `results` for the given inputs, which must have their instruction's dtype and broadcast with each other."""
    shape = np.broadcast_shapes(*(a.shape for a in inputs.values()))
    values: list[Array] = []
    with np.errstate(all="ignore"):
        for instruction in block.instructions:
            value = _one(instruction, inputs, values)
            assert value.dtype == DTYPES[instruction.type], (instruction, value.dtype)
            values.append(np.ascontiguousarray(np.broadcast_to(value, shape)))
    return [values[r.index] for r in results]


def _one(instruction: Instruction, inputs: Mapping[str, Array], values: list[Array]) -> Array:
    if instruction.opcode == "input":
        return inputs[str(instruction.attribute)]
    if instruction.opcode == "constant":
        return np.asarray(instruction.attribute, DTYPES[instruction.type])
    operation = _LIBRARY[str(instruction.attribute)] if instruction.opcode == "call" else _OPERATIONS[instruction.opcode]
    return operation(*(values[a] for a in instruction.args))
