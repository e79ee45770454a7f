"""Compiling group kernels ahead of their first launch: offline for a target, and in parallel processes.

A GPU launch compiles what is not in Triton's cache on disk, which is filed by content. `compile_ahead` puts it there from several
processes at once, by the same path as a launch: the key is the same, and the launch finds it.
"""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime import driver

from codegen.group import GroupStage
from codegen.group_body import PACK, body_name
from codegen.group_triton import pointers, print_group, sizes
from kernels.group_flow import CompiledGroup
from kernels.triton_compiler import MAX_BLOCK_CHANNELS, TARGETS, Compiled, Tile, compile_options

_TYPES: Final = {"which": "*i32", "views": "*i32", "scalar_sums": "*fp64", "row_sums": "*fp64", "channel_sums": "*fp64"}
_SPECIALISED: Final = ("n", "channels")  # of the sizes: whether 16 divides them decides on the width of accesses
NUM_WARPS: Final = 4
_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG, linux/prctl.h
_ALIGNED: Final = [["tt.divisibility", 16]]


def group_tile(stage: GroupStage, warp_size: int, channels: int, num_warps: int = NUM_WARPS) -> Tile:
    """The tile of a program: `PACK` elements a thread, one 128-bit access."""
    block = num_warps * warp_size * PACK
    if stage.flat:
        return Tile(1, block, num_warps)
    width = min(triton.next_power_of_2(max(channels, 1)), MAX_BLOCK_CHANNELS, block)
    return Tile(block // width, width, num_warps)


def pointer_type(name: str) -> str:
    """The type of a pointer argument as Triton writes it."""
    return _TYPES.get(name, "*fp32")


def compile_stage(stage: GroupStage, target: str, tile: Tile) -> Compiled:
    """Compile for "sm_80", "sm_90", "sm_100" or "gfx942"; no GPU is needed.

    The code is what the launcher gets for tensors whose channels are a multiple of 16. KeyError for another target.
    """
    gpu = TARGETS[target]
    run_time, compile_time = sizes(stage)
    signature = {name: pointer_type(name) for name in pointers(stage)}
    signature |= dict.fromkeys(run_time, "i32") | dict.fromkeys(compile_time, "constexpr")
    aligned = {(i,): _ALIGNED for i, name in enumerate(signature) if name in (*pointers(stage), *_SPECIALISED)}
    group = CompiledGroup(stage)
    source = ASTSource(group.function, signature, constexprs=tile_constants(stage, tile), attrs=aligned)
    with group.running(keep_stages=True):
        compiled = triton.compile(source, target=gpu, options={"num_warps": tile.num_warps, **compile_options(gpu)})
    return Compiled(compiled.asm, compiled.metadata, gpu, tile)


def tile_constants(stage: GroupStage, tile: Tile) -> dict[str, int]:
    """The compile-time arguments of the stage's function."""
    return {"BLOCK": tile.channels} if stage.flat else {"BLOCK_ROWS": tile.rows, "BLOCK_CHANNELS": tile.channels}


@dataclass(frozen=True, slots=True)
class Job:
    """What a process needs to compile a kernel as a launch would: the stage, the types of the pointers, the sizes, the constants.

    `source`, the stage's text, stands for the stage where jobs are compared.
    """

    stage: GroupStage = field(compare=False, repr=False)
    source: str
    types: tuple[str, ...]
    sizes: tuple[int, ...]
    constants: tuple[tuple[str, int], ...]
    num_warps: int
    target: tuple[Any, ...]


def make_job(stage: GroupStage, tile: Tile, target: GPUTarget, rows: int, channels: int) -> Job:
    """What compiles a stage for launches on slices of rows x channels with that tile."""
    run_time = (rows * channels,) if stage.flat else (rows, channels)
    types = tuple(map(pointer_type, pointers(stage)))
    constants = tuple(tile_constants(stage, tile).items())
    gpu = (target.backend, target.arch, target.warp_size)
    return Job(stage, print_group(stage, body_name(stage)), types, (*map(specialised, run_time), 0, PACK), constants, tile.num_warps, gpu)


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
        self.dtype = {"*fp32": "float32", "*fp64": "float64", "*i32": "int32"}[type]

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
    group = CompiledGroup(job.stage)
    arguments = [*map(_Pointer, job.types), *job.sizes]
    with group.running():
        group.function.warmup(*arguments, grid=(1,), **dict(job.constants), num_warps=job.num_warps, **compile_options(target))


class Compilers:
    """Processes that compile, started when there is work for them, and what they have done. A context: leaving it ends them."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None
        self._done: set[Job] = set()

    def __enter__(self) -> Compilers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def compile(self, jobs: Iterable[Job]) -> None:
        """Compile what has not been, longest first. Raises what a compiler raises."""
        found = sorted(set(jobs) - self._done, key=lambda job: (-_length(job.stage), job.source))
        if not found:
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._processes, multiprocessing.get_context("spawn"), _start, (list(sys.path),))
        list(self._pool.map(compile_job, found))
        self._done |= set(found)


@functools.cache
def compilers(processes: int) -> Compilers:
    """Those of this process, which live as long as it does."""
    return Compilers(processes)


def _length(stage: GroupStage) -> int:
    return sum(len(member.kernel.live()) for member in stage.members)


def specialised(size: int) -> int:
    """A size that Triton compiles for as it does for `size`: 1 is compiled in, and of others it matters whether 16 divides them."""
    return 1 if size == 1 else 16 if size % 16 == 0 else 17


def _start(path: list[str]) -> None:
    if sys.platform == "linux":  # a parent that is killed would leave it waiting for ever
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    sys.path[:] = path
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["HIP_VISIBLE_DEVICES"] = ""  # a compiler needs no context on a GPU
