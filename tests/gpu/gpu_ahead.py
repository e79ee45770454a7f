"""Everything that the tests launch, compiled before the first of them, in parallel: one after another it would take minutes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, Final

import torch
from gpu_cases import Launch, Place
from triton import knobs

from codegen.cost import cost
from codegen.function import signature
from codegen.instructions import Span
from codegen.kernel import Storage
from gp.lab.measure import prepare
from gp.workers import cores
from kernels.ahead import Job, compilers
from kernels.compiled import compiled, launch_jobs
from kernels.dtypes import STORAGES
from kernels.ops import evaluate
from kernels.population import Population
from kernels.programs import program
from kernels.tuning import WORTHWHILE

Group = tuple[tuple[str, ...], int, int]  # texts that share a kernel, rows and channels of their slices
_BATCH: Final = 64
_THREADS: Final = 64


def compile_ahead(launches: Iterable[Launch], groups: Iterable[Group], place: Place) -> str:
    """Compile for the card and for the CPU, and say how much it was and how long it took.

    What cannot be compiled is left to its own test, which fails for it.
    """
    start = time.perf_counter()
    launches = list(launches)
    on_cpu = {(w.text, STORAGES[w.dtype], w.orders) for w in launches if w.on_cpu}
    wanted = sorted({replace(w, on_cpu=False) for w in launches}, key=lambda w: (-_length(w), w.text, str(w)))
    pool = compilers(max(1, cores() // torch.cuda.device_count()))
    jobs: dict[Job, None] = {}  # in the order in which they are made
    with (
        ThreadPoolExecutor(_THREADS) as threads,
        ProcessPoolExecutor(max(1, cores() // 4), multiprocessing.get_context("spawn")) as processes,
    ):
        others: list[Future[None]] = [processes.submit(prepare), *(processes.submit(compile_for_cpu, *each) for each in on_cpu)]
        # Its processes start with the first job; they compile some while the rest are made, the longest first.
        batches = [threads.submit(pool.compile, _jobs(wanted[-1]) if wanted else [])]
        pending: list[Job] = []
        by_launch: dict[Launch, list[Job]] = {}
        for texts, rows, channels in dict.fromkeys(groups):
            pending += Population([program(text) for text in texts], 1, place.device).jobs(rows, channels)
        for launch in wanted:
            by_launch[launch] = _jobs(launch)
            pending += (job for job in by_launch[launch] if job not in jobs)
            jobs |= dict.fromkeys(pending)
            if len(pending) >= _BATCH and batches[0].done():
                batches.append(threads.submit(pool.compile, pending))
                pending = []
        wait(batches[:1])
        batches.append(threads.submit(pool.compile, pending))
        wait(batches)
        compiled_in = time.perf_counter() - start
        forms = [threads.submit(_launch, launch, place) for launch in _one_of_each_form(by_launch)]
        wait([*others, *forms])
    failed = [f.exception() for f in (*batches, *others, *forms) if f.exception() is not None]
    return (
        f"{len(jobs)} kernels compiled ahead on {cores()} cores in {compiled_in:.1f} s, {time.perf_counter() - start:.1f} s "
        f"with {len(forms)} first launches and {len(on_cpu)} functions for the CPU"
        + "".join(f"\n  failed: {error!r}"[:300] for error in failed)
    )


def compile_for_cpu(text: str, storage: Storage, orders: Sequence[int]) -> None:
    """Put the CPU's kernels into the cache on disk."""
    for order in orders:
        compiled(program(text), order, storage, "llvm")


def _length(launch: Launch) -> int:
    return cost([program(launch.text).graph]).flops


def _jobs(launch: Launch) -> list[Job]:
    function, storage = program(launch.text), STORAGES[launch.dtype]
    return [job for order in launch.orders for job in launch_jobs(function, order, storage, *launch.shape)]


def _one_of_each_form(jobs: Mapping[Launch, Sequence[Job]]) -> list[Launch]:
    """Launches that have all patterns of arguments between them: for each, Triton 3.6 has a C compiler make what launches it."""
    seen: set[tuple[int, tuple[bool, ...]]] = set()
    found = []
    for launch, needed in jobs.items():
        forms = {(len(job.types), tuple(size == 1 for size in job.sizes)) for job in needed}
        if not forms <= seen and launch.shape[0] * launch.shape[1] < WORTHWHILE:
            found.append(launch)
            seen |= forms
    return found


def _launch(launch: Launch, place: Place) -> None:
    function = program(launch.text)
    shapes = {Span.ELEMENT: launch.shape, Span.CHANNEL: launch.shape[1:], Span.SCALAR: ()}
    for order in launch.orders:
        inputs = [torch.ones(shapes[span], dtype=launch.dtype) for _, span in signature(function.parameters, order).inputs]
        evaluate([i.to(place.device) for i in inputs], launch.text, order, -1, place.backend)


class Misses:
    """How many kernels Triton compiles in this process, after all: a listener of its compiler."""

    def __init__(self) -> None:
        self.count = 0
        knobs.compilation.listener = self

    def __call__(self, *, cache_hit: bool, **_: Any) -> None:
        self.count += not cache_hit
