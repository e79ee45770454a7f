"""Everything that can be compiled is compiled in the first seconds of the round, on all cores at once.

Kernels by the way that launches take (`kernels.ahead`), what predictions are made from (`bench.gpu.counts`), torch.compile's kernels by
processes that share Inductor's cache, the CPU trainer by numba. What fails here, or takes too long, is made again where it is needed.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Final

import torch

from bench.gpu import counts, decisions, kernels, population
from bench.gpu.measure import FAILURES, Row
from bench.gpu.round import Round
from codegen.kernel import Storage
from gp.lab import measure
from gp.timing import passes
from gp.workers import cores
from kernels.ahead import Compilers
from kernels.dtypes import DTYPES

SECTION: Final = "prepare"
_INDUCTORS: Final = 8  # processes, each with a context on the GPU
_BEHIND: Final = 10.0  # seconds that a part may take beyond its limit until it is given up

Task = tuple[int, Storage, int, str]


def prepare(round_: Round, sizes: kernels.Sizes, candidates: int, target: str, limit: float) -> None:
    """Adds rows that say how long each part took. `limit`: the seconds that parts are waited for."""
    parts: dict[str, Callable[[], int]] = {
        "kernels": lambda: _kernels(sizes),
        "instruction counts": lambda: _counts(candidates, target),
        "torch.compile": lambda: _inductor(sizes, limit),
        "the CPU trainer": _trainer,
    }
    begin = time.monotonic()
    for what, part in [(what, _started(run)) for what, run in parts.items()]:
        try:
            seconds, count = part.result(max(0.0, begin + limit + _BEHIND - time.monotonic()))
        except TimeoutError:
            round_.add(Row(SECTION, what, "s", round_.name, SECTION, error=f"not done after {limit + _BEHIND:.0f} s"))
        except Exception as fault:
            round_.add(round_.failed(SECTION, what, fault))
        else:
            round_.add(Row(SECTION, what, "s", round_.name, SECTION, measured_seconds=seconds, figures={"compiled": count}))


def _started(run: Callable[[], int]) -> Future[tuple[float, int]]:
    """The seconds and the result of something that runs beside this; the process can end without it."""
    future: Future[tuple[float, int]] = Future()

    def work() -> None:
        begin = time.perf_counter()
        try:
            count = run()
        except Exception as fault:
            future.set_exception(fault)
        else:
            future.set_result((time.perf_counter() - begin, count))

    threading.Thread(target=work, daemon=True).start()
    return future


def _kernels(sizes: kernels.Sizes) -> int:
    jobs = {*kernels.jobs(sizes), *decisions.jobs(sizes.large[0])}
    with Compilers(cores()) as compilers:
        compilers.compile(jobs)
    return len(jobs)


def _trainer() -> int:
    """In a process of its own: numba keeps what it compiles on disk."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _without_gpu) as pool:
        pool.submit(measure.prepare).result()
    return 1


def _counts(candidates: int, target: str) -> int:
    """What the model of time counts instructions from."""
    if not target:
        return 0
    texts: set[tuple[str, Storage | None]] = {(c.text, storage) for c in kernels.contests() for storage in kernels.STORAGES}
    texts |= {(c, None) for c in population.distinct(candidates)}
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn"), _without_gpu) as pool:
        return sum(pool.map(counts.keep, *zip(*((text, storage, target) for text, storage in texts), strict=True)))


def _without_gpu() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _inductor(sizes: kernels.Sizes, limit: float) -> int:
    """Inductor's kernels into its cache on disk. Processes that take too long are ended."""
    if sizes.inductor is None:
        return 0
    numbers = range(len(kernels.contests()))
    tasks: list[Task] = [
        (k, storage, elements, sizes.inductor) for elements in sizes.large for k in numbers for storage in kernels.STORAGES
    ]
    with multiprocessing.get_context("spawn").Pool(min(_INDUCTORS, cores())) as pool:
        done = _until(limit, pool.imap_unordered(_compile, tasks), len(tasks))
    _forget_choices()
    return done


def _until(limit: float, waiting: Iterable[bool], count: int) -> int:
    """How many have come to good before the limit is over."""
    end, done = time.monotonic() + limit, 0
    for _ in range(count):
        try:
            done += waiting.next(max(0.0, end - time.monotonic()))  # type: ignore[attr-defined]
        except multiprocessing.TimeoutError:
            break
    return done


def _compile(task: Task) -> bool:
    """Forward and backward of a function by torch.compile; whether that went well. If not, its case will say why."""
    number, storage, elements, inductor = task
    contest = kernels.contests()[number]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        x = torch.randn(kernels.shape(elements), device=device).to(DTYPES[storage]).requires_grad_()
        passes(kernels.compiled(contest, inductor), x, torch.randn_like(x))["both"].run(None)
    except FAILURES:
        return False
    return True


def _forget_choices() -> None:
    """Of two configurations of a kernel Inductor keeps the one that was faster: found by eight processes on one GPU that says nothing."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir  # noqa: PLC0415 - its settings are read from the environment when imported

    for choice in Path(cache_dir()).rglob("*.best_config"):
        choice.unlink(missing_ok=True)
