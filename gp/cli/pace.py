"""How fast a run goes, and when it will be finished.

Work is counted in steps of training networks: instances times steps, for each program and seed. What a generation takes is the mean of
those that are finished; before there are any, it is what the cascade takes if no race stops anyone.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from typing import Final

from gp.evolution.cascade import Batch, Result
from gp.evolution.engine import Engine, Observer
from gp.evolution.hall import BASELINES
from gp.evolution.tuning import PROPOSALS, ROUNDS, constants
from gp.lab.protocol import Measurement

SEARCH: Final = "search"
PHASES: Final = {  # what follows the search, in this order
    "tuning": "tuning constants",
    "final": "measuring again",
    "selection": "ranking on other data",
    "validation": "judging on unseen data",
}
_ORDER: Final = (SEARCH, *PHASES)
_WINDOW: Final = 30.0  # seconds over which speed is the mean
_WAITED: Final = 0.25  # seconds for a result that was not on record: the first worker takes longer to start
_TUNED: Final = 1 + ROUNDS * PROPOSALS + 2  # programs that tuning measures for a candidate: itself, proposals, shorter constants


class Pace(Observer):
    """Counts. Results on record that a run which is gone on with begins with are no sign of speed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.started = self._last = time.monotonic()
        self._measuring: float | None = None  # since when there are results that are not on record
        self._steps = 0  # since then
        self._recent: deque[float] = deque()
        self._done = Counter(dict.fromkeys(_ORDER, 0))
        self._generation = 0  # steps of this generation so far
        self._finished: list[int] = []  # steps of those that are finished
        self._before = engine.generation  # those that were finished when this began
        self._planned = dict.fromkeys(_ORDER, 0.0)
        self._plan_search()

    def batch_started(self, batch: Batch) -> None:
        self._last = time.monotonic()
        if batch.purpose in PHASES:
            for phase in _ORDER[: _ORDER.index(batch.purpose)]:
                self._planned[phase] = self._done[phase]
            if batch.purpose != "tuning":  # which comes in many batches
                self._planned[batch.purpose] = len(batch.tasks) * _work(batch.measurement)

    def measured(self, batch: Batch, index: int, result: Result) -> None:
        now, work = time.monotonic(), _work(batch.measurement)
        self._done[batch.purpose if batch.purpose in PHASES else SEARCH] += work
        self._generation += work
        if self._measuring is None and now - self._last > _WAITED:
            self._measuring = self._last
        if self._measuring is not None:
            self._steps += work
            self._recent.append(now)
        self._last = now

    def generation_finished(self, generation: int) -> None:
        self._finished.append(self._generation)
        self._generation = 0
        self._plan_search()

    def measurements_per_second(self) -> float | None:
        """The mean over the last 30 seconds; None before there is any."""
        if self._measuring is None:
            return None
        now = time.monotonic()
        while self._recent and self._recent[0] < now - _WINDOW:
            self._recent.popleft()
        return len(self._recent) / max(1e-9, min(_WINDOW, now - self._measuring))

    def share(self) -> float:
        """How much of the run's work is done, from 0 to 1."""
        done, left = self._work()
        return done / (done + left) if done + left else 0.0

    def seconds_left(self) -> float | None:
        """The time that the rest takes at the speed so far; None while that is not known."""
        speed = self._speed()
        return self._work()[1] / speed if speed else None

    def _speed(self) -> float:
        """Steps per second."""
        return 0.0 if self._measuring is None else self._steps / max(1e-9, time.monotonic() - self._measuring)

    def _work(self) -> tuple[float, float]:
        """The steps that are done, earlier generations included, and those that are left."""
        left = {phase: max(0.0, self._planned[phase] - self._done[phase]) for phase in _ORDER}
        seconds = self._engine.config.seconds
        if seconds and (speed := self._speed()) and left[SEARCH]:
            # The generation in which the time is over is the last, and is finished.
            remaining = seconds - (time.monotonic() - self.started)
            rest = max(0.0, self._each() - self._generation) if remaining > 0 or self._generation else 0.0
            left[SEARCH] = min(left[SEARCH], max(rest, remaining * speed))
        return self._before * self._each() + self._done.total(), sum(left.values())

    def _plan_search(self) -> None:
        """Estimate what is to be done from now on: generations as those so far, then the rest with the best that there are now."""
        engine, config = self._engine, self._engine.config
        generations = config.generations - engine.generation
        if config.evaluations:
            generations = min(generations, math.ceil((config.evaluations - engine.trained) / config.population))
        self._planned[SEARCH] = self._done[SEARCH] + max(0, generations) * self._each()
        tuned = sum(bool(constants(c.program)) for c in engine.best(config.tuned)) if engine.generation else config.tuned
        finalists = min(config.finalists, config.planned) + tuned + len(BASELINES)
        last = min(config.hall, finalists) + len(BASELINES)
        self._planned["tuning"] = tuned * _TUNED * len(config.tuning.seeds) * _work(config.tuning)
        self._planned["final"] = finalists * len(config.final.seeds) * _work(config.final)
        self._planned["selection"] = finalists * len(config.selection.seeds) * _work(config.selection)
        self._planned["validation"] = last * len(config.validation.seeds) * _work(config.validation)

    def _each(self) -> float:
        """The steps that a generation takes."""
        if self._finished:
            return sum(self._finished) / len(self._finished)
        total, contenders = 0, [island.size for island in self._engine.islands]
        for stage in self._engine.cascade.stages:
            total += sum(contenders) * len(stage.measurement.seeds) * _work(stage.measurement)
            contenders = [math.ceil(count * self._engine.config.promote) for count in contenders]
        return total


def _work(what: Measurement) -> int:
    return len(what.instances) * what.training.steps
