"""Whole functions combined: composition, modulation, perturbation, and the symmetric parts of one.

Where the second parent is too large for the limit, a part of it is taken.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gp.evolution.genome import size, substitute
from gp.evolution.space import Space, tidy
from gp.evolution.variation.parts import X, count_x, fitting_part
from grammar.tree import Chain, Expression, Number, Unary

COEFFICIENT: Final = 0.2  # the median size of the coefficient of what is added
SPREAD: Final = 1.0  # deviation of its logarithm


def composition(rng: np.random.Generator, space: Space, limit: int, outer: Expression, inner: Expression) -> Expression:
    """outer(inner(x))."""
    uses = count_x(outer)
    part = fitting_part(rng, inner, (limit - size(outer)) // uses + 1) if uses else None
    return outer if part is None else substitute(outer, {X.name: part})


def modulation(rng: np.random.Generator, space: Space, limit: int, function: Expression, other: Expression) -> Expression:
    """function(x)*(1 + c*other(x)), or with a minus."""
    part = fitting_part(rng, other, limit - size(function) - 5)
    return function if part is None else Chain(("*",), (function, _plus(rng, Number(1.0), part)))


def perturbation(rng: np.random.Generator, space: Space, limit: int, function: Expression, other: Expression) -> Expression:
    """function(x) + c*other(x), or with a minus."""
    part = fitting_part(rng, other, limit - size(function) - 3)
    return function if part is None else _plus(rng, function, part)


def _plus(rng: np.random.Generator, function: Expression, other: Expression) -> Expression:
    """function + c*other or function - c*other."""
    coefficient = Number(tidy(COEFFICIENT * float(np.exp(SPREAD * rng.standard_normal()))))
    return Chain(("+" if rng.random() < 0.5 else "-",), (function, Chain(("*",), (coefficient, other))))


def odd(rng: np.random.Generator, space: Space, limit: int, parent: Expression) -> Expression:
    """The odd part: (f(x) - f(-x))/2."""
    return _half(parent, "-")


def even(rng: np.random.Generator, space: Space, limit: int, parent: Expression) -> Expression:
    """The even part: (f(x) + f(-x))/2."""
    return _half(parent, "+")


def _half(function: Expression, sign: str) -> Expression:
    mirrored = substitute(function, {X.name: Unary("-", X)})
    return Chain(("/",), (Chain((sign,), (function, mirrored)), Number(2.0)))
