"""Compiling ahead of the first launch, in parallel processes.

A GPU launch compiles what is not in Triton's cache on disk, which is filed by content. `Compilers` put it there from several processes at
once, by the same path as a launch: the key is the same, and the launch finds it.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, Final

from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from codegen.group import GroupStage
from codegen.group_body import PACK, body_name
from codegen.group_triton import pointers, print_group
from codegen.kernel import Kernel
from codegen.triton import print_kernel, sums_over_rows
from kernels.group_compiler import pointer_type, tile_constants
from kernels.group_flow import CompiledGroup
from kernels.recent import Recent
from kernels.triton_compiler import Tile, compile_options, load_function, pointer_types

_LOOK: Final = 1.0  # seconds between looks at whether the parent lives
_MOST_DONE: Final = 8192  # jobs that are remembered; what has been compiled is found on disk in any case
_LARGE: Final = 1 << 31  # from here on a size is an argument of 64 bits
_DTYPES: Final = {"*fp32": "float32", "*fp64": "float64", "*bf16": "bfloat16", "*fp16": "float16", "*i32": "int32"}


@dataclass(frozen=True, slots=True)
class Job:
    """What a process needs to compile a kernel as a launch would: the types of the pointers, the sizes, the constants.

    `source`, its text, stands for the kernel or stage of a group where jobs are compared.
    """

    what: Kernel | GroupStage = field(compare=False, repr=False)
    source: str
    types: tuple[str, ...]
    sizes: tuple[int, ...]
    constants: tuple[tuple[str, int], ...]
    num_warps: int
    target: tuple[Any, ...]


def group_job(stage: GroupStage, tile: Tile, target: GPUTarget, rows: int, channels: int) -> Job:
    """What compiles a stage for launches on slices of rows x channels with that tile."""
    run_time = (rows * channels,) if stage.flat else (rows, channels)
    types = tuple(map(pointer_type, pointers(stage)))
    sizes = (*map(specialised, run_time), 0, PACK)
    constants = tuple(tile_constants(stage, tile).items())
    return Job(stage, print_group(stage, body_name(stage)), types, sizes, constants, tile.num_warps, _plain(target))


def kernel_job(kernel: Kernel, tile: Tile, target: GPUTarget, rows: int, channels: int) -> Job:
    """What compiles a kernel for launches on rows x channels with that tile; of a flat one, on rows * channels elements."""
    run_time = (rows * channels,) if kernel.flat else (rows, channels)
    sizes = (*map(specialised, run_time), *(1,) * sums_over_rows(kernel))
    types, constants = tuple(pointer_types(kernel).values()), tuple(tile.constants(kernel).items())
    return Job(kernel, print_kernel(kernel), types, sizes, constants, tile.num_warps, _plain(target))


def _plain(target: GPUTarget) -> tuple[Any, ...]:
    return target.backend, target.arch, target.warp_size


def specialised(size: int) -> int:
    """A size that Triton compiles for as it does for `size`: 1 is compiled in, of others it matters whether 16 divides them and whether
    they need more than 32 bits."""
    return 1 if size == 1 else (size >= _LARGE) * _LARGE + (16 if size % 16 == 0 else 17)


class _Offline:
    """In place of Triton's driver: a device that need not be there."""

    def __init__(self, target: GPUTarget) -> None:
        self._target = target

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


class _Pointer:
    """An argument that stands for an aligned tensor of a type."""

    def __init__(self, type: str) -> None:
        self.dtype = _DTYPES[type]

    @staticmethod
    def data_ptr() -> int:
        return 0

    @staticmethod
    def ptr_range() -> int:
        return 0


def compile_job(job: Job) -> None:
    """Compile into Triton's cache. It takes over the process's Triton driver, so it is for processes that launch nothing."""
    target = GPUTarget(*job.target)
    driver.set_active(_Offline(target))
    arguments = [*map(_Pointer, job.types), *job.sizes]
    context: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if isinstance(job.what, Kernel):
        function = load_function(job.what, job.source)
    else:
        group = CompiledGroup(job.what)
        function, context = group.function, group.running()
    with context:
        function.warmup(*arguments, grid=(1,), **dict(job.constants), num_warps=job.num_warps, **compile_options(target))


class Compilers:
    """Processes that compile, started when there is work for them, and what they have done. A context: leaving it ends them."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None
        self._done: Recent[int, bool] = Recent(_MOST_DONE)  # by hash, for a job has all of its kernel

    def __enter__(self) -> Compilers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def compile(self, jobs: Iterable[Job]) -> None:
        """Compile what has not been, longest first. Raises what a compiler raises."""
        found = sorted({job for job in jobs if not self._done.get(hash(job))}, key=lambda job: (-_length(job), job.source))
        if not found:
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._processes, multiprocessing.get_context("spawn"), _start, (list(sys.path),))
        try:
            list(self._pool.map(compile_job, found))
        except BrokenProcessPool:  # one was killed; others are started for what comes next
            self._pool = None
            raise
        for job in found:
            self._done.put(hash(job), True)


@functools.cache
def compilers(processes: int) -> Compilers:
    """Those of this process, which live as long as it does."""
    return Compilers(processes)


def _length(job: Job) -> int:
    return len(job.what.live()) if isinstance(job.what, Kernel) else sum(len(member.kernel.live()) for member in job.what.members)


def _follow(parent: int) -> None:
    """End with the parent: one that is killed would leave this process waiting for ever. (Linux's signal for that comes with the death of
    the thread that started a process, and threads start some.)"""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def _start(path: list[str]) -> None:
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    sys.path[:] = path
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["HIP_VISIBLE_DEVICES"] = ""  # a compiler needs no context on a GPU
