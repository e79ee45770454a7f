"""Behaviours of functions, and the archive of the best of each."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gp.evolution.archive import Archive
from gp.evolution.behaviour import CELLS, MIRROR, Behaviour, describe
from gp.evolution.screen import CENTRE, GRID, Array, profile
from grammar import catalog

EXPECTED = {
    "relu(x)": "neither, bounded | linear, kink, no turn",
    "leaky_relu(x)": "neither, linear | linear, kink, no turn",
    "selu(x)": "neither, bounded | linear, kink, no turn",
    "elu(x)": "neither, bounded | linear, smooth, no turn",
    "gelu(x)": "neither, bounded | linear, smooth, one turn",
    "silu(x)": "neither, bounded | linear, smooth, one turn",
    "gelusine(x)": "neither, bounded | linear, smooth, many turns",
    "softplus(x)": "neither, bounded | linear, smooth, no turn",
    "tanh(x)": "odd, bounded | bounded, smooth, no turn",
    "sigmoid(x)": "odd, bounded | bounded, smooth, no turn",
    "softsign(x)": "odd, bounded | bounded, smooth, no turn",
    "hardtanh(x)": "odd, bounded | bounded, kink, no turn",
    "hardswish(x)": "neither, bounded | linear, kink, one turn",
    "hard_mish(x)": "neither, bounded | linear, kink, one turn",
    "hard_elish(x)": "neither, bounded | linear, kink, one turn",
    "hardshrink(x)": "odd, linear | linear, jump, no turn",
    "plu(x)": "odd, linear | linear, kink, no turn",
    "squared_relu(x)": "neither, bounded | faster, smooth, no turn",
    "mexican_hat(x)": "even, bounded | bounded, smooth, few turns",
    "sin(x)": "odd, bounded | bounded, smooth, many turns",
    "sin(3*x)": "odd, bounded | bounded, smooth, many turns",
    "sin(25*x)": "odd, bounded | bounded, smooth, many turns",  # four times from one coarse point to the next, less a little
    "cos(5*x)": "even, bounded | bounded, smooth, many turns",
    "x*cos(x)": "odd, linear | linear, smooth, many turns",
    "x + sin(x)": "odd, linear | linear, smooth, no turn",
    "x + sin(x)^2": "neither, linear | linear, smooth, no turn",
    "x + cos(x)/1000": "neither, linear | linear, smooth, no turn",
    "exp(-x^2)": "even, bounded | bounded, smooth, one turn",
    "abs(x)": "even, linear | linear, kink, one turn",
    "abs(x - 2.3)": "neither, linear | linear, kink, one turn",
    "max(x - 7, 0)": "neither, bounded | linear, smooth, no turn",  # the kink is beyond 5
    "x^2": "even, faster | faster, smooth, one turn",
    "x^3": "odd, faster | faster, smooth, no turn",
    "x^3 + gelu(x)": "neither, faster | faster, smooth, no turn",
    "exp(x)": "neither, bounded | faster, smooth, no turn",
    "sign(x)*log(1 + abs(x))": "odd, slower | slower, smooth, no turn",
    "sqrt(1 + abs(x))": "even, slower | slower, kink, one turn",
    "floor(x) + x": "neither, linear | linear, jump, no turn",
    "tanh(x) + sign(x - 2)": "neither, bounded | bounded, jump, no turn",
    "tanh(x) + abs(x)/5": "neither, linear | linear, kink, one turn",
    "tanh(10*x)": "odd, bounded | bounded, smooth, no turn",
    "tanh(100*x)": "odd, bounded | bounded, jump, no turn",  # between two points of the grid
}


def _described(text: str) -> Behaviour:
    found = profile(text)
    return describe(found.value, found.slope)


@pytest.mark.parametrize("text", EXPECTED)
def test_behaviours_of_known_functions(text: str) -> None:
    assert _described(text).label == EXPECTED[text]


@pytest.mark.parametrize("name", catalog.names())
def test_every_catalogue_function_has_a_behaviour(name: str) -> None:
    behaviour = _described(catalog.entry(name).text)
    assert behaviour == replace(behaviour)
    assert len({behaviour, replace(behaviour)}) == 1


def test_features_have_few_values() -> None:
    labels = {_described(catalog.entry(name).text).label for name in catalog.names()}
    assert 15 < len(labels) < len(catalog.names()) / 2
    assert CELLS == 3 * 4 * 4 * 3 * 4


def _values(name: str) -> tuple[Array, Array]:
    found = profile(catalog.entry(name).text)
    return found.value, found.slope


NAMES = st.sampled_from(catalog.names())


@given(NAMES, st.floats(0.1, 10), st.floats(-10, 10))
def test_scaling_and_shifting_up_change_nothing(name: str, factor: float, constant: float) -> None:
    value, slope = _values(name)
    assert describe(factor * value + constant, factor * slope) == describe(value, slope)


@given(NAMES, st.integers(0, 2**32))
def test_rounding_does_not_show(name: str, seed: int) -> None:
    """Errors of some hundred roundings of the largest value near 0; negative control: errors that are large."""
    value, slope = _values(name)
    errors = np.random.default_rng(seed).uniform(-1, 1, (2, GRID.size))
    small, large = ([v + e * size * np.abs(v[CENTRE]).max() for v, e in zip((value, slope), errors, strict=True)] for size in (1e-13, 1))
    assert describe(*small) == describe(value, slope)
    assert describe(*large).parity == "neither"


@pytest.mark.parametrize(("size", "expected"), [(1e-12, "smooth"), (1e-2, "kink")])
def test_a_step_of_the_slope_that_is_rounding_is_no_kink(size: float, expected: str) -> None:
    """Where the slope of squared_relu is zero."""
    value, slope = _values("squared_relu")
    below = GRID < -2
    assert describe(value + size * np.where(below, GRID + 2, 0), slope + size * below).smoothness == expected


@given(NAMES)
def test_mirroring_swaps_the_sides(name: str) -> None:
    value, slope = _values(name)
    found, mirrored = describe(value, slope), describe(value[MIRROR], -slope[MIRROR])
    assert mirrored == replace(found, left=found.right, right=found.left)
    assert describe(-value, -slope) == found


def test_mirror_is_the_mirror_image() -> None:
    np.testing.assert_allclose(GRID[MIRROR], -GRID, atol=1e-12)


@given(st.floats(0.1, 8), st.floats(-3, 3))
def test_waves_are_smooth_and_bounded(frequency: float, phase: float) -> None:
    """Slow enough for the distance of the points; and where 10 are longer than a wave, bounded."""
    found = describe(np.sin(frequency * GRID + phase), frequency * np.cos(frequency * GRID + phase))
    assert found.smoothness == "smooth"
    assert frequency < 0.7 or found.left == found.right == "bounded"
    assert frequency < 0.7 or found.oscillation == "many"


@given(st.floats(-4.9, 4.9), st.floats(0.2, 5), st.floats(0, 0.5))
def test_breaks_are_found_wherever_they_are(place: float, size: float, frequency: float) -> None:
    """Kinks and jumps on top of a wave; negative control: the wave alone."""
    value, slope = np.sin(frequency * GRID) / 3, np.cos(frequency * GRID) * frequency / 3
    above = place < GRID
    assert describe(value, slope).smoothness == "smooth"
    assert describe(value + size * np.where(above, GRID - place, 0), slope + size * above).smoothness == "kink"
    assert describe(value + size * above, slope).smoothness == "jump"


@given(st.floats(0.5, 4), st.floats(-4, 4))
def test_jumps_of_the_curvature_are_smooth(size: float, place: float) -> None:
    """relu(x - place)^2: its slope has a kink, it has none."""
    above = np.maximum(GRID - place, 0)
    assert describe(size * above**2, 2 * size * above).smoothness == "smooth"


# The archive


@dataclass(frozen=True)
class _Item:
    rank: tuple[float, int]
    number: int


OFFERS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5)), max_size=40).map(
    lambda pairs: [(cell, _Item((rank / 2 if rank < 5 else math.inf, 0), k)) for k, (cell, rank) in enumerate(pairs)]
)


def _filled(offers: Iterable[tuple[str, _Item]]) -> Archive[str, _Item]:
    archive: Archive[str, _Item] = Archive()
    for cell, item in offers:
        archive.offer(cell, item)
    return archive


@given(OFFERS)
def test_an_elite_is_the_first_of_the_best_that_were_offered(offers: list[tuple[str, _Item]]) -> None:
    archive = _filled(offers)
    cells = list(dict.fromkeys(cell for cell, _ in offers))
    best = [min((item for c, item in offers if c == cell), key=lambda item: item.rank) for cell in cells]
    assert archive.elites() == best
    assert dict(archive.cells()) == dict(zip(cells, best, strict=True))
    assert list(archive.cells()) == cells
    assert len(archive) == len(cells)


@given(OFFERS)
def test_an_offer_says_whether_it_was_taken_and_no_cell_is_forgotten(offers: list[tuple[str, _Item]]) -> None:
    archive: Archive[str, _Item] = Archive()
    for cell, item in offers:
        before = dict(archive.cells())
        taken = archive.offer(cell, item)
        assert taken == (cell not in before or item.rank < before[cell].rank)
        assert dict(archive.cells()) == (before | {cell: item} if taken else before)


@given(OFFERS, st.randoms(use_true_random=False))
def test_the_order_of_offers_decides_ties_alone(offers: list[tuple[str, _Item]], random: Random) -> None:
    shuffled = list(offers)
    random.shuffle(shuffled)
    first, second = ({cell: item.rank for cell, item in _filled(some).cells().items()} for some in (offers, shuffled))
    assert first == second


@given(OFFERS, st.integers(0, 2**32))
def test_draws_are_elites_and_follow_the_generator(offers: list[tuple[str, _Item]], seed: int) -> None:
    assume(offers)
    archive = _filled(offers)
    assert archive.draw(np.random.default_rng(seed)) == archive.draw(np.random.default_rng(seed))
    assert archive.draw(np.random.default_rng(seed)) in archive.elites()


def test_every_cell_is_drawn_equally_often() -> None:
    """However many were offered to it, and however good they are. Expected 1000 each, with a deviation below 29."""
    archive = _filled(("abcdef"[min(k, 5)], _Item((float(k), 0), k)) for k in range(30))
    rng = np.random.default_rng(0)
    drawn = [archive.draw(rng).number for _ in range(6000)]
    assert sorted(set(drawn)) == list(range(6))
    assert all(850 < drawn.count(k) < 1150 for k in range(6))


def test_an_empty_archive_has_nothing_to_draw() -> None:
    archive: Archive[str, _Item] = Archive()
    with pytest.raises(ValueError, match="empty"):
        archive.draw(np.random.default_rng(0))
    assert (len(archive), archive.elites()) == (0, [])


def test_the_view_of_cells_cannot_be_changed() -> None:
    archive = _filled([("a", _Item((1.0, 0), 0))])
    cells = archive.cells()
    with pytest.raises(TypeError):
        cells["a"] = _Item((0.0, 0), 1)  # type: ignore[index]
    archive.offer("b", _Item((2.0, 0), 2))
    assert list(cells) == ["a", "b"]


def test_behaviours_are_cells() -> None:
    archive: Archive[Behaviour, _Item] = Archive()
    taken = [archive.offer(_described(text), _Item((float(k), 0), k)) for k, text in enumerate(("gelu(x)", "silu(x)", "relu(x)"))]
    assert taken == [True, False, True]
