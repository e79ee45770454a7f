"""What operators share: drawing a part of an expression, putting an expression in the place of x, and the bound on a child."""

from __future__ import annotations

from typing import Final

import numpy as np

from gp.evolution.genome import Place, is_boolean, places, size, with_children
from grammar.limits import MAX_DEPTH
from grammar.tree import Expression, Name, walk

X: Final = Name("x")


def bounded(child: Expression, parent: Expression, limit: int) -> Expression:
    """The child, or the parent in its place if the child is larger than the limit, or deeper than the language allows."""
    return child if size(child) <= limit and child.depth <= MAX_DEPTH else parent


def pick(rng: np.random.Generator, choices: list[Place]) -> Place:
    """One of the places, all of them equally likely."""
    return choices[int(rng.integers(len(choices)))]


def reals(expression: Expression) -> list[Place]:
    """The places of real numbers: all but conditions."""
    return [p for p in places(expression) if not is_boolean(p.node)]


def count_x(expression: Expression) -> int:
    """How often x is read."""
    return sum(node == X for node in walk(expression))


def substitute(expression: Expression, new: Expression) -> Expression:
    """The expression with `new` in the place of every x."""
    if expression == X:
        return new
    return with_children(expression, tuple(substitute(child, new) for child in expression.children))


def fitting_part(rng: np.random.Generator, expression: Expression, room: int) -> Expression | None:
    """The expression or, where it has more than `room` nodes, one of its parts in x that has not; None if there is no such part."""
    if size(expression) <= room:
        return expression
    parts = [p for p in reals(expression) if p.node.children and size(p.node) <= room and count_x(p.node)]
    return pick(rng, parts).node if parts else None
