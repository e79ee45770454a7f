"""Random trees within a bound on their size."""

from __future__ import annotations

import numpy as np

from gp.evolution.genome import size
from gp.evolution.space import grow
from grammar.tree import Expression


def ramped(rng: np.random.Generator, limit: int, max_depth: int, index: int) -> Expression:
    """The `index`-th tree of a ramped half-and-half population (Koza 1992): depths 2 to `max_depth` in turn, full and grown."""
    depth = 2 + index // 2 % (max_depth - 1)
    return fitting(rng, limit, depth, full=index % 2 == 0)


def fitting(rng: np.random.Generator, limit: int, depth: int, full: bool, boolean: bool = False) -> Expression:
    """A random tree within the size limit (1 at least, 3 for a condition); one that is too large is drawn again, a level less deep."""
    while True:
        tree = grow(rng, depth, full, boolean)
        if size(tree) <= limit:
            return tree
        depth = max(depth - 1, 2 if boolean else 1)
