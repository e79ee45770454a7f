"""The data sets of the lab: which ones there are, and their points, every one against its specification."""

from __future__ import annotations

import functools
import itertools
import math
import pickle
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gp.lab.data import BoxSampling, DataError, Instance, Range, Raw, Split, families, instance, instances, make_dataset
from gp.lab.data.feynman import Equation, equations
from gp.lab.data.flows import AttractorSampling, Forecast, _points
from gp.lab.data.harmonic import HarmonicSampling
from gp.lab.data.maps import Iterate
from gp.lab.data.polynomial import Polynomial

ROOT = Path(__file__).resolve().parent.parent
SEARCH, SELECTION, VALIDATION = instances("search"), instances("selection"), instances("validation")
ALL = (*SEARCH, *SELECTION, *VALIDATION)
EACH = pytest.mark.parametrize("member", ALL, ids=lambda i: i.name)
Array = NDArray[np.float64]


def splits(raw: Raw) -> tuple[Split, Split, Split]:
    return raw.train, raw.inside, raw.outside


# What is registered

SPECIFIED = {
    ("polynomial", "down"): "1-3 1-5 2-3 2-4 3-3 4-2",
    ("polynomial", "reflected"): "1-3 2-3 3-3 2-4",
    ("polynomial", "out"): "1-4 2-3 3-3 4-2",
    ("harmonic", "azimuth"): "1-1 2-1 2-2 3-1 3-2 3-m3",
    ("harmonic", "cap"): "2-1 3-0",
    ("harmonic", "pole"): "3-2 4-1",
    ("feynman", "up"): "I.6.2 I.10.7 I.12.11 I.24.6 I.44.4 III.15.12",
    ("feynman", "down"): "I.8.14 I.12.2 I.16.6 I.29.16 I.41.16 II.35.18",
}


def test_the_search_set_is_the_specified_one() -> None:
    expected = [f"{family}-{variant}-{name}" for (family, variant), names in SPECIFIED.items() for name in names.split()]
    chaos = ["lorenz-x", "lorenz-z", "roessler-x", "logistic", "henon", "double-pendulum"]
    assert [i.name for i in SEARCH] == [*expected, *(f"chaos-{name}" for name in chaos)]
    assert families() == ("polynomial", "harmonic", "feynman", "chaos")


def test_the_other_sets_are_large_and_have_every_variant() -> None:
    assert len(VALIDATION) >= 128
    assert len(SELECTION) >= 110
    for members in (SELECTION, VALIDATION):
        assert min(Counter(i.family for i in members).values()) >= 20
        counts = Counter((i.family, i.variant) for i in members)
        assert counts.keys() == {(i.family, i.variant) for i in SEARCH}
        assert min(counts.values()) >= 10


def test_the_sets_share_nothing() -> None:
    assert len({i.name for i in ALL}) == len(ALL)
    sets = (SEARCH, SELECTION, VALIDATION)
    # Equations, whatever the variant, the names and the order of the variables.
    # Harmonics: on the sphere an exchange of x and y turns m = 1 into m = -1.
    # Systems: another function, or the same with other parameters.
    tells = {"feynman": lambda i: _anonymous(_equation(i)), "harmonic": _harmonic, "chaos": _system}
    for family, told in tells.items():
        found = [[told(i) for i in members if i.family == family] for members in sets]
        for one, other in itertools.combinations(found, 2):
            assert not set(one) & set(other)
    validation = [_anonymous(_equation(i)) for i in VALIDATION if i.family == "feynman"]
    assert len(set(validation)) == len(validation)
    # Polynomials: other coefficients.
    for shape in ((1, 3), (2, 3)):
        draws = [Polynomial(f"polynomial-down-1-3{draw}", *shape)(np.ones((1, shape[0]))) for draw in ("", "-second", "-third")]
        assert len(np.unique(np.round(draws, 6))) == 3


def _equation(member: Instance) -> Equation:
    assert isinstance(member.points, BoxSampling)
    assert isinstance(member.points.function, Equation)
    return member.points.function


def _anonymous(equation: Equation) -> str:
    names = dict.fromkeys(name for name in re.findall(r"[A-Za-z_]\w*", equation.formula) if name in equation.variables)
    order = {name: f"v{k}" for k, name in enumerate(names)}
    return re.sub(r"[A-Za-z_]\w*", lambda m: order.get(m[0], m[0]), equation.formula)


def _harmonic(member: Instance) -> tuple[str, int, int, bool]:
    assert isinstance(member.points, HarmonicSampling)
    order = member.points.order
    return member.variant, member.points.degree, 1 if member.variant != "azimuth" and order == -1 else order, member.points.turned


def _system(member: Instance) -> tuple[object, ...]:
    points = member.points
    if isinstance(points, AttractorSampling):
        return points.attractor.flow.field, points.attractor.flow.parameters
    assert isinstance(points, BoxSampling)
    if isinstance(points.function, Iterate):
        return points.function.step, points.function.parameters, points.function.steps
    assert isinstance(points.function, Forecast)
    return points.function.flow.field, points.function.flow.parameters


BOXES = [[i for i in members if isinstance(i.points, BoxSampling)] for members in (SEARCH, SELECTION, VALIDATION)]


def _shape(member: Instance) -> Array:
    """The target on a grid of the training range, but for its mean and scale and the order and direction of the inputs."""
    points = member.points
    assert isinstance(points, BoxSampling)
    grid = np.array(list(itertools.product((0.0, 0.4, 0.6, 1.0), repeat=member.inputs)))
    low, high = np.array([(r.low, r.high) for r in points.train]).T
    with np.errstate(invalid="ignore"):  # III.9.52 has 0/0 where two inputs are equal
        values = points.function(low + (high - low) * grid)
    values = values[np.isfinite(values)]
    values = np.sort((values - values.mean()) / values.std())
    return min(values, -values[::-1], key=lambda v: tuple(v[:8]))


def _equal(one: Instance, other: Instance) -> bool:
    return one.inputs == other.inputs and np.allclose(_shape(one), _shape(other), atol=1e-6)


def test_no_function_of_one_set_is_that_of_another() -> None:
    shapes = [[(i.name, _shape(i)) for i in members] for members in BOXES]
    for first, second in itertools.combinations(shapes, 2):
        for (name, one), (other_name, other) in itertools.product(first, second):
            assert one.shape != other.shape or not np.allclose(one, other, atol=1e-6), (name, other_name)


@pytest.mark.parametrize(("one", "other"), [("I.12.1", "I.39.1"), ("I.39.22", "III.21.20"), ("II.15.4", "II.15.5"), ("I.10.7", "II.13.23")])
def test_equal_functions_are_recognised(one: str, other: str) -> None:
    """Negative control: names, order, sign and factor make no difference; the range does."""
    assert _equal(instance(f"feynman-up-{one}"), instance(f"feynman-up-{other}"))
    assert not _equal(instance(f"feynman-up-{one}"), instance(f"feynman-down-{other}"))


Z, PHI = np.random.default_rng(0).uniform([-1.0, 0.0], [1.0, 2 * math.pi], (200, 2)).T


@functools.cache
def _turns(harmonic: HarmonicSampling) -> Array:
    """A harmonic at points of the sphere, turned about the z axis by every second degree, and the same with y reversed."""
    turns = np.radians(np.arange(0, 360, 2))[:, None]
    phi = np.concatenate([turns + PHI, turns - PHI])
    return harmonic.at(np.tile(Z, len(phi)), phi.ravel()).y.reshape(phi.shape)


def _most_alike(one: HarmonicSampling, other: HarmonicSampling) -> float:
    """The largest correlation of a harmonic with another one, however that is turned."""
    found, target = _turns(other), one.at(Z, PHI).y
    found, target = found - found.mean(axis=1, keepdims=True), target - target.mean()
    return float((np.abs(found @ target) / np.linalg.norm(found, axis=1)).max() / np.linalg.norm(target))


def test_no_harmonic_for_selection_is_another_turned_about_the_z_axis() -> None:
    for member, other in itertools.product(SELECTION, (*SEARCH, *VALIDATION)):
        one, two = member.points, other.points
        if isinstance(one, HarmonicSampling) and isinstance(two, HarmonicSampling) and member.variant == other.variant != "azimuth":
            assert _most_alike(one, two) < 0.98, (member.name, other.name)
    assert _most_alike(HarmonicSampling("cap", 2, 2, turned=False), HarmonicSampling("cap", 2, -2, turned=False)) > 0.999
    assert _most_alike(HarmonicSampling("cap", 2, 1, turned=True), HarmonicSampling("cap", 2, 2, turned=False)) > 0.999


def test_anonymous_equations_are_recognised() -> None:
    """Negative control: I.10.7 and II.13.23 are the same but for a name."""
    assert _anonymous(equations()["I.10.7"]) == _anonymous(equations()["II.13.23"])
    assert _anonymous(equations()["I.10.7"]) != _anonymous(equations()["II.13.34"])


def test_lookup() -> None:
    assert instance("chaos-henon") is next(i for i in SEARCH if i.name == "chaos-henon")
    assert instance("feynman-down-III.15.12").variant == "down"
    with pytest.raises(DataError, match=r"no data set called 'chaos-hennon'; did you mean 'chaos-henon'\?"):
        instance("chaos-hennon")
    with pytest.raises(DataError, match="see gp data list"):
        instance("zzz")
    with pytest.raises(DataError, match="'training'; the sets are search, selection, validation"):
        instances("training")  # type: ignore[arg-type]


# Points


@EACH
def test_points_are_finite_enough_and_belong_to_the_seed(member: Instance) -> None:
    data = make_dataset(member, 0)
    assert data.name == member.name
    for split, count in zip(splits(data.raw), (512, 256, 256), strict=True):
        assert split.x.shape == (count, member.inputs)
        assert split.y.shape == (count,)
        assert split.x.dtype == split.y.dtype == np.float64
        assert np.isfinite(split.x).all()
        assert np.isfinite(split.y).all()
        assert np.ptp(split.y) > 1e-3 * np.ptp(data.raw.train.y) > 0
        assert (np.ptp(split.x, axis=0) > 0).all()
    assert not np.array_equal(data.raw.train.x, make_dataset(member, 1).raw.train.x)
    # No point occurs twice.
    everything = np.concatenate([split.x for split in splits(data.raw)])
    assert len(np.unique(everything, axis=0)) == len(everything)


@EACH
def test_data_are_standardised_by_the_training_set(member: Instance) -> None:
    data = make_dataset(member, 0)
    np.testing.assert_allclose(data.train.x.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(data.train.x.std(axis=0), 1)
    np.testing.assert_allclose([data.train.y.mean(), data.train.y.std()], [0, 1], atol=1e-9)
    raw = data.raw
    np.testing.assert_allclose(
        data.outside.y * raw.train.y.std() + raw.train.y.mean(), raw.outside.y, atol=1e-9 * np.abs(raw.outside.y).max()
    )
    np.testing.assert_allclose(data.inside.x * raw.train.x.std(axis=0) + raw.train.x.mean(axis=0), raw.inside.x, atol=1e-9)
    plain = make_dataset(member, 0, standardise=False)
    np.testing.assert_array_equal(plain.outside.x, raw.outside.x)


def test_targets_for_selection_are_of_a_size_to_learn() -> None:
    """The largest are those of equations with small divisors where the networks were not trained."""
    for member, seed in itertools.product(SELECTION, (0, 100)):
        assert np.abs(make_dataset(member, seed).outside.y).max() < 50, member.name


# For every variant but those of Feynman and chaos: the training range of what separates, and the range out of distribution.
SEPARATED: dict[tuple[str, str], tuple[Callable[[Array], Array], tuple[float, float], tuple[float, float]]] = {
    ("polynomial", "down"): (lambda x: x, (1, 2), (0, 1)),
    ("polynomial", "reflected"): (lambda x: x, (0, 1), (-0.5, 0)),
    ("polynomial", "out"): (np.abs, (0, 1), (1, 1.5)),
    ("harmonic", "azimuth"): (lambda x: x[:, 1], (0, math.pi), (math.pi, 1.15 * math.pi)),
    ("harmonic", "cap"): (lambda x: x[:, 2], (0, 1), (-0.5, 0)),
    ("harmonic", "pole"): (lambda x: np.abs(x[:, 2]), (0, 0.6), (0.6, 0.8)),
}
SEPARATED_CHAOS: dict[str, tuple[Callable[[Array], Array], tuple[float, float], tuple[float, float]]] = {
    "chaos-lorenz-x": (lambda x: x[:, 0], (-math.inf, 0), (0, 8)),
    "chaos-lorenz-z": (lambda x: x[:, 2], (-math.inf, 27), (27, 34)),
    "chaos-roessler-x": (lambda x: x[:, 0], (-math.inf, 2), (2, 5)),
    "chaos-logistic": (lambda x: x[:, 1], (2.8, 3.5), (3.5, 3.75)),
    "chaos-henon": (lambda x: x[:, 0], (-1.3, 0.3), (0.3, 0.8)),
    "chaos-double-pendulum": (lambda x: np.abs(x[:, :2]), (0, 1.2), (1.2, 1.8)),
}


@pytest.mark.parametrize(
    "member", [i for i in ALL if (i.family, i.variant) in SEPARATED or i.name in SEPARATED_CHAOS], ids=lambda i: i.name
)
def test_points_lie_in_the_specified_ranges(member: Instance) -> None:
    value, training, outside = SEPARATED_CHAOS.get(member.name) or SEPARATED[member.family, member.variant]
    raw = make_dataset(member, 0).raw
    for split, (low, high) in zip(splits(raw), (training, training, outside), strict=True):
        found = value(split.x)
        assert found.min() >= low
        assert found.max() <= high
        # The whole range is used.
        if math.isfinite(low):
            assert found.min() < low + 0.1 * (high - low)
        assert found.max() > high - 0.1 * (high - min(low, high - 1) if math.isfinite(low) else 5)


@EACH
def test_points_lie_in_the_ranges_of_the_recipe_which_are_apart(member: Instance) -> None:
    points, raw = member.points, make_dataset(member, 0).raw
    if isinstance(points, BoxSampling):
        for split, box in zip(splits(raw), (points.train, points.train, points.outside), strict=True):
            assert all(interval.contains(split.x[:, k]).all() for k, interval in enumerate(box))
        inside_training_box = [interval.contains(raw.outside.x[:, k]) for k, interval in enumerate(points.train)]
        assert not np.all(inside_training_box, axis=0).any()
    elif isinstance(points, AttractorSampling):
        assert points.train.contains(raw.train.x[:, points.chosen_by]).all()
        assert points.outside.contains(raw.outside.x[:, points.chosen_by]).all()
        assert not points.train.contains(raw.outside.x[:, points.chosen_by]).any()
    else:
        assert isinstance(points, HarmonicSampling)
    if member.variant in ("cap", "pole"):
        np.testing.assert_allclose(np.square(raw.train.x).sum(axis=1), 1)


def test_every_equation_can_be_had_both_ways() -> None:
    for variant, name in itertools.product(("up", "down"), equations()):
        member = instance(f"feynman-{variant}-{name}")
        test_points_lie_in_the_ranges_of_the_recipe_which_are_apart(member)
        assert np.isfinite(np.concatenate([split.y for split in splits(make_dataset(member, 0).raw)])).all()


def test_the_same_arguments_give_the_same_data_whatever_was_made_before() -> None:
    first = {i.name: make_dataset(i, 5) for i in SEARCH}
    make_dataset.cache_clear()
    _points.cache_clear()
    for member in reversed(SEARCH):
        make_dataset(member, 6)
        again = make_dataset(member, 5)
        for before, after in zip(splits(first[member.name].raw), splits(again.raw), strict=True):
            assert before.x is not after.x
            assert before.x.tobytes() == after.x.tobytes()
            assert before.y.tobytes() == after.y.tobytes()


def test_data_are_kept_and_cannot_be_changed() -> None:
    data = make_dataset(SEARCH[0], 0)
    assert make_dataset(SEARCH[0], 0) is data
    for array in (data.train.x, data.outside.y, data.raw.train.x):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_instances_travel_to_other_processes() -> None:
    for member in SEARCH:
        copy = pickle.loads(pickle.dumps(member))
        assert (copy.name, copy.input_names, copy.formula) == (member.name, member.input_names, member.formula)
        np.testing.assert_array_equal(copy.points(np.random.default_rng(1)).outside.y, member.points(np.random.default_rng(1)).outside.y)


def test_the_search_set_is_made_in_a_second() -> None:
    make_dataset.cache_clear()
    _points.cache_clear()
    begin = time.process_time()
    for member, seed in itertools.product(SEARCH, (0, 1)):
        make_dataset(member, seed)
    assert time.process_time() - begin < 1


def sampling(train: tuple[list[list[float]], list[float]]) -> Instance:
    split = Split(np.array(train[0], float), np.array(train[1], float))
    return Instance("f", "v", "mine", ("a", "b"), "", "", lambda _: Raw(split, split, split))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[1, 2], [3, 4]], [5, 5], "mine: the target is 5 at every training point"),
        ([[1, 2], [3, math.nan]], [5, 6], r"mine: 1 of 2 train points are not finite; the first is x = \[ 3. nan\]"),
        ([[1, 2], [3, 4]], [5, math.inf], "mine: 1 of 2 train points are not finite"),
        ([[1], [3]], [5, 6], r"x of shape \(2, 1\) and y of shape \(2,\); they must be \(count, 2\)"),
        ([[1, 2], [3, 4]], [5, 6, 7], r"y of shape \(3,\)"),
    ],
)
def test_points_that_nothing_can_be_learnt_from(x: list[list[float]], y: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_dataset(sampling((x, y)), 0)


def test_a_constant_input_is_only_shifted() -> None:
    data = make_dataset(sampling(([[0.1, 1], [0.1, 2], [0.1, 3]], [1, 2, 4])), 0)
    np.testing.assert_allclose(data.train.x[:, 0], 0, atol=1e-15)
    np.testing.assert_allclose(data.train.x[:, 1], [-math.sqrt(1.5), 0, math.sqrt(1.5)])


def test_data_need_neither_torch_nor_numba() -> None:
    code = (
        "import sys, gp.cli; assert 'numpy' not in sys.modules; import gp.lab.data as d; d.make_dataset(d.instances('search')[0], 0); "
        "assert not {'torch', 'numba', 'matplotlib', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ranges() -> None:
    mirrored = Range(1.0, 1.5, mirrored=True)
    values = mirrored.sample(np.random.default_rng(0), 1000)
    assert mirrored.contains(values).all()
    assert 400 < (values > 0).sum() < 600
    assert mirrored.contains(np.array([-1.6, -1.2, 0.0, 1.5])).tolist() == [False, True, False, True]
    assert str(mirrored) == "±[1, 1.5]"


def test_a_recipe_may_be_anything_that_can_be_called() -> None:
    class Plain:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, x: Array) -> Array:
            return x[:, 0] ** 2

    member = Instance("f", "v", "plain", ("x",), "x^2", "", BoxSampling((Range(0, 1),), (Range(1, 2),), Plain()))
    assert make_dataset(member, 0) is make_dataset(member, 0)
