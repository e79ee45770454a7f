"""Edits of one tree: a subtree, a node or a terminal is exchanged, put in or left out."""

from __future__ import annotations

from typing import Final

import numpy as np

from gp.evolution.genome import is_boolean, kinds, places, replace, size
from gp.evolution.space import draw, draw_terminal, matching
from gp.evolution.variation.growth import fitting
from gp.evolution.variation.parts import bounded, pick, reals
from grammar.tree import Chain, Expression

NEW_DEPTH: Final = 3  # of a subtree that mutation grows
_TURNED: Final = {"+": "-", "-": "+", "*": "/", "/": "*", "and": "or", "or": "and"}


def subtree(rng: np.random.Generator, limit: int, parent: Expression) -> Expression:
    """The parent with one of its subtrees replaced by a new random one of the same kind."""
    cut = pick(rng, list(places(parent)))
    room = limit - size(parent) + size(cut.node)
    boolean = is_boolean(cut.node)
    if room < (3 if boolean else 1):
        return parent
    return bounded(replace(parent, cut.path, fitting(rng, room, NEW_DEPTH, False, boolean)), parent, limit)


def point(rng: np.random.Generator, limit: int, parent: Expression) -> Expression:
    """The parent with one node's operator exchanged for another with the same children, or one terminal for another."""
    place = pick(rng, list(places(parent)))
    node = place.node
    if not node.children:
        new = draw_terminal(rng)
    elif isinstance(node, Chain) and (len(node.operators) > 1 or node.operators[0] in ("and", "or")):
        new = _turned(rng, node)
    elif matching(is_boolean(node), kinds(node))[0]:
        new = draw(rng, is_boolean(node), kinds(node)).make(node.children)
    else:
        return parent
    return bounded(replace(parent, place.path, new), parent, limit)


def _turned(rng: np.random.Generator, node: Chain) -> Chain:
    """A chain with one of its signs turned, + and -, * and /; or all of them, for `and` and `or` do not mix."""
    if node.operators[0] in ("and", "or"):
        return Chain(tuple(_TURNED[sign] for sign in node.operators), node.operands)
    at = int(rng.integers(len(node.operators)))
    return Chain((*node.operators[:at], _TURNED[node.operators[at]], *node.operators[at + 1 :]), node.operands)


def insertion(rng: np.random.Generator, limit: int, parent: Expression) -> Expression:
    """The parent with one of its subtrees under a new node of one argument, or of two, the other of which is a terminal."""
    place = pick(rng, reals(parent))
    if rng.random() < 0.5:
        new = draw(rng, False, (False,)).make((place.node,))
    else:
        pair = (place.node, draw_terminal(rng))
        new = draw(rng, False, (False, False)).make(pair if rng.random() < 0.5 else pair[::-1])
    return bounded(replace(parent, place.path, new), parent, limit)


def deletion(rng: np.random.Generator, limit: int, parent: Expression) -> Expression:
    """The parent with one of its subtrees, or all of it, replaced by a part of that of the same kind; a terminal stays."""
    cuts = [p for p in places(parent) if any(kind is is_boolean(p.node) for kind in kinds(p.node))]
    if not cuts:
        return parent
    cut = pick(rng, cuts)
    below = [p for p in places(cut.node) if p.path and is_boolean(p.node) is is_boolean(cut.node)]
    return bounded(replace(parent, cut.path, pick(rng, below).node), parent, limit)
