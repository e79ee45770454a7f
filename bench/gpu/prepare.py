"""Everything that can be compiled is compiled in the first seconds of the round, on all cores at once.

Kernels by the way that launches take (`kernels.ahead`), what predictions are made from (`bench.gpu.counts`), torch.compile's kernels by
processes that share Inductor's cache, the CPU trainer by numba. What fails here is made again where it is needed, and the fault is raised
at the end of the round.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import torch

from bench.gpu import decisions, kernels, population
from bench.gpu.counts import kernel_counts, member_counts
from bench.gpu.measure import Row
from bench.gpu.round import Round
from codegen.kernel import Storage
from gp.lab import measure
from gp.timing import passes
from gp.workers import cores
from kernels.ahead import Compilers
from kernels.dtypes import DTYPES
from kernels.programs import make_plan, program

SECTION: Final = "prepare"
_INDUCTORS: Final = 8  # processes, each with a context on the GPU


def prepare(round_: Round, sizes: kernels.Sizes, candidates: int, target: str, limit: float) -> None:
    """Adds rows that say how long each part took. `limit`: seconds after which torch.compile's kernels are waited for no longer."""
    parts: dict[str, Callable[[], int]] = {
        "kernels": lambda: _kernels(sizes),
        "instruction counts": lambda: _counts(candidates, target),
        "torch.compile": lambda: _inductor(sizes, limit),
        "the CPU trainer": _trainer,
    }
    with ThreadPoolExecutor(len(parts)) as threads:
        for what, part in [(what, threads.submit(_timed, run)) for what, run in parts.items()]:
            try:
                seconds, count = part.result()
            except Exception as fault:
                round_.add(round_.failed(SECTION, what, fault))
            else:
                made = Row(SECTION, what, "s", round_.name, SECTION, measured_seconds=seconds, figures={"compiled": count})
                round_.add(made)


def _timed(run: Callable[[], int]) -> tuple[float, int]:
    begin = time.perf_counter()
    count = run()
    return time.perf_counter() - begin, count


def _kernels(sizes: kernels.Sizes) -> int:
    jobs = {*kernels.jobs(sizes), *decisions.jobs(sizes.large[0])}
    with Compilers(cores()) as compilers:
        compilers.compile(jobs)
    return len(jobs)


def _trainer() -> int:
    """In a process of its own: numba keeps what it compiles on disk."""
    with multiprocessing.get_context("spawn").Pool(1, _quiet) as pool:
        pool.apply(measure.prepare)
    return 1


def _counts(candidates: int, target: str) -> int:
    """What the model of time counts instructions from."""
    if not target:
        return 0
    texts = [(c.text, storage) for c in kernels.contests() for storage in kernels.STORAGES]
    singles: set[tuple[str, Storage | None]] = set(texts)
    distinct = {f.key: text for f, text in zip(population.candidates(candidates), population.texts(candidates), strict=True)}
    members: set[tuple[str, Storage | None]] = {(text, None) for text in distinct.values()}
    with multiprocessing.get_context("spawn").Pool(cores(), _quiet) as pool:
        return sum(pool.starmap(_count, [(*task, target) for task in singles | members], chunksize=1))


def _count(text: str, storage: Storage | None, target: str) -> int:
    """Of a function's kernels, or as a member of a group; into the cache on disk."""
    if storage is None:
        member_counts(program(text), target)
        return 1
    stages = [stage for order in (0, 1) for stage in make_plan(program(text), order, storage).stages]
    for stage in stages:
        kernel_counts(stage.kernel, target)
    return len(stages)


def _quiet() -> None:
    """For a process that needs no GPU."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _inductor(sizes: kernels.Sizes, limit: float) -> int:
    """Inductor's kernels into its cache on disk. Processes that take too long are ended."""
    if sizes.inductor is None:
        return 0
    numbers = range(len(kernels.contests()))
    tasks: list[tuple[int, Storage, int, str]] = [
        (k, storage, elements, sizes.inductor) for elements in sizes.large for k in numbers for storage in kernels.STORAGES
    ]
    with multiprocessing.get_context("spawn").Pool(min(_INDUCTORS, cores())) as pool:
        waiting = pool.imap_unordered(_compile, tasks)
        return _until(limit, waiting, len(tasks))


def _until(limit: float, waiting: Iterable[bool], count: int) -> int:
    """How many have come before the limit is over."""
    end, done = time.monotonic() + limit, 0
    for _ in range(count):
        try:
            waiting.next(max(0.0, end - time.monotonic()))  # type: ignore[attr-defined]
        except multiprocessing.TimeoutError:
            break
        done += 1
    return done


def _compile(task: tuple[int, Storage, int, str]) -> bool:
    number, storage, elements, inductor = task
    contest = kernels.contests()[number]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.randn(kernels.shape(elements), device=device).to(DTYPES[storage]).requires_grad_()
    passes(kernels.compiled(contest, inductor), x, torch.randn_like(x))["both"].run(None)
    return True
