"""Random trees within a bound on their size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gp.evolution.genome import size
from gp.evolution.space import Space
from grammar.tree import Expression, Program


def ramped(rng: np.random.Generator, space: Space, limit: int, max_depth: int, index: int) -> Program:
    """The `index`-th genome of a ramped half-and-half population (Koza 1992): depths 2 to `max_depth` in turn, full and grown."""
    depth = 2 + index // 2 % (max_depth - 1)
    return Program((), fitting(rng, space, limit, depth, full=index % 2 == 0))


def fitting(
    rng: np.random.Generator, space: Space, limit: int, depth: int, full: bool, boolean: bool = False, parameters: Sequence[str] = ()
) -> Expression:
    """A random tree within the size limit (1 at least, 3 for a condition); one that is too large is drawn again, a level less deep."""
    while True:
        tree = space.grow(rng, depth, full, boolean, parameters)
        if size(tree) <= limit:
            return tree
        depth = max(depth - 1, 2 if boolean else 1)
