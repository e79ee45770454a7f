"""What is learnt: a parameter comes into a genome, or goes out of it."""

from __future__ import annotations

import numpy as np

from gp.evolution.genome import replace, substitute
from gp.evolution.space import Space
from gp.evolution.variation.constants import constants, value_of
from gp.evolution.variation.parts import child, parameters_of, pick, reals
from grammar.tree import Chain, Expression, Name, Number, Parameter, Program


def introduction(rng: np.random.Generator, space: Space, limit: int, parent: Program) -> Program:
    """The parent with a new parameter: in the place of a constant, which it starts with, or as a factor of a subtree, from 1 on."""
    kinds = sorted(space.per_channel)
    if not kinds:
        return parent
    parameters = parameters_of(parent)
    name = f"p{len(parameters) + 1}"
    found = constants(parent.result)
    new: Expression = Name(name)
    if found and rng.random() < 0.5:
        place = pick(rng, found)
        initial = value_of(place)
    else:
        place = pick(rng, reals(parent.result))
        initial = 1.0
        new = Chain(("*",), (new, place.node))
    parameters[name] = Parameter(name, kinds[int(rng.integers(len(kinds)))], Number(initial))
    return child(space, limit, parent, parameters.values(), replace(parent.result, place.path, new))


def removal(rng: np.random.Generator, space: Space, limit: int, parent: Program) -> Program:
    """The parent with one of its parameters fixed at its initial value."""
    parameters = list(parameters_of(parent).values())
    if not parameters:
        return parent
    fixed = parameters[int(rng.integers(len(parameters)))]
    return child(space, limit, parent, parameters, substitute(parent.result, {fixed.name: fixed.initial}))
