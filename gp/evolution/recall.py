"""A scorer that asks the record first: what was measured is not measured again."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from gp.evolution.engine import Scorer
from gp.lab.protocol import Measurement
from gp.lab.score import Score


class Record(Protocol):
    """What this needs of `gp.run_store.RunStore`."""

    def recall(self, text: str, what: Measurement) -> Score | str | None: ...

    def remember(self, text: str, what: Measurement, result: Score | str) -> None: ...


class RecallingScorer:
    """Scores from the record where it has them, and from another scorer, into the record, where it has not."""

    def __init__(self, scorer: Scorer, record: Record) -> None:
        self._scorer = scorer
        self._record = record

    def scores(self, texts: Sequence[str], what: Measurement) -> Generator[Score | str]:
        """The result of each program in turn."""
        known = [self._record.recall(text, what) for text in texts]
        missing = self._scorer.scores([text for text, result in zip(texts, known, strict=True) if result is None], what)
        try:
            for text, result in zip(texts, known, strict=True):
                if result is None:
                    measured = next(missing)
                    self._record.remember(text, what, measured)
                    yield measured
                else:
                    yield result
        finally:
            missing.close()
