"""What happens in a generation, added up: what lines of progress, the event log and TensorBoard have in common."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Result
from gp.evolution.engine import Engine, Observer


@dataclass(frozen=True, slots=True)
class Passage:
    """How many candidates entered a stage of the cascade, and how many completed it."""

    entered: int
    completed: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A finished generation: its number from 0; the candidates that it trained, the measurements and seconds that took; `funnel` by
    stage; `medians`: the median difference to gelu by stage, of those that were trained to its end; `rejections` by reason. `best` is
    the best of the whole run so far, if there is one."""

    generation: int
    candidates: int
    measurements: int
    seconds: float
    funnel: Mapping[str, Passage]
    medians: Mapping[str, float]
    rejections: Mapping[str, int]
    best: Candidate | None

    @property
    def measurements_per_second(self) -> float:
        """Programs trained with a seed, per second."""
        return self.measurements / self.seconds if self.seconds > 0 else 0.0


class Tally(Observer):
    """Adds up, and calls `summarised` at the end of each generation."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._begin()

    def _begin(self) -> None:
        """Begin a new generation with nothing."""
        cascade = self.engine.cascade
        self._before = Counter(cascade.entered), Counter(cascade.completed), Counter(self.engine.admission.rejections)
        self._judged: list[Candidate] = []
        self._measurements = 0
        self._began = time.monotonic()

    def funnel(self) -> dict[str, Passage]:
        """The funnel of this generation so far, by stage."""
        entered, completed, _ = self._before
        cascade = self.engine.cascade
        names = [stage.name for stage in cascade.stages]
        return {n: Passage(cascade.entered[n] - entered[n], cascade.completed[n] - completed[n]) for n in names}

    def measured(self, batch: Batch, index: int, result: Result) -> None:
        self._measurements += 1

    def judged(self, candidate: Candidate) -> None:
        self._judged.append(candidate)

    def generation_finished(self, generation: int) -> None:
        medians: dict[str, float] = {}
        for k, stage in enumerate(self.engine.cascade.stages):
            if differences := [c.differences[k] for c in self._judged if len(c.differences) > k]:
                medians[stage.name] = statistics.median(differences)
        seconds = time.monotonic() - self._began
        rejections = self.engine.admission.rejections - self._before[2]
        best = next(iter(self.engine.best(1)), None)
        trained = len(self._judged)
        summary = Summary(generation, trained, self._measurements, seconds, self.funnel(), medians, rejections, best)
        self._begin()
        self.summarised(summary)

    def summarised(self, summary: Summary) -> None:
        """A generation is finished."""
