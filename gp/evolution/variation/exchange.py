"""Crossover: a child of two parents that has nodes of both."""

from __future__ import annotations

import numpy as np

from gp.evolution.genome import is_boolean, kinds, places, replace, size, with_children
from gp.evolution.variation.parts import bounded, pick
from grammar.tree import Expression


def crossover(rng: np.random.Generator, limit: int, mother: Expression, father: Expression) -> Expression:
    """The mother with one of her subtrees replaced by one of the father's of the same kind."""
    cut = pick(rng, list(places(mother)))
    room = limit - size(mother) + size(cut.node)
    donors = [p for p in places(father) if is_boolean(p.node) is is_boolean(cut.node) and size(p.node) <= room]
    return bounded(replace(mother, cut.path, pick(rng, donors).node), mother, limit) if donors else mother


def uniform(rng: np.random.Generator, limit: int, mother: Expression, father: Expression) -> Expression:
    """Uniform crossover (Poli, Langdon 1998): the trees are laid over each other, and every node is that of one parent or the other.

    Nodes are aligned where their parents have children of the same kinds; where the trees part ways, whole subtrees are taken.
    """
    return bounded(_mixed(rng, mother, father), mother, limit)


def _mixed(rng: np.random.Generator, first: Expression, second: Expression) -> Expression:
    taken = first if rng.random() < 0.5 else second
    if not first.children or kinds(first) != kinds(second):
        return taken
    return with_children(taken, tuple(_mixed(rng, a, b) for a, b in zip(first.children, second.children, strict=True)))
