"""The lab's figures that need processes of their own: the first use, new structures, two workers against one, memory."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bench.measure import Row, Target, exactly, milliseconds
from bench.programs import random_programs
from gp.lab.protocol import FidelityName, Measurement, measurement
from gp.timing import Spread, ratio
from gp.workers import Failure, Job, Workers
from kernels.cache import default_cache

_DRAWN: Final = 120  # random programs, of which most diverge at once and cost nothing; the figures are about those that train
_STRUCTURES: Final = 20
_MANY: Final = 16  # candidates for throughput
_QUICK: Final = Target(0.15, at_least=False)
_FIRST_USE: Final = Target(1.0, at_least=False)
_TWO_WORKERS: Final = Target(1.85, at_least=True)
_MEMORY: Final = Target(300.0, at_least=False)
_WORKER_ROUNDS: Final = 3


def first_use(rounds: int) -> Iterator[Row]:
    """The import and the first training at quick fidelity in a process, numba's functions and the kernels being on disk."""
    _python("bench.lab_first_use")  # what is not on disk yet
    parts = [_python("bench.lab_first_use") for _ in range(rounds)]
    total = [p["import"] + p["first"] for p in parts]
    shown = ", ".join(f"{key} {milliseconds(Spread.of([p[key] for p in parts]).median)}" for key in ("import", "first", "second", "data"))
    yield Row("lab", "first use: import and first quick training", "", shown, Spread.of(total), "s", _FIRST_USE)


def new_structures() -> Iterator[Row]:
    """Quick fidelity of a structure that was never compiled, from text to score, in a process that has scored one before."""
    parts = list(_trainable().values())[:_STRUCTURES]
    total = [p["all"] for p in parts]
    shown = ", ".join(f"{key} {milliseconds(Spread.of([p[key] for p in parts]).median)}" for key in ("parse", "compile", "train", "score"))
    yield Row("lab 4", f"quick, {len(parts)} new structures, text to score", "", shown, Spread.of(total), "s", _QUICK)


@functools.cache
def _trainable() -> dict[str, dict[str, float]]:
    """Random programs of 10 to 20 operators whose networks train to the end, and the seconds of `cold` for each."""
    texts = random_programs(_DRAWN, 10, 20, seed=2)
    return {text: parts for text, parts in zip(texts, cold("quick", texts), strict=True) if parts["share"] > 0.99}


def cold(fidelity: FidelityName, texts: Sequence[str]) -> list[dict[str, float]]:
    """Seconds of the parts (and "all") of measuring each program with an empty kernel cache; numba's functions are on disk."""
    ready = default_cache().folder / "numba"
    ready.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        (Path(cache) / "numba").symlink_to(ready)
        found: list[dict[str, float]] = _python("bench.lab_worker", fidelity, *texts, cache=cache)
    return found


def _python(module: str, *arguments: str, cache: str | None = None) -> Any:
    """What a module prints as JSON, in a process with one thread for numerics."""
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    if cache is not None:
        environment["GP_CACHE_DIR"] = cache
    done = subprocess.run([sys.executable, "-m", module, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def two_workers() -> Iterator[Row]:
    """Candidates per second at standard fidelity of two workers and of one, which take turns; the kernels are on disk."""
    what = measurement("standard")
    texts = list(_trainable())[:_MANY]
    rates: dict[int, list[float]] = {1: [], 2: []}
    with Workers(1) as one, Workers(2) as two:
        pools = (one, two)
        for pool in pools:
            for seed in what.seeds:  # as many jobs as workers: each does one, and has its data then
                _measure(pool, ["relu(x)"] * pool.count, what, (seed,))
        _measure(two, texts, what, what.seeds[:1])  # puts the kernels on disk
        for k in range(_WORKER_ROUNDS):
            for pool in pools[:: 1 if k % 2 else -1]:
                rates[pool.count].append(len(texts) / _measure(pool, texts, what, what.seeds))
    shown = {count: f"{Spread.of(found).median:.3g}/s" for count, found in rates.items()}
    what_for = f"standard, {len(texts)} programs, two workers against one"
    yield Row("lab 3", what_for, shown[2], f"one worker {shown[1]}", ratio(rates[2], rates[1]), "x", _TWO_WORKERS)


def memory() -> Iterator[Row]:
    """The peak resident memory of a worker that has scored ten candidates."""
    what = measurement("standard")
    with Workers(1) as pool:
        [(_, before)] = pool.run([Job("bench.lab_worker:peak_memory", (), 10.0)])
        _measure(pool, list(_trainable())[:10], what, what.seeds)
        [(_, after)] = pool.run([Job("bench.lab_worker:peak_memory", (), 10.0)])
    imported = f"after the imports {before / 1e6:.3g} MB"
    yield Row("lab 5", "peak memory of a worker, ten candidates", "", imported, exactly(after / 1e6), "MB", _MEMORY)


def _measure(pool: Workers, texts: Sequence[str], what: Measurement, seeds: Sequence[int]) -> float:
    """Seconds of measuring the programs, without the results of earlier runs. Raises RuntimeError where one fails."""
    jobs = [Job("gp.lab.measure:measure_seed", (text, what, seed), what.limit) for text in texts for seed in seeds]
    start = time.perf_counter()
    for _, result in pool.run(jobs):
        if isinstance(result, Failure):
            raise RuntimeError(result.reason)
    return time.perf_counter() - start
