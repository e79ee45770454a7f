"""The search's figures that take seconds to minutes: what the engine adds to a candidate, where workers spend their time, two workers
against one. `bench.search_runs` has those that take an hour."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from bench.measure import Row, Target, exactly, milliseconds
from codegen.numpy import evaluate
from gp.evolution.admission import DUPLICATE
from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Result
from gp.evolution.config import Config
from gp.evolution.engine import Engine, Observer, Scorer, drive
from gp.evolution.evaluator import Evaluator
from gp.evolution.recall import RecallingScorer
from gp.lab.measure import SeedResult
from gp.run_store import RunStore
from gp.timing import Spread, ratio
from kernels.cache import default_cache
from kernels.programs import program

_OVERHEAD: Final = Target(1.0, at_least=False)
_LINEAR: Final = Target(1.3, at_least=False)
_TRAINING: Final = Target(0.85, at_least=True)
_DUPLICATES: Final = Target(0.9, at_least=True)
_TWO_WORKERS: Final = Target(1.8, at_least=True)
_POPULATIONS: Final = (1_000, 10_000)
_STORED: Final = 1_000_000
_MEMORY: Final = Target(1000.0, at_least=False)
_WORKER_ROUNDS: Final = 3


class Instant:
    """A scorer that takes no time: errors are random, the same for the same program and seed."""

    def __init__(self) -> None:
        self._table = [tuple(row) for row in np.random.default_rng(0).uniform(0.01, 0.2, (4096, 256)).tolist()]

    def measure(self, batch: Batch) -> Generator[Result]:
        """Results without training."""
        count = len(batch.measurement.instances)
        ones, inside = (1.0,) * count, (1e-3,) * count
        for text, seed in batch.tasks:
            outside = self._table[zlib.crc32(f"{seed} {text}".encode()) % len(self._table)][:count]
            yield SeedResult(inside, outside, ones, ones, 0.0, 0.0)


def overhead(generations: int = 4) -> Iterator[Row]:
    """Milliseconds for a candidate that the engine and its store add to training, at two sizes of the population."""
    found = {}
    for population in _POPULATIONS:
        rounds = [overhead_of(population, generations, seed) for seed in range(3 if population < 5_000 else 1)]
        made = [seconds / count for seconds, count, _ in rounds]
        trained = [seconds / count for seconds, _, count in rounds]
        found[population] = made
        shown = f"for each that is trained {milliseconds(Spread.of(trained).median)}"
        what = f"engine and store, a candidate, population {population:,}"
        target = _OVERHEAD if population == _POPULATIONS[-1] else None
        yield Row("search 4", what, "", shown, Spread.of([1e3 * s for s in made]), "ms", target)
    small, large = (Spread.of(found[p]).median for p in _POPULATIONS)
    yield Row("search 4", "the same, of the larger population over the smaller", "", "", exactly(large / small), "x", _LINEAR)


def overhead_of(population: int, generations: int, seed: int) -> tuple[float, int, int]:
    """Seconds of a search whose candidates take no time to train, and how many were made and trained."""
    config = Config(seed=seed, population=population, generations=generations, tuned=0, finalists=1, hall=1)
    with tempfile.TemporaryDirectory() as folder, RunStore.create(Path(folder) / "run", config) as store:
        engine = Engine(config)
        store.attach(engine)
        scorer = RecallingScorer(Instant(), store)
        start = time.process_time()
        drive(engine, scorer)
        return time.process_time() - start, engine.made, engine.trained


def memory() -> Iterator[Row]:
    """The peak resident memory of a search that goes on with a million candidates on record."""
    done = subprocess.run([sys.executable, "-m", "bench.search_memory", str(_STORED)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    shown = f"{found['known']:,} keys; small search before {found['before'] / 1e6:.3g} MB"
    yield Row("search 4", f"peak memory, {found['made']:,} candidates on record", "", shown, exactly(found["after"] / 1e6), "MB", _MEMORY)


def worker_time() -> Iterator[Row]:
    """Where the time of two workers goes in a search of three stages, everything included; and how many duplicates were trained."""
    config = Config(population=64, generations=3, stages=3, tuned=2, finalists=4, hall=2, workers=2)
    with tempfile.TemporaryDirectory() as folder, _cache(), RunStore.create(Path(folder) / "run", config) as store:
        engine = Engine(config)
        store.attach(engine)
        texts = Texts()
        engine.observers.append(texts)
        with Evaluator(config.workers) as evaluator:
            for stage in engine.cascade.stages:  # starts the workers, which make their data
                tasks = tuple(("relu(x)", seed) for seed in stage.measurement.seeds)
                list(evaluator.measure(Batch("start", stage.measurement, config.workers * tasks)))
            timed = Timed(evaluator)
            start = time.perf_counter()
            drive(engine, RecallingScorer(timed, store))
            whole = time.perf_counter() - start
    for name in ("quick", "standard", "full"):
        share = timed.compiled[name] / (config.workers * timed.wall[name])
        target = _TRAINING if name == "standard" else None
        shown = f"{timed.tasks[name]} trainings in {timed.wall[name]:.3g} s"
        yield Row("search 3", f"{name}: share of worker time inside compiled training", "", shown, exactly(share), "", target)
    total = sum(timed.compiled.values()) / (config.workers * whole)
    engine_share = 1 - sum(timed.wall.values()) / whole
    yield Row("search 3", "the whole run, all stages, tuning and finals", "", f"{whole:.3g} s", exactly(total), "")
    yield Row("search 3", "engine and store, share of the wall time", "", "", exactly(engine_share), "")
    found = engine.admission.rejections[DUPLICATE]
    missed = texts.equal()
    shown = f"{found} turned away, {missed} trained"
    yield Row("search 3", "duplicates that never reach training", "", shown, exactly(found / (found + missed)), "", _DUPLICATES)


class Timed:
    """A scorer that adds up, by purpose, wall time, seconds inside compiled training, and trainings."""

    def __init__(self, scorer: Scorer) -> None:
        self.wall: Counter[str] = Counter()
        self.compiled: Counter[str] = Counter()
        self.tasks: Counter[str] = Counter()
        self._scorer = scorer

    def measure(self, batch: Batch) -> Generator[Result]:
        """The results of the scorer."""
        start = time.perf_counter()
        try:
            for result in self._scorer.measure(batch):
                if isinstance(result, SeedResult):
                    self.compiled[batch.purpose] += result.compiled
                    self.tasks[batch.purpose] += 1
                yield result
        finally:  # whoever asked stops after the last result
            self.wall[batch.purpose] += time.perf_counter() - start


class Texts(Observer):
    """Keeps what is trained."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def generation_started(self, generation: int, candidates: Sequence[Candidate]) -> None:
        self._texts += [c.text for c in candidates]

    def equal(self) -> int:
        """How many of them equal an earlier one: their values on a fine grid agree to a relative 1e-9."""
        x = np.linspace(-6, 6, 1009)
        rows = np.stack([np.broadcast_to(evaluate([program(text).graph], {"x": x})[0], x.shape) for text in self._texts])
        return sum(bool(np.isclose(rows[:k], row, rtol=1e-9, atol=1e-12).all(axis=1).any()) for k, row in enumerate(rows))


def two_workers() -> Iterator[Row]:
    """Candidates per second of a whole search of quick and standard stage with two workers, over those with one; they take turns."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for k in range(_WORKER_ROUNDS):
        for count in (1, 2)[:: 1 if k % 2 else -1]:
            config = Config(seed=k, population=48, generations=4, tuned=0, finalists=1, hall=1, workers=count)
            with _cache(), Evaluator(count) as evaluator:
                engine = Engine(config)
                clock = Clock()
                engine.observers.append(clock)
                drive(engine, evaluator)
            rates[count].append((engine.trained - config.population) / clock.seconds)
    shown = {count: f"{Spread.of(found).median:.3g}/s" for count, found in rates.items()}
    yield Row(
        "search 6",
        "candidates per second, two workers against one",
        shown[2],
        f"one {shown[1]}",
        ratio(rates[2], rates[1]),
        "x",
        _TWO_WORKERS,
    )


class Clock(Observer):
    """The seconds from the end of the first generation to the end of the last."""

    def __init__(self) -> None:
        self._first = self._last = 0.0

    @property
    def seconds(self) -> float:
        return self._last - self._first

    def generation_finished(self, generation: int) -> None:
        self._last = time.perf_counter()
        self._first = self._first or self._last


@contextlib.contextmanager
def _cache() -> Iterator[None]:
    """An empty cache of kernels; numba's functions are on disk."""
    ready = default_cache().folder / "numba"
    ready.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("GP_CACHE_DIR")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "numba").symlink_to(ready)
        os.environ["GP_CACHE_DIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["GP_CACHE_DIR"]
            else:
                os.environ["GP_CACHE_DIR"] = before


def figures() -> Iterator[Row]:
    """All figures of this file."""
    yield from overhead()
    yield from memory()
    yield from worker_time()
    yield from two_workers()
