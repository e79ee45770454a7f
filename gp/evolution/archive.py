"""An archive of elites: the best item of every kind that was seen (MAP-Elites: Mouret and Clune, "Illuminating search spaces by
mapping elites", 2015).

The kind of an item is a cell, any hashable value; which cells there are need not be known. What is best of its kind stays, however
good other kinds are, so that a draw from the archive finds variety.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

import numpy as np


class Ranked(Protocol):
    """What can be the best of its kind: the lower rank is better."""

    @property
    def rank(self) -> tuple[Any, ...]: ...


Cell = TypeVar("Cell", bound=Hashable)
Item = TypeVar("Item", bound=Ranked)


class Archive(Generic[Cell, Item]):
    """A map from cells to elites. A cell that was filled stays filled, by items that get better."""

    def __init__(self) -> None:
        self._elites: dict[Cell, Item] = {}

    def __len__(self) -> int:
        """How many cells are filled."""
        return len(self._elites)

    def offer(self, cell: Cell, item: Item) -> bool:
        """Whether the item became the elite of its cell: the cell was empty, or the item is strictly better than its elite."""
        elite = self._elites.get(cell)
        if elite is not None and not item.rank < elite.rank:
            return False
        self._elites[cell] = item
        return True

    def elites(self) -> list[Item]:
        """The elites, in the order in which their cells were first filled."""
        return list(self._elites.values())

    def cells(self) -> Mapping[Cell, Item]:
        """Elites by cell, in the same order; a view that follows later offers."""
        return MappingProxyType(self._elites)

    def draw(self, rng: np.random.Generator) -> Item:
        """An elite, every cell with the same probability. Raises ValueError if the archive is empty."""
        if not self._elites:
            raise ValueError("the archive is empty")
        return self.elites()[int(rng.integers(len(self)))]
