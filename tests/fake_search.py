"""A search that trains nothing: a scorer that prefers functions near sin(x), and an observer that notes what it hears."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Result
from gp.evolution.engine import Engine, Observer
from gp.evolution.hall import text_by_name
from gp.evolution.screen import profile
from gp.lab.measure import SeedResult
from gp.workers import Failure

TARGET = profile("sin(x)").value


def distance(text: str) -> float:
    """The mean distance to sin(x), at most 5."""
    return min(float(np.mean(np.abs(profile(text).value - TARGET))), 5.0)


class FakeScorer:
    """Errors that grow with the distance to sin(x), with noise that depends on program and seed; and a failure now and then.

    More steps mean less noise, so that later stages know better. What has an exp does not fit.
    """

    def __init__(self, fails: str = "erf") -> None:
        self.tasks: list[tuple[str, str, int]] = []
        self._fails = fails

    def measure(self, batch: Batch) -> Generator[Result]:
        for text, seed in batch.tasks:
            self.tasks.append((batch.purpose, text, seed))
            if self._fails in text and text != text_by_name("gelu"):
                yield Failure(f"ValueError: no {self._fails} today")
                continue
            yield result(text, seed, batch)

    def texts(self, purpose: str) -> list[str]:
        """The programs that were measured for a purpose, each once."""
        return list(dict.fromkeys(text for why, text, _ in self.tasks if why == purpose))


def result(text: str, seed: int, batch: Batch) -> SeedResult:
    """What a program's networks would have come to."""
    count = len(batch.measurement.instances)
    rng = np.random.default_rng([seed, batch.measurement.training.steps, *text.encode()])
    noise = rng.normal(0, 3 / batch.measurement.training.steps**0.5, count)
    outside = np.exp(distance(text) - 4 + noise)
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
