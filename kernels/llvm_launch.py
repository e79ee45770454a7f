"""Running a compiled CPU kernel on torch tensors, in tiles and over threads.

How a tensor is cut does not depend on the number of threads (`kernels.tiles`), and sums are put together tile by tile in float64
and in order: the same call gives the same bits on one thread and on many.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import mmap
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from codegen.instructions import Span
from codegen.kernel import COMPUTE, Input, Kernel, Output, Storage
from codegen.llvm import print_kernel
from codegen.llvm_arguments import HEADER_SLOTS, sum_stride
from kernels.cache import DiskCache, default_cache
from kernels.dtypes import DTYPES
from kernels.host import host
from kernels.llvm_compiler import Code, load_ir
from kernels.tiles import cut

_PARALLEL: Final = 65536  # below this many elements, waking a second thread costs about what it saves
_HUGE: Final = 4 << 20
_VECTOR: Final = 64  # bytes; no target has longer vectors

# Takes tiles off a shared counter until none is left. Slots: next tile, tiles, kernel, then the kernel's own arguments.
_WORK_SLOTS: Final = 3
_DRIVER: Final = """
define void @driver(ptr %work) {
entry:
  %tiles.a = getelementptr i64, ptr %work, i64 1
  %tiles = load i64, ptr %tiles.a
  %kernel.a = getelementptr ptr, ptr %work, i64 2
  %kernel = load ptr, ptr %kernel.a
  %arguments = getelementptr i64, ptr %work, i64 3
  br label %next
next:
  %tile = atomicrmw add ptr %work, i64 1 monotonic
  %more = icmp slt i64 %tile, %tiles
  br i1 %more, label %run, label %done
run:
  call void %kernel(ptr %arguments, i64 %tile)
  br label %next
done:
  fence seq_cst
  ret void
}
"""


def load_kernel(kernel: Kernel, cache: DiskCache | None = None) -> CpuKernel:
    """Compile `kernel` for this machine, or find it in the cache, and make it callable."""
    native = dataclasses.replace(kernel, storage=host().storage(kernel.storage))
    ir = print_kernel(native, host().lanes, host().triple)
    return CpuKernel(kernel.inputs, kernel.outputs, kernel.storage, load_ir(ir, kernel.name, cache or default_cache()))


class CpuKernel:
    """A compiled kernel: `inputs`, `outputs` and `storage` are those of its `codegen.kernel.Kernel`, `code` its code, which it holds."""

    def __init__(self, inputs: Sequence[Input], outputs: Sequence[Output], storage: Storage, code: Code) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.storage = storage
        self._code = code
        self._cut = functools.lru_cache(maxsize=64)(functools.partial(cut, self.inputs, self.outputs))
        self._dtype = DTYPES[storage]
        self._native = DTYPES[host().storage(storage)]
        self._compute = DTYPES["f64" if COMPUTE[storage] == "f64" else "f32"]
        self._element = next((n for n, i in enumerate(self.inputs) if i.span is Span.ELEMENT), None)
        scalars = sum(i.span is Span.SCALAR for i in self.inputs)
        self._scalar_array = (ctypes.c_double if self._compute == torch.float64 else ctypes.c_float) * scalars
        self._work_array = ctypes.c_int64 * (_WORK_SLOTS + HEADER_SLOTS + len(self.inputs) - scalars + len(self.outputs))

    def __call__(
        self, inputs: Sequence[torch.Tensor | float], rows: int, channels: int, like: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """Run over a tensor of rows x channels; `inputs` and the result are in the order of `self.inputs` and `self.outputs`.

        ELEMENT inputs are contiguous tensors of rows*channels elements in the storage type (with a shift: the tensor before the
        shift); CHANNEL and ROW inputs are contiguous, one number per channel or row in the compute type; SCALAR inputs are
        numbers or tensors of one element. ELEMENT outputs have the storage type and the shape of the first ELEMENT input, of `like`
        when there is none, or else (rows, channels); sums are float64, of shape (), (channels,) or (rows,).

        Raises ValueError for a tensor of another size, type or layout.
        """
        tiles = self._cut(rows, channels)
        total = rows * channels
        scalars: list[float] = []
        arrays: list[torch.Tensor] = []
        for description, value in zip(self.inputs, inputs, strict=True):
            if description.span is Span.SCALAR:
                scalars.append(float(value))
            else:
                arrays.append(self._input(description, value, rows, channels, tiles.join))
        pattern = like if self._element is None else inputs[self._element]
        raw = [self._output(o, pattern, rows, channels, (tiles.count, sum_stride(tiles.length))) for o in self.outputs]
        if tiles.count:
            numbers = self._scalar_array(*scalars)
            stream = self._streams(raw, tiles.length)
            header = (0, tiles.count, self._code.address, total, tiles.length, tiles.rows, stream, ctypes.addressof(numbers))
            work = self._work_array(*header, *[t.data_ptr() for t in (*arrays, *raw)])
            threads = torch.get_num_threads() if total >= _PARALLEL else 1
            _run(work, tiles.count, threads, (self._code, numbers, arrays, raw))
        return [self._finish(o, r, tiles.join, channels) for o, r in zip(self.outputs, raw, strict=True)]

    def _streams(self, raw: Sequence[torch.Tensor], length: int) -> bool:
        """Whether results go past the cache: what is read and written does not fit there, and every row begins where a vector may.

        Then the memory is not read before it is written: forward and backward of a ReLU of 16 MiB take 1.77 ms instead of 2.44,
        while of 8 MiB they take 0.94 either way (medians, two threads of a Zen 4 with 32 MiB of cache).
        """
        written = [r for r, o in zip(raw, self.outputs, strict=True) if o.span is Span.ELEMENT]
        moved = (len(written) + sum(i.span is Span.ELEMENT for i in self.inputs)) * max((r.nbytes for r in written), default=0)
        return moved >= _last_level_cache() and all(
            r.data_ptr() % _VECTOR == 0 and length * r.element_size() % _VECTOR == 0 for r in written
        )

    def _input(self, description: Input, value: torch.Tensor | float, rows: int, channels: int, join: int) -> torch.Tensor:
        size = {Span.ELEMENT: rows * channels, Span.CHANNEL: channels, Span.ROW: rows}[description.span]
        dtype = self._dtype if description.span is Span.ELEMENT else self._compute
        if not isinstance(value, torch.Tensor) or value.numel() != size or value.dtype != dtype or not value.is_contiguous():
            raise ValueError(f"input {description.name!r} must be a contiguous {dtype} tensor of {size} elements")
        if description.span is Span.CHANNEL:
            return value.repeat(join) if join > 1 else value
        if description.shift:
            value = torch.roll(value.view(rows, channels), description.shift, 1)
        return value.to(self._native) if self._native != self._dtype and description.span is Span.ELEMENT else value

    def _output(self, output: Output, pattern: Any, rows: int, channels: int, parts: tuple[int, int]) -> torch.Tensor:
        """Where the kernel writes: the result itself, or room for the parts of a sum: `parts` is tiles x channels."""
        if output.span is Span.ELEMENT:
            fresh = torch.empty(rows, channels, dtype=self._native) if pattern is None else torch.empty_like(pattern, dtype=self._native)
            return _use_huge_pages(fresh)
        if output.span is Span.ROW:
            return torch.zeros(rows, dtype=torch.float64)
        return torch.from_numpy(np.zeros(parts if output.span is Span.CHANNEL else parts[0]))

    def _finish(self, output: Output, raw: torch.Tensor, join: int, channels: int) -> torch.Tensor:
        """The result; parts are added by NumPy, which does it in one thread and so always in the same order."""
        if output.span is Span.ELEMENT:
            return raw if self._native == self._dtype else raw.to(self._dtype)
        if output.span is Span.ROW:
            return raw
        total = np.add.reduce(raw.numpy(), 0)
        if output.span is Span.CHANNEL:
            total = np.add.reduce(total[: join * channels].reshape(join, channels), 0)
        return torch.from_numpy(np.asarray(total))


def _use_huge_pages(tensor: torch.Tensor) -> torch.Tensor:
    """Ask Linux for pages of 2 MiB under a large new tensor, where it gives them on request only.

    Blocks of 32 MiB and more, at times smaller ones, are given back to the system when freed (mallopt(3), M_MMAP_THRESHOLD), so
    that each new one is paid for in page faults: forward and backward of a ReLU of 16 MiB take 12.3 ms with small pages and 5.2
    with large ones, where memory that is there already takes 1.5 (medians, two threads of a Zen 4).
    """
    if tensor.nbytes >= _HUGE and sys.platform == "linux":
        start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        _madvise()(start, tensor.data_ptr() + tensor.nbytes - start, mmap.MADV_HUGEPAGE)
    return tensor


@functools.cache
def _last_level_cache() -> int:
    """Bytes of the largest cache; 32 MiB where the system does not say."""
    names = [n for n in ("SC_LEVEL3_CACHE_SIZE", "SC_LEVEL2_CACHE_SIZE") if n in getattr(os, "sysconf_names", {})]
    return next((size for size in map(os.sysconf, names) if size > 0), 32 << 20)


@functools.cache
def _madvise() -> Callable[[int, int, int], int]:
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function


def _run(work: ctypes.Array[ctypes.c_int64], tiles: int, threads: int, held: object) -> None:
    """Run the driver on `threads` threads, those of torch's own OpenMP team where there is one. `held` is what `work` has addresses of."""
    threads = min(threads, tiles)
    driver, parallel = _driver(), _openmp()
    if threads == 1:
        driver(work)
    elif parallel is not None:
        parallel(driver, work, threads, 0)
    else:
        helpers = [threading.Thread(target=_help, args=(work, held)) for _ in range(threads - 1)]
        for helper in helpers:
            helper.start()
        driver(work)
        for helper in helpers:
            helper.join()


def _help(work: ctypes.Array[ctypes.c_int64], held: object) -> None:
    """Take part, and hold what there are addresses of: who waits for the helpers may be interrupted and let go of it."""
    _driver()(work)


@functools.cache
def _driver_code() -> Code:
    return load_ir(_DRIVER, "driver", default_cache())


@functools.cache
def _driver() -> Callable[..., None]:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_driver_code().address)


@functools.cache
def _openmp() -> Callable[..., None] | None:
    """GOMP_parallel(function, data, threads, flags) of the runtime that torch is linked with (libgomp and LLVM's both have it).

    Threads of our own would compete with torch's, which spin for a while after each parallel region.
    """
    try:
        parallel = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")).GOMP_parallel
    except (OSError, AttributeError):  # not Linux, or a torch without OpenMP
        return None
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None
    return parallel
