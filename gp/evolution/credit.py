"""Credit: operators of variation that succeed are used more often.

An operator's success is a child that is better than the best of its parents. Its share of the children is its base weight times its
success rate, relative to that of all operators together; rates are smoothed, so that a few children prove little. Part of the
shares is given by base weight alone, so that none dies out. All of this follows from counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

PRIOR: Final = 20.0  # children at the mean rate that every operator starts with
GUARANTEED: Final = 0.25  # of an operator's base share, whatever its success


@dataclass(slots=True)
class Count:
    """An operator's evaluated children, and those that were better than the best of their parents."""

    children: int = 0
    successes: int = 0


class Credit:
    """Counts by operator, and the shares that follow from them; `base` holds weights by operator."""

    def __init__(self, base: Mapping[str, float]) -> None:
        total = sum(base.values())
        self._base = {name: weight / total for name, weight in base.items()}
        self.counts = {name: Count() for name in base}

    def record(self, operator: str, child: float, parents: float) -> None:
        """Count a child by its fitness and the best of its parents'; lower is better."""
        self.counts[operator].children += 1
        self.counts[operator].successes += child < parents

    def shares(self) -> dict[str, float]:
        """How often each operator is to be used; they add up to 1."""
        children = sum(count.children for count in self.counts.values())
        mean = (1 + sum(count.successes for count in self.counts.values())) / (2 + children)
        rates = {name: (count.successes + PRIOR * mean) / (count.children + PRIOR) for name, count in self.counts.items()}
        earned = {name: base * rates[name] for name, base in self._base.items()}
        total = sum(earned.values())
        return {name: GUARANTEED * base + (1 - GUARANTEED) * earned[name] / total for name, base in self._base.items()}

    def to_json(self) -> dict[str, Any]:
        """Counts and shares by operator."""
        shares = self.shares()
        return {name: {"children": c.children, "successes": c.successes, "share": shares[name]} for name, c in self.counts.items()}
