"""Changes of one constant."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from gp.evolution.genome import places, replace
from gp.evolution.space import tidy
from gp.evolution.variation.parts import bounded, pick, reals
from grammar.tree import Chain, Expression, Name, Number

STEP: Final = 0.3  # deviation of the logarithm of a constant's change
LARGEST: Final = 1e30  # a constant grows no further
# What constants snap to, in order.
SIMPLE: Final[dict[float, Expression]] = {
    **{value: Number(value) for value in (0.0, 0.01, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0)},
    math.pi: Name("pi"),
    **{value: Number(value) for value in (4.0, 5.0, 10.0, 100.0)},
}


def constant(rng: np.random.Generator, limit: int, parent: Expression) -> Expression:
    """The parent with one constant multiplied by a log-normal factor; a parent without constants gets one, as a factor."""
    found = [(p, value) for p in places(parent) if (value := _value(p.node)) is not None]
    factor = float(np.exp(STEP * rng.standard_normal()))
    if found:
        place, value = found[int(rng.integers(len(found)))]
        new: Expression = Number(tidy(min(value * factor, LARGEST)))
    else:
        place = pick(rng, reals(parent))
        new = Chain(("*",), (Number(tidy(factor)), place.node))
    return bounded(replace(parent, place.path, new), parent, limit)


def snap(rng: np.random.Generator, limit: int, parent: Expression) -> Expression:
    """The parent with one constant replaced by the simple value nearest to it, or a simple value by the next one, up or down."""
    found = [(p, value) for p in places(parent) if (value := _value(p.node)) is not None]
    if not found:
        return parent
    place, value = found[int(rng.integers(len(found)))]
    values = list(SIMPLE)
    at = min(range(len(values)), key=lambda k: abs(values[k] - value))
    if values[at] == value:
        near = [k for k in (at - 1, at + 1) if 0 <= k < len(values)]
        at = near[int(rng.integers(len(near)))]
    return bounded(replace(parent, place.path, SIMPLE[values[at]]), parent, limit)


def _value(node: Expression) -> float | None:
    """The value of a constant's node: a literal, or pi."""
    if isinstance(node, Number):
        return node.value
    return math.pi if node == Name("pi") else None
