"""Edits of one tree: a subtree, a node or a terminal is exchanged, put in or left out."""

from __future__ import annotations

from typing import Final

import numpy as np

from gp.evolution.genome import children, is_boolean, kinds, places, replace, size
from gp.evolution.space import Space
from gp.evolution.variation.growth import fitting
from gp.evolution.variation.parts import parameter_names, pick, reals
from grammar.tree import Chain, Expression

NEW_DEPTH: Final = 3  # of a subtree that mutation grows
_TURNED: Final = {"+": "-", "-": "+", "*": "/", "/": "*", "and": "or", "or": "and"}


def subtree(rng: np.random.Generator, space: Space, limit: int, parent: Expression) -> Expression:
    """The parent with one of its subtrees replaced by a new random one of the same kind."""
    cut = pick(rng, list(places(parent)))
    room = limit - size(parent) + size(cut.node)
    boolean = is_boolean(cut.node)
    if room < (3 if boolean else 1) or (boolean and not space.has_conditions):
        return parent
    return replace(parent, cut.path, fitting(rng, space, room, NEW_DEPTH, False, boolean, parameter_names(parent)))


def point(rng: np.random.Generator, space: Space, limit: int, parent: Expression) -> Expression:
    """The parent with one node's operator exchanged for another with the same children, or one terminal for another."""
    place = pick(rng, list(places(parent)))
    node = place.node
    if not node.children:
        return replace(parent, place.path, space.draw_terminal(rng, parameter_names(parent)))
    if isinstance(node, Chain) and (len(node.operators) > 1 or node.operators[0] in ("and", "or")):
        return replace(parent, place.path, _turned(rng, node))
    production = space.draw(rng, is_boolean(node), kinds(node))
    return parent if production is None else replace(parent, place.path, production.make(children(node)))


def _turned(rng: np.random.Generator, node: Chain) -> Chain:
    """A chain with one of its signs turned, + and -, * and /; or all of them, for `and` and `or` do not mix."""
    if node.operators[0] in ("and", "or"):
        return Chain(tuple(_TURNED[sign] for sign in node.operators), node.operands)
    at = int(rng.integers(len(node.operators)))
    return Chain((*node.operators[:at], _TURNED[node.operators[at]], *node.operators[at + 1 :]), node.operands)


def insertion(rng: np.random.Generator, space: Space, limit: int, parent: Expression) -> Expression:
    """The parent with one of its subtrees under a new node of one argument, or of two, the other of which is a terminal."""
    place = pick(rng, reals(parent))
    arguments: tuple[Expression, ...] = (place.node,)
    if rng.random() < 0.5:
        arguments = (place.node, space.draw_terminal(rng, parameter_names(parent)))
        arguments = arguments if rng.random() < 0.5 else arguments[::-1]
    production = space.draw(rng, False, (False,) * len(arguments))
    return parent if production is None else replace(parent, place.path, production.make(arguments))


def deletion(rng: np.random.Generator, space: Space, limit: int, parent: Expression) -> Expression:
    """The parent with one of its subtrees, or all of it, replaced by a part of that of the same kind; a terminal stays."""
    cuts = [p for p in places(parent) if any(kind is is_boolean(p.node) for kind in kinds(p.node))]
    if not cuts:
        return parent
    cut = pick(rng, cuts)
    below = [p for p in places(cut.node) if p.path and is_boolean(p.node) is is_boolean(cut.node)]
    return replace(parent, cut.path, pick(rng, below).node)
