"""A search that trains nothing: a scorer that prefers functions near sin(x), and an observer that notes what it hears."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from gp.evolution.candidate import Candidate
from gp.evolution.engine import Engine, Observer
from gp.evolution.screen import profile
from gp.lab.protocol import Measurement
from gp.lab.score import Score


class FakeScorer:
    """The distance to sin(x), and a failure now and then."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def scores(self, texts: Sequence[str], what: Measurement) -> Generator[Score | str]:
        for text in texts:
            self.texts.append(text)
            if "erf" in text:
                yield "failed: ValueError: no erf today"
                continue
            distance = float(np.mean(np.abs(profile(text).value - profile("sin(x)").value)))
            fit = 1.0 if "exp" in text else -3.0
            yield Score(min(distance, 5.0) - 5, {}, {}, -1.0, -1.0, fit=fit, ood_loss=distance, diverged=0, seconds=0.1)


class Recorder(Observer):
    """Counts what it hears."""

    def __init__(self, engine: Engine | None = None, stop_after: int = 10**9) -> None:
        self.rows: list[dict[str, Any]] = []
        self.counts: list[int] = []
        self.finals = 0
        self.engine, self.stop_after = engine, stop_after

    def rejected(self, candidate: Candidate) -> None:
        assert candidate.reason is not None
        assert candidate.score is None
        self.rows.append(candidate.to_json())

    def evaluated(self, candidate: Candidate) -> None:
        self.rows.append(candidate.to_json())
        if self.engine is not None and len(self.engine.candidates) >= self.stop_after:
            self.engine.stop()

    def generation_started(self, generation: int, count: int) -> None:
        self.counts.append(count)

    def final_measured(self, text: str) -> None:
        self.finals += 1
