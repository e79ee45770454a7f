"""Credit: operators of variation that succeed are used more often.

An operator's success is a child that is clearly better than the best of its parents, in the last stage that it completed: a margin
keeps small steps, whose gain is noise, from looking like successes half of the time. Its share of the children is its base weight times its
success rate, relative to that of all operators together; rates are smoothed, so that a few children prove little. Part of the
shares is given by base weight alone, so that none dies out. All of this follows from counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gp.evolution.candidate import Candidate

MARGIN: Final = 0.05  # of the score; the standard error of a paired difference in the quick stage is about as large
PRIOR: Final = 20.0  # children at the mean rate that every operator starts with
GUARANTEED: Final = 0.25  # of an operator's base share, whatever its success


@dataclass(slots=True)
class Count:
    """An operator's evaluated children, and those that were clearly better than the best of their parents."""

    children: int = 0
    successes: int = 0


class Credit:
    """Counts by operator, and the shares that follow from them; `base` holds weights by operator."""

    def __init__(self, base: Mapping[str, float]) -> None:
        total = sum(base.values())
        self._base = {name: weight / total for name, weight in base.items()}
        self.counts = {name: Count() for name in base}

    def record(self, child: Candidate, parents: Sequence[Candidate]) -> None:
        """Count a child of the operator that is its origin."""
        count = self.counts[child.origin]
        count.children += 1
        if child.reason is None and child.differences:
            last = len(child.differences) - 1
            best = min(p.differences[min(last, len(p.differences) - 1)] for p in parents)
            count.successes += child.differences[last] < best - MARGIN

    def shares(self) -> dict[str, float]:
        """How often each operator is to be used; they add up to 1."""
        children = sum(count.children for count in self.counts.values())
        mean = (1 + sum(count.successes for count in self.counts.values())) / (2 + children)
        rates = {name: (count.successes + PRIOR * mean) / (count.children + PRIOR) for name, count in self.counts.items()}
        earned = {name: base * rates[name] for name, base in self._base.items()}
        total = sum(earned.values())
        return {name: GUARANTEED * base + (1 - GUARANTEED) * earned[name] / total for name, base in self._base.items()}

    def counts_json(self) -> dict[str, list[int]]:
        """The state: children and successes by operator."""
        return {name: [count.children, count.successes] for name, count in self.counts.items()}

    def restore(self, counts: Mapping[str, Sequence[int]]) -> None:
        """Take on a state."""
        self.counts = {name: Count(*pair) for name, pair in counts.items()}

    def to_json(self) -> dict[str, Any]:
        """Counts and shares by operator."""
        shares = self.shares()
        return {name: {"children": c.children, "successes": c.successes, "share": shares[name]} for name, c in self.counts.items()}
