"""Variation: small callables that make a child from a generator of random numbers, a space, a bound on its size, and parents.

A child is a genome of at most `limit` nodes that is in the space, as its parents are; an operator that would make another one, or has
nothing to change, returns its first parent. Parents stay as they are. Real numbers replace real numbers and conditions replace
conditions, so a child builds, within the bounds of the language.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gp.evolution.space import Space
from gp.evolution.variation.combination import composition, even, modulation, odd, perturbation
from gp.evolution.variation.constants import constant, snap
from gp.evolution.variation.edits import deletion, insertion, point, subtree
from gp.evolution.variation.exchange import crossover, uniform
from gp.evolution.variation.growth import ramped
from gp.evolution.variation.parameters import introduction, removal
from gp.evolution.variation.parts import lifted
from grammar.tree import Program

__all__ = ["OPERATORS", "Operator", "operators", "ramped"]


@dataclass(frozen=True, slots=True)
class Operator:
    """`make(rng, space, limit, *parents)` takes so many parents; `weight`: how often it makes a child at first, relative to the others."""

    parents: int
    weight: float
    make: Callable[..., Program]


OPERATORS: Final[dict[str, Operator]] = {
    "crossover": Operator(2, 20.0, lifted(crossover)),
    "uniform": Operator(2, 8.0, lifted(uniform)),
    "subtree": Operator(1, 14.0, lifted(subtree)),
    "point": Operator(1, 12.0, lifted(point)),
    "constant": Operator(1, 12.0, constant),
    "snap": Operator(1, 4.0, snap),
    "insertion": Operator(1, 8.0, lifted(insertion)),
    "deletion": Operator(1, 5.0, lifted(deletion)),
    "composition": Operator(2, 5.0, lifted(composition)),
    "modulation": Operator(2, 5.0, lifted(modulation)),
    "perturbation": Operator(2, 5.0, lifted(perturbation)),
    "odd": Operator(1, 1.0, lifted(odd)),
    "even": Operator(1, 1.0, lifted(even)),
    "introduction": Operator(1, 5.0, introduction),
    "removal": Operator(1, 2.0, removal),
}
LEARNABLE: Final = ("introduction", "removal")  # operators that do something only where there may be parameters


def operators(space: Space) -> dict[str, Operator]:
    """The operators that apply to the genomes of a space."""
    return {name: operator for name, operator in OPERATORS.items() if space.per_channel or name not in LEARNABLE}
