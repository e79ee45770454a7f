"""A search that trains nothing: a scorer that prefers functions near another one, and an observer that notes what it hears."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TypeVar

import numpy as np

from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Result, Steps
from gp.evolution.config import Config
from gp.evolution.engine import Engine, Observer, drive
from gp.evolution.genome import genome, text_of
from gp.evolution.hall import Hall, text_by_name
from gp.evolution.screen import profile
from gp.lab.measure import SeedResult
from gp.workers import Failure

Finished = TypeVar("Finished")


@functools.cache
def distance(text: str, target: str) -> float:
    """The mean distance of two functions, at most 5."""
    return min(float(np.mean(np.abs(profile(text).value - profile(target).value))), 5.0)


class FakeScorer:
    """Errors that grow with the distance to the target, with noise that depends on program and seed; and a failure now and then.

    More steps mean less noise, so that later stages know better. What has an exp does not fit.
    """

    def __init__(self, target: str = "sin(x)", fails: str = "erf") -> None:
        self.tasks: list[tuple[str, str, int]] = []
        self._target, self._fails = target, fails

    def measure(self, batch: Batch) -> Generator[Result]:
        for text, seed in batch.tasks:
            self.tasks.append((batch.purpose, text, seed))
            if self._fails in text and text != text_by_name("gelu"):
                yield Failure(f"ValueError: no {self._fails} today")
                continue
            yield result(text, seed, batch, self._target)

    def texts(self, purpose: str) -> list[str]:
        """The programs that were measured for a purpose, each once."""
        return list(dict.fromkeys(text for why, text, _ in self.tasks if why == purpose))


def result(text: str, seed: int, batch: Batch, target: str) -> SeedResult:
    """What a program's networks would have come to."""
    count = len(batch.measurement.instances)
    rng = np.random.default_rng([seed, batch.measurement.training.steps, *text.encode()])
    noise = rng.normal(0, 3 / batch.measurement.training.steps**0.5, count)
    outside = np.exp(distance(text, target) - 4 + noise)
    inside = np.full(count, 3.0 if "exp" in text else 1e-3)
    return SeedResult(tuple(inside.tolist()), tuple(outside.tolist()), (1.0,) * count, (1.0,) * count, 0.2, 0.1)


class Recorder(Observer):
    """Keeps what it hears, and stops the engine after so many measurements."""

    def __init__(self, engine: Engine | None = None, stop_after: int = 10**9) -> None:
        self.refused: list[Candidate] = []
        self.judgements: list[Candidate] = []
        self.newcomers: list[list[Candidate]] = []
        self.finished: list[int] = []
        self.batches: list[Batch] = []
        self.results = 0
        self.engine, self.stop_after = engine, stop_after

    def rejected(self, candidate: Candidate) -> None:
        assert candidate.reason is not None
        assert candidate.score is None
        self.refused.append(candidate)

    def generation_started(self, generation: int, candidates: Sequence[Candidate]) -> None:
        self.newcomers.append(list(candidates))

    def batch_started(self, batch: Batch) -> None:
        self.batches.append(batch)

    def measured(self, batch: Batch, index: int, result: Result) -> None:
        self.results += 1
        if self.engine is not None and self.results >= self.stop_after:
            self.engine.stop()

    def judged(self, candidate: Candidate) -> None:
        self.judgements.append(candidate)

    def generation_finished(self, generation: int) -> None:
        self.finished.append(generation)


def search(config: Config, stop_after: int = 10**9, target: str = "sin(x)") -> tuple[Engine, Recorder, FakeScorer, Hall]:
    """A whole search, or so many measurements of it, with the fake scorer."""
    engine, scorer = Engine(config), FakeScorer(target)
    heard = Recorder(engine, stop_after)
    engine.observers.append(heard)
    return engine, heard, scorer, drive(engine, scorer)


def candidate(text: str, number: int = 0, island: int = 0) -> Candidate:
    """A candidate that nothing is known of."""
    program = genome(text)
    return Candidate(number, 0, island, "seed", (), program, text_of(program))


def seed_result(scores: Iterable[float], inside: float = 1e-3) -> SeedResult:
    """Networks with these scores out of distribution, and the same error in it."""
    outside = np.exp(np.array(list(scores))) - 1e-4
    count = len(outside)
    return SeedResult((inside,) * count, tuple(outside.tolist()), (1.0,) * count, (1.0,) * count, 0.0, 0.0)


def finish(steps: Steps[Finished], measure: Callable[[str, int, Batch], Result]) -> Finished:
    """What a part of a search returns, if this is what is measured."""
    results: list[Result] | None = None
    while True:
        try:
            batch = next(steps) if results is None else steps.send(results)
        except StopIteration as end:
            found: Finished = end.value
            return found
        results = [measure(text, seed, batch) for text, seed in batch.tasks]
