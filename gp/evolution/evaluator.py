"""Measuring in worker processes: results come in the order of a batch's tasks, whoever made them."""

from __future__ import annotations

import pickle
from collections.abc import Generator
from types import TracebackType
from typing import Final

from gp.evolution.cascade import Batch, Result
from gp.lab.measure import PACKED, PREPARE
from gp.workers import Job, Workers

_MEGABYTE: Final = 1_000_000


class Evaluator:
    """A context in which `measure` works: it holds `workers` processes, one candidate and one seed at a time in each, which may take
    `memory` MB each (0: no limit)."""

    def __init__(self, workers: int = 1, memory: int = 0) -> None:
        self.workers = Workers(workers, prepare=PREPARE, memory=_MEGABYTE * memory)

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.workers.__exit__(kind, error, trace)

    def measure(self, batch: Batch) -> Generator[Result]:
        """The result of each task in turn. A caller may stop early: what has not begun is then dropped."""
        what = pickle.dumps(batch.measurement)
        found: dict[int, Result] = {}
        ready = 0
        jobs = (Job(PACKED, (text, what, seed), batch.measurement.limit) for text, seed in batch.tasks)
        for number, result in self.workers.run(jobs):
            found[number] = result
            while ready in found:
                yield found.pop(ready)
                ready += 1
