"""A scorer that asks the record first: what was measured is not measured again.

A failure of a baseline is not put on record: the known functions work, so what went wrong was the machine, and is tried again.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator
from typing import Protocol

from gp.evolution.cascade import Batch, Result
from gp.evolution.engine import Scorer
from gp.evolution.hall import BASELINES, text_by_name
from gp.lab.protocol import Measurement
from gp.workers import Failure


class Record(Protocol):
    """What this needs of `gp.run_store.RunStore`."""

    def recall(self, text: str, what: Measurement, seed: int) -> Result | None: ...

    def remember(self, text: str, what: Measurement, seed: int, result: Result) -> None: ...


class RecallingScorer:
    """Results from the record where it has them, and from another scorer, into the record, where it has not."""

    def __init__(self, scorer: Scorer, record: Record) -> None:
        self._scorer = scorer
        self._record = record
        self._known = {text_by_name(name) for name in BASELINES}

    def measure(self, batch: Batch) -> Generator[Result]:
        """The result of each task in turn."""
        what = batch.measurement
        known = [self._record.recall(text, what, seed) for text, seed in batch.tasks]
        missing = tuple(task for task, result in zip(batch.tasks, known, strict=True) if result is None)
        with contextlib.closing(self._scorer.measure(dataclasses.replace(batch, tasks=missing))) as arriving:
            for (text, seed), result in zip(batch.tasks, known, strict=True):
                if result is None:
                    measured = next(arriving)
                    if not (isinstance(measured, Failure) and text in self._known):
                        self._record.remember(text, what, seed, measured)
                    yield measured
                else:
                    yield result
