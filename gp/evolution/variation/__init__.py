"""Variation: small callables that make a child from a generator of random numbers, a bound on its size, and parents.

A child is an expression of at most `limit` nodes; an operator that would make a larger one, or has nothing to change, returns its
first parent. Parents stay as they are. Real numbers replace real numbers and conditions replace conditions, so a child of pointwise
expressions always builds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gp.evolution.variation.combination import composition, even, modulation, odd, perturbation
from gp.evolution.variation.constants import constant, snap
from gp.evolution.variation.edits import deletion, insertion, point, subtree
from gp.evolution.variation.exchange import crossover, uniform
from gp.evolution.variation.growth import ramped
from grammar.tree import Expression

__all__ = ["OPERATORS", "Operator", "ramped"]


@dataclass(frozen=True, slots=True)
class Operator:
    """`make(rng, limit, *parents)` takes so many parents; `weight`: how often it makes a child at first, relative to the others."""

    parents: int
    weight: float
    make: Callable[..., Expression]


OPERATORS: Final[dict[str, Operator]] = {
    "crossover": Operator(2, 20.0, crossover),
    "uniform": Operator(2, 8.0, uniform),
    "subtree": Operator(1, 14.0, subtree),
    "point": Operator(1, 12.0, point),
    "constant": Operator(1, 12.0, constant),
    "snap": Operator(1, 4.0, snap),
    "insertion": Operator(1, 8.0, insertion),
    "deletion": Operator(1, 5.0, deletion),
    "composition": Operator(2, 5.0, composition),
    "modulation": Operator(2, 5.0, modulation),
    "perturbation": Operator(2, 5.0, perturbation),
    "odd": Operator(1, 1.0, odd),
    "even": Operator(1, 1.0, even),
}
