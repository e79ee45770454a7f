"""NSGA-II's ranking, against its definitions."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gp.evolution.pareto import Point, crowding, front, fronts, ranking, select

TIED = st.integers(0, 4).map(float)
ANY = st.floats(allow_nan=False)
POINTS = st.one_of(*(st.lists(st.tuples(v, v, v), max_size=40) for v in (TIED, ANY, st.one_of(TIED, st.just(math.inf)))))
DISTINCT = st.lists(st.integers(0, 10**6), min_size=1, max_size=40, unique=True).flatmap(
    lambda first: st.tuples(st.just(first), st.permutations(first), st.permutations(first)).map(
        lambda columns: [(float(a), float(b), float(c)) for a, b, c in zip(*columns, strict=True)]
    )
)


def _dominates(a: Point, b: Point) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def _fronts_by_definition(points: list[Point]) -> list[int]:
    """Take away the points that nothing dominates, again and again."""
    found: dict[int, int] = {}
    number = 0
    while len(found) < len(points):
        left = [k for k in range(len(points)) if k not in found]
        free = [k for k in left if not any(_dominates(points[j], points[k]) for j in left)]
        found |= dict.fromkeys(free, number)
        number += 1
    return [found[k] for k in range(len(points))]


@given(POINTS)
def test_fronts_are_those_of_the_definition(points: list[Point]) -> None:
    found = fronts(points)
    assert found == _fronts_by_definition(points)
    assert front(points) == [k for k, number in enumerate(found) if number == 0]


def test_fronts_by_hand() -> None:
    """Negative control: equal points do not dominate each other, and one objective that is larger is enough not to."""
    chain = [(2.0, 2.0, 2.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 1.0, math.inf), (0.0, 0.0, -1.0)]
    assert fronts(chain) == [3, 1, 2, 2, 3, 0]
    assert fronts([(0.0, 1.0, 5.0), (1.0, 0.0, 5.0), (1.0, 1.0, 4.0), (1.0, 1.0, 5.0)]) == [0, 0, 0, 1]
    assert fronts([]) == front([]) == []


def test_nan_is_an_error() -> None:
    with pytest.raises(ValueError, match="NaN"):
        fronts([(0.0, 0.0, 0.0), (0.0, math.nan, 0.0)])


def test_crowding_by_hand() -> None:
    """Ranges 10, 5 and 1 of the members 0, 1, 3, 4. Point 1: (4 - 0)/10 + (5 - 2)/5 + (1 - 0)/1, its neighbours in the third objective
    being 4 and 0; point 3: (10 - 1)/10 + (4 - 0)/5 + (0.75 - 0)/1, its neighbours there being 0 and 1."""
    points = [(0.0, 5.0, 0.0), (1.0, 4.0, 0.75), (9.0, 9.0, 9.0), (4.0, 2.0, 0.5), (10.0, 0.0, 1.0)]
    first, second, third, last = crowding(points, [0, 1, 3, 4])
    assert (first, last) == (math.inf, math.inf)
    assert second == pytest.approx(0.4 + 0.6 + 0.5)
    assert third == pytest.approx(0.9 + 0.8 + 0.75)
    assert ranking(points) == [(0, -math.inf), (0, -second), (1, 0.0), (0, -third), (0, -math.inf)]
    assert select(points, 4) == [0, 4, 3, 1]
    assert select(points, 9) == [0, 4, 3, 1, 2]


def test_objectives_without_a_finite_range_add_nothing() -> None:
    """Negative control: the same front with a third objective that is finite and differs."""
    front_of_two = [(0.0, 3.0), (1.0, 2.0), (2.0, 1.0), (3.0, 0.0)]
    middle = pytest.approx(2 * 2 / 3)
    for third in (7.0, math.inf):
        assert crowding([(a, b, third) for a, b in front_of_two], range(4)) == [math.inf, middle, middle, math.inf]
    for some in (math.inf, -math.inf):
        points = [(a, b, some if a == 1 else 0.0) for a, b in front_of_two]
        assert crowding(points, range(4)) == [math.inf, middle, middle, math.inf]
    assert crowding([(a, b, float(a == 1)) for a, b in front_of_two], range(4)) != [math.inf, middle, middle, math.inf]
    assert crowding([(1.0, 1.0, 1.0)] * 3, range(3)) == [0.0] * 3
    assert crowding([], []) == []


def test_the_widest_finite_range() -> None:
    assert crowding([(-1.5e308, 1.0, 0.0), (0.0, 0.5, 0.0), (1.5e308, 0.0, 0.0)], range(3)) == [math.inf, 2.0, math.inf]


@given(st.lists(st.tuples(ANY, ANY, ANY), max_size=20))
def test_distances_are_no_nan_and_not_negative(points: list[Point]) -> None:
    assert all(distance >= 0 for distance in crowding(points, range(len(points))))


@given(POINTS, st.integers(0, 45))
def test_selection_takes_whole_fronts_first_and_then_the_least_crowded(points: list[Point], count: int) -> None:
    chosen = select(points, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(points))
    ranks = ranking(points)
    assert [number for number, _ in ranks] == fronts(points)
    left = set(range(len(points))) - set(chosen)
    assert all((ranks[a], a) < (ranks[b], b) for a in chosen for b in left)
    assert [(*ranks[k], k) for k in chosen] == sorted((*ranks[k], k) for k in chosen)


@given(DISTINCT, st.data())
def test_selection_does_not_depend_on_the_order(points: list[Point], data: st.DataObject) -> None:
    """Where no two points have an objective in common and the selection does not end within a tie."""
    count = data.draw(st.integers(1, len(points)))
    ranks = sorted(ranking(points))
    assume(count == len(points) or ranks[count - 1][0] != ranks[count][0] or ranks[count][1] - ranks[count - 1][1] > 1e-9)
    order = data.draw(st.permutations(range(len(points))))
    shuffled = [points[k] for k in order]
    assert {points[k] for k in select(points, count)} == {shuffled[k] for k in select(shuffled, count)}


def test_ties_are_broken_by_index() -> None:
    assert select([(1.0, 1.0, 1.0)] * 4, 2) == [0, 1]
    assert select([(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)], 2) == [1, 0]
