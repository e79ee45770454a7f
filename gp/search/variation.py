"""Variation: small callables that make a child from a generator of random numbers, a bound on its size, and parents.

Every child is an expression of at most `limit` nodes, provided its parents are; parents stay as they are. Real numbers replace
real numbers and conditions replace conditions, so a child always builds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from gp.search.genome import Place, is_boolean, kinds, number, places, replace, size
from gp.search.space import draw, draw_terminal, grow, tidy
from grammar.tree import Chain, Expression, Number

Mutation = Callable[[np.random.Generator, int, Expression], Expression]

NEW_DEPTH: Final = 3  # of a subtree that mutation grows
STEP: Final = 0.3  # deviation of the logarithm of a constant's change
_LEVELS: Final = ("+-", "*/")


def ramped(rng: np.random.Generator, limit: int, max_depth: int, index: int) -> Expression:
    """The `index`-th tree of a ramped half-and-half population (Koza 1992): depths 2 to `max_depth` in turn, full and grown."""
    depth = 2 + index // 2 % (max_depth - 1)
    return _fitting(rng, limit, depth, full=index % 2 == 0)


def _fitting(rng: np.random.Generator, limit: int, depth: int, full: bool) -> Expression:
    """A random tree within the size limit; one that is too large is drawn again, a level less deep."""
    while True:
        tree = grow(rng, depth, full)
        if size(tree) <= limit:
            return tree
        depth = max(depth - 1, 1)


def crossover(rng: np.random.Generator, limit: int, mother: Expression, father: Expression) -> Expression:
    """The mother with one of her subtrees replaced by one of the father's of the same kind."""
    cut = _pick(rng, [p for p in places(mother) if not is_boolean(p.node)])
    room = limit - size(mother) + size(cut.node)
    donors = [p for p in places(father) if not is_boolean(p.node) and size(p.node) <= room]
    return replace(mother, cut.path, _pick(rng, donors).node)


def subtree(rng: np.random.Generator, limit: int, parent: Expression) -> Expression:
    """The parent with one of its subtrees replaced by a new random one."""
    cut = _pick(rng, [p for p in places(parent) if not is_boolean(p.node)])
    room = limit - size(parent) + size(cut.node)
    return replace(parent, cut.path, _fitting(rng, room, NEW_DEPTH, full=False))


def point(rng: np.random.Generator, limit: int, parent: Expression) -> Expression:
    """The parent with one node's operator exchanged for another with the same children, or one terminal for another."""
    place = _pick(rng, list(places(parent)))
    node = place.node
    if not node.children:
        new = draw_terminal(rng)
    elif isinstance(node, Chain) and len(node.operators) > 1:
        new = _other_sign(rng, node)
    else:
        new = draw(rng, is_boolean(node), kinds(node)).make(node.children)
    child = replace(parent, place.path, new)
    return child if size(child) <= limit else parent


def _other_sign(rng: np.random.Generator, node: Chain) -> Chain:
    """A long chain with one of its signs turned: + and -, * and /."""
    level = next((signs for signs in _LEVELS if node.operators[0] in signs), "")
    if not level:
        return node
    at = int(rng.integers(len(node.operators)))
    turned = level[1 - level.index(node.operators[at])]
    return Chain((*node.operators[:at], turned, *node.operators[at + 1 :]), node.operands)


def constant(rng: np.random.Generator, limit: int, parent: Expression) -> Expression:
    """The parent with one constant multiplied by a log-normal factor; a parent without constants gets one, as a factor."""
    found = [p for p in places(parent) if isinstance(p.node, Number)]
    factor = float(np.exp(STEP * rng.standard_normal()))
    if found:
        place = _pick(rng, found)
        assert isinstance(place.node, Number)
        return replace(parent, place.path, Number(tidy(place.node.value * factor)))
    place = _pick(rng, [p for p in places(parent) if not is_boolean(p.node)])
    child = replace(parent, place.path, Chain(("*",), (number(tidy(factor)), place.node)))
    return child if size(child) <= limit else parent


def _pick(rng: np.random.Generator, choices: list[Place]) -> Place:
    return choices[int(rng.integers(len(choices)))]


MUTATIONS: Final[dict[str, Mutation]] = {"subtree": subtree, "point": point, "constant": constant}
