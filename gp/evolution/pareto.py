"""NSGA-II's ranking for three objectives that are minimised (Deb, Pratap, Agarwal, Meyarivan, "A fast and elitist multiobjective
genetic algorithm: NSGA-II", 2002).

A point dominates another that it differs from where none of its objectives is larger. Front 0 holds the points that nothing
dominates, front k those that only points of the fronts before k dominate.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np

Point = tuple[float, float, float]
OBJECTIVES: Final = 3


class _Staircase:
    """The lower left boundary of a set of pairs: first coordinates rise, second ones fall."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._second: list[float] = []

    def covers(self, first: float, second: float) -> bool:
        """Whether a pair of the set is no larger in both coordinates."""
        k = bisect_right(self._first, first)
        return k > 0 and self._second[k - 1] <= second

    def add(self, first: float, second: float) -> None:
        """Add a pair that is not covered; pairs that it covers leave the boundary."""
        start = end = bisect_left(self._first, first)
        while end < len(self._first) and self._second[end] >= second:
            end += 1
        self._first[start:end] = [first]
        self._second[start:end] = [second]


def fronts(points: Sequence[Point]) -> list[int]:
    """The number of each point's front, from 0; equal points share theirs. Objectives may be infinite.

    Efficient non-dominated sort with binary search (Zhang, Tian, Cheng, Jin, "An efficient approach to nondominated sorting for
    evolutionary multiobjective optimization", 2015, section III): in lexicographic order a point is dominated by points before it
    only, and by a member of each front before its own. The first objective is no smaller than theirs, so two decide.

    Raises ValueError for NaN.
    """
    if any(map(math.isnan, chain.from_iterable(points))):
        raise ValueError("an objective is NaN")
    found = [0] * len(points)
    boundaries: list[_Staircase] = []
    previous: Point | None = None
    low = 0
    for index in sorted(range(len(points)), key=points.__getitem__):
        point = points[index]
        if point != previous:  # an equal point is in the front that was found last
            _, second, third = previous = point
            low, high = 0, len(boundaries)
            while low < high:
                middle = (low + high) // 2
                if boundaries[middle].covers(second, third):
                    low = middle + 1
                else:
                    high = middle
            if low == len(boundaries):
                boundaries.append(_Staircase())
            boundaries[low].add(second, third)
        found[index] = low
    return found


def crowding(points: Sequence[Point], members: Sequence[int]) -> list[float]:
    """The crowding distance of each of a front's members, which are indices of points (Deb et al., section III.B).

    For each objective, the members next below and next above are so far apart, relative to the range of the front; these distances
    are added. The first and the last member are infinitely far from others; of equal ones, the order in `members` decides. An
    objective whose range is zero or not finite adds nothing, not even for the first and the last.
    """
    values = np.array([points[k] for k in members], dtype=np.float64).reshape(-1, OBJECTIVES)
    distances = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        if len(ordered) == 0 or not np.isfinite(ordered[[0, -1]]).all() or ordered[0] == ordered[-1]:
            continue
        scaled = ordered / 2  # so that no finite range overflows
        distances[order[1:-1]] += (scaled[2:] - scaled[:-2]) / (scaled[-1] - scaled[0])
        distances[order[[0, -1]]] = math.inf
    return distances.tolist()


def ranking(points: Sequence[Point]) -> list[tuple[int, float]]:
    """Each point's front and its crowding distance, negative: ascending order is NSGA-II's crowded comparison (section III.B)."""
    found = fronts(points)
    members = defaultdict(list)
    for index, number in enumerate(found):
        members[number].append(index)
    ranks = [(number, 0.0) for number in found]
    for number, indices in members.items():
        for index, distance in zip(indices, crowding(points, indices), strict=True):
            ranks[index] = number, -distance
    return ranks


def select(points: Sequence[Point], count: int) -> list[int]:
    """The indices of the survivors, best first: whole fronts, and of the last the least crowded; at a tie, the lower index."""
    ranks = ranking(points)
    return sorted(range(len(points)), key=ranks.__getitem__)[:count]


def front(points: Sequence[Point]) -> list[int]:
    """The indices of the points that nothing dominates, ascending."""
    return [index for index, number in enumerate(fronts(points)) if number == 0]
