"""What is known so far of the finalists of a run while they are measured again, added up result by result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gp.evolution.cascade import Batch, Result, parts_of
from gp.evolution.hall import known_as
from gp.lab.measure import SeedResult
from gp.lab.score import instance_weights

MEASURED: Final = ("final", "selection", "validation")  # the purposes of the batches in which they are
_RANKING: Final = ("final", "selection")  # those that decide on the rank


@dataclass(frozen=True, slots=True)
class Standing:
    """A finalist or known function, and its mean score so far by the purpose of what was measured."""

    text: str
    name: str | None
    scores: Mapping[str, float]

    @property
    def rank(self) -> tuple[float, str]:
        """What finalists are sorted by."""
        found = [self.scores[purpose] for purpose in _RANKING if purpose in self.scores]
        return (sum(found) / len(found) if found else math.inf), self.text


class Finalists:
    """The standings, best first."""

    def __init__(self) -> None:
        self._scores: dict[str, dict[str, list[float]]] = {}

    def add(self, batch: Batch, index: int, result: Result) -> None:
        """Take a result into account, if it is a finalist's."""
        if batch.purpose in MEASURED and isinstance(result, SeedResult):
            what = batch.measurement
            score = float(parts_of(result, what) @ instance_weights(what.instances, what.protocol))
            self._scores.setdefault(batch.tasks[index][0], {}).setdefault(batch.purpose, []).append(score)

    def standings(self) -> list[Standing]:
        """All of which anything is known."""
        means = {text: {why: sum(s) / len(s) for why, s in found.items()} for text, found in self._scores.items()}
        return sorted((Standing(text, known_as(text), found) for text, found in means.items()), key=lambda s: s.rank)
