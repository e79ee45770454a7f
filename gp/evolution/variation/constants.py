"""Changes of one constant: a number in the expression, or the initial value of a parameter."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from gp.evolution.genome import Place, number, places, replace
from gp.evolution.space import Space, tidy
from gp.evolution.variation.parts import child, parameters_of, pick, reals
from grammar.tree import Chain, Expression, Name, Number, Parameter, Program

STEP: Final = 0.3  # deviation of the logarithm of a constant's change
LARGEST: Final = 1e30  # a constant grows no further
# What constants snap to, in order.
SIMPLE: Final[dict[float, Expression]] = {
    **{value: Number(value) for value in (0.0, 0.01, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0)},
    math.pi: Name("pi"),
    **{value: Number(value) for value in (4.0, 5.0, 10.0, 100.0)},
}


def constant(rng: np.random.Generator, space: Space, limit: int, parent: Program) -> Program:
    """The parent with one constant multiplied by a log-normal factor; a parent without constants gets one, as a factor."""
    found = _adjustable(parent)
    factor = float(np.exp(STEP * rng.standard_normal()))
    if not found:
        place = pick(rng, reals(parent.result))
        new = Chain(("*",), (Number(tidy(factor)), place.node))
        return child(space, limit, parent, parameters_of(parent).values(), replace(parent.result, place.path, new))
    chosen = found[int(rng.integers(len(found)))]
    return _with_value(space, limit, parent, chosen, tidy(min(value_of(chosen) * factor, LARGEST)))


def snap(rng: np.random.Generator, space: Space, limit: int, parent: Program) -> Program:
    """The parent with one constant replaced by the simple value nearest to it, or a simple value by the next one, up or down."""
    found = _adjustable(parent)
    if not found:
        return parent
    chosen = found[int(rng.integers(len(found)))]
    value, values = value_of(chosen), list(SIMPLE)
    at = min(range(len(values)), key=lambda k: abs(values[k] - value))
    if values[at] == value:
        near = [k for k in (at - 1, at + 1) if 0 <= k < len(values)]
        at = near[int(rng.integers(len(near)))]
    return _with_value(space, limit, parent, chosen, values[at])


def constants(expression: Expression) -> list[Place]:
    """The places of constants: literals and pi."""
    return [p for p in places(expression) if isinstance(p.node, Number) or p.node == SIMPLE[math.pi]]


def _adjustable(genome: Program) -> list[Parameter | Place]:
    """What there is to change the value of."""
    return [*parameters_of(genome).values(), *constants(genome.result)]


def value_of(found: Parameter | Place) -> float:
    """The size of a constant or of an initial value; signs stand outside of it."""
    if isinstance(found, Parameter):
        return next(n.value for n in (found.initial, *found.initial.children) if isinstance(n, Number))
    return found.node.value if isinstance(found.node, Number) else math.pi


def _with_value(space: Space, limit: int, parent: Program, found: Parameter | Place, value: float) -> Program:
    """The genome with another size for one of its constants."""
    parameters, result = parameters_of(parent), parent.result
    if isinstance(found, Parameter):
        initial = Number(value) if isinstance(found.initial, Number) else number(-value)
        parameters[found.name] = Parameter(found.name, found.per_channel, initial)
    else:
        result = replace(result, found.path, SIMPLE.get(value, Number(value)))
    return child(space, limit, parent, parameters.values(), result)
