"""Crossover: a child of two parents that has nodes of both."""

from __future__ import annotations

import numpy as np

from gp.evolution.genome import children, is_boolean, kinds, places, replace, size, with_children
from gp.evolution.space import Space
from gp.evolution.variation.parts import pick
from grammar.tree import Expression


def crossover(rng: np.random.Generator, space: Space, limit: int, mother: Expression, father: Expression) -> Expression:
    """The mother with one of her subtrees replaced by one of the father's of the same kind."""
    cut = pick(rng, list(places(mother)))
    room = limit - size(mother) + size(cut.node)
    donors = [p for p in places(father) if is_boolean(p.node) is is_boolean(cut.node) and size(p.node) <= room]
    return replace(mother, cut.path, pick(rng, donors).node) if donors else mother


def uniform(rng: np.random.Generator, space: Space, limit: int, mother: Expression, father: Expression) -> Expression:
    """Uniform crossover (Poli, Langdon 1998): the trees are laid over each other, and every node is that of one parent or the other.

    Nodes are aligned where their parents have children of the same kinds; where the trees part ways, whole subtrees are taken.
    """
    taken = mother if rng.random() < 0.5 else father
    if not mother.children or kinds(mother) != kinds(father):
        return taken
    pairs = zip(children(mother), children(father), strict=True)
    return with_children(taken, tuple(uniform(rng, space, limit, first, second) for first, second in pairs))
