"""A candidate: an expression with its lineage, and what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gp.lab.score import Score
from grammar.tree import Expression


@dataclass(frozen=True, slots=True)
class Candidate:
    """An expression, where it comes from, and its fate: a score, or the reason why it has none.

    `origin` is the operator that made it, or "seed NAME" or "random"; `parents` are the numbers of candidates. `reason` may come
    with a score: the networks were trained, but did not fit.
    """

    number: int
    generation: int
    origin: str
    parents: tuple[int, ...]
    expression: Expression
    text: str
    score: Score | None = None
    reason: str | None = None

    @property
    def fitness(self) -> float:
        """Lower is better; infinite for a candidate that was rejected, before training or after it."""
        return self.score.score if self.score is not None and self.reason is None else math.inf

    @property
    def rank(self) -> tuple[float, int, str]:
        """What candidates are sorted by: fitness, then the shorter text."""
        return self.fitness, len(self.text), self.text

    def to_json(self) -> dict[str, Any]:
        """A row of the run's record."""
        row: dict[str, Any] = {
            "number": self.number, "generation": self.generation, "origin": self.origin, "parents": self.parents, "text": self.text,
            "reason": self.reason,
        }  # fmt: skip
        return row if self.score is None else {**row, **score_json(self.score)}


def score_json(score: Score) -> dict[str, Any]:
    """A score as plain values; a loss that is not finite is null."""
    return {
        "score": score.score,
        "families": score.families,
        "inward": score.inward,
        "outward": score.outward,
        "fit": score.fit,
        "ood_loss": score.ood_loss if math.isfinite(score.ood_loss) else None,
        "diverged": score.diverged,
    }
