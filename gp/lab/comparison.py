"""Candidates against each other, two at a time: how large the difference is, how sure, and where it comes from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from gp.lab.protocol import Measurement
from gp.lab.score import Array, Outcome, network_scores, paired_difference

Verdict = Literal["better", "worse", "no difference", "too few", "equal"]

_LEVEL: Final = 0.05
_QUANTILE: Final = 1.96  # half of a 95% interval, in standard deviations
_FEWEST: Final = 6  # seeds, or data sets of a kind: not even 5 of 5 with the same sign are below the level (2/2^5 = 0.06)
_TURNED: Final[dict[Verdict, Verdict]] = {"better": "worse", "worse": "better"}


@dataclass(frozen=True, slots=True)
class Effect:
    """The score of a candidate less that of another, and the 95% interval of that by paired bootstrap.

    `wins`: the share of networks, one for each data set and seed, on which the first is better; ties count half. `verdict`: what the
    first is; "no difference" is none that could be seen, "too few" are the data sets and seeds, "equal" the scores of all networks.
    """

    difference: float
    low: float
    high: float
    wins: float
    verdict: Verdict

    @property
    def turned(self) -> Effect:
        """That of the second on the first."""
        return Effect(-self.difference, -self.high, -self.low, 1 - self.wins, _TURNED.get(self.verdict, self.verdict))

    @property
    def chance(self) -> float:
        """How probable so large a difference is between equal candidates: below 0.05 where the interval leaves out 0.

        The half of the interval that points to 0 says how wide the normal distribution is.
        """
        half = self.difference - self.low if self.difference > 0 else self.high - self.difference
        return math.erfc(_QUANTILE * abs(self.difference) / half / math.sqrt(2)) if half > 0 else float(self.difference == 0)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two candidates, by name: the effect on the score and, with the data sets of one family alone, on that of each family."""

    first: str
    second: str
    total: Effect
    families: dict[str, Effect]

    @property
    def turned(self) -> Pair:
        """The second on the first."""
        return Pair(self.second, self.first, self.total.turned, {family: effect.turned for family, effect in self.families.items()})


def compare(found: Mapping[str, Outcome], what: Measurement) -> list[Pair]:
    """Every candidate with every later one. The protocol must be `lab-v1`, whose scores are finite.

    A verdict is "better" or "worse" with one chance in twenty of any mistake: among all pairs, or among all families of a pair.
    """
    scores = {name: network_scores(outcome, what.protocol) for name, outcome in found.items()}
    parts: dict[str, list[int]] = {}
    for k, i in enumerate(what.instances):
        parts.setdefault(i.family, []).append(k)
    pairs = list(itertools.combinations(found, 2))
    totals = judge([_effect(scores[first], scores[second], what) for first, second in pairs])
    compared = []
    for (first, second), total in zip(pairs, totals, strict=True):
        effects = judge([_effect(scores[first][:, part], scores[second][:, part], _only(part, what)) for part in parts.values()])
        compared.append(Pair(first, second, total, dict(zip(parts, effects, strict=True))))
    return compared


def judge(effects: Sequence[Effect]) -> list[Effect]:
    """With "better" and "worse" in place of "no difference" where Holm's method sees one: the smallest of n chances must be below
    0.05/n, the next below 0.05/(n - 1), and so on to the first that is not."""
    tested = sorted((k for k, effect in enumerate(effects) if effect.verdict == "no difference"), key=lambda k: effects[k].chance)
    failed = (rank for rank, k in enumerate(tested) if effects[k].chance * (len(tested) - rank) >= _LEVEL)
    seen = tested[: next(failed, None)]
    return [replace(e, verdict="better" if e.difference < 0 else "worse") if k in seen else e for k, e in enumerate(effects)]


def _only(part: Sequence[int], what: Measurement) -> Measurement:
    return replace(what, instances=tuple(what.instances[k] for k in part))


def _effect(first: Array, second: Array, what: Measurement) -> Effect:
    wins = float(np.mean((first < second) + 0.5 * (first == second)))
    verdict: Verdict = "equal" if (first == second).all() else "too few" if _drawn(what) < _FEWEST else "no difference"
    return Effect(*paired_difference(first, second, what), wins, verdict)


def _drawn(what: Measurement) -> int:
    """The seeds or the data sets that the bootstrap draws from, whichever are more. A data set that is alone in its variant stays."""
    kinds = [(i.family, i.variant) for i in what.instances]
    return max(len(what.seeds), sum(kinds.count(kind) > 1 for kind in kinds))
