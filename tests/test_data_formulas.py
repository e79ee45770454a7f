"""What the data sets of the lab compute: polynomials, harmonics, equations and flows, against other ways to the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import sph_harm_y

from gp.lab.data import BoxSampling, DataError, Instance, fields, formula, instance, instances, make_dataset
from gp.lab.data.feynman import equations
from gp.lab.data.flows import FORECAST_STEPS, Attractor, AttractorSampling, Flow, Forecast
from gp.lab.data.harmonic import spherical_harmonic
from gp.lab.data.polynomial import Polynomial, exponents

Array = NDArray[np.float64]


def test_polynomials_have_all_monomials_and_fixed_coefficients() -> None:
    for inputs, degree in ((1, 5), (2, 4), (3, 3), (4, 2)):
        assert len(exponents(inputs, degree)) == math.comb(inputs + degree, degree)
    x = np.linspace(-1, 1, 9)[:, None]
    cubic = Polynomial("some name", 1, 3)
    fitted = np.polynomial.Polynomial.fit(x[:, 0], cubic(x), 3)
    np.testing.assert_allclose(fitted(x[:, 0]), cubic(x), atol=1e-12)
    point = np.array([[0.3, -2.0]])
    powers, coefficients = exponents(2, 2), [Polynomial("p", 2, 2)(np.array([[0.0, 0.0]]))[0]]
    assert powers.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [2, 0]]
    # The coefficients by differences, since those of degree 2 are exact.
    at: Callable[[float, float], float] = lambda a, b: Polynomial("p", 2, 2)(np.array([[a, b]]))[0]  # noqa: E731
    c00 = coefficients[0]
    c02, c20 = (at(0, 1) + at(0, -1)) / 2 - c00, (at(1, 0) + at(-1, 0)) / 2 - c00
    c01, c10 = (at(0, 1) - at(0, -1)) / 2, (at(1, 0) - at(-1, 0)) / 2
    c11 = at(1, 1) - c00 - c01 - c02 - c10 - c20
    assert at(*point[0]) == pytest.approx(c00 + c01 * -2 + c02 * 4 + c10 * 0.3 + c11 * -0.6 + c20 * 0.09)


ORDERS = [(degree, order) for degree in range(5) for order in range(-degree, degree + 1)]


def test_harmonics_are_orthonormal() -> None:
    """By a quadrature that is exact for them: Gauss in z, equal steps in phi."""
    z, weights = np.polynomial.legendre.leggauss(8)
    phi = np.arange(16) * math.pi / 8
    grid_z, grid_phi = (a.ravel() for a in np.meshgrid(z, phi, indexing="ij"))
    values = np.array([spherical_harmonic(*order, grid_z, grid_phi) for order in ORDERS])
    np.testing.assert_allclose(values * np.repeat(weights, 16) * math.pi / 8 @ values.T, np.eye(len(ORDERS)), atol=1e-13)


@pytest.mark.parametrize(("degree", "order"), ORDERS)
def test_harmonics_agree_with_the_complex_ones(degree: int, order: int) -> None:
    theta, phi = np.linspace(0.1, 3.0, 7), np.linspace(0, 6, 7)
    m = abs(order)
    complex_ = (-1) ** m * sph_harm_y(degree, m, theta, phi)
    expected = complex_.real if order == 0 else math.sqrt(2) * (complex_.real if order > 0 else complex_.imag)
    np.testing.assert_allclose(spherical_harmonic(degree, order, np.cos(theta), phi), expected, atol=1e-14)


@pytest.mark.parametrize("name", ["harmonic-azimuth-2-1", "harmonic-cap-2-1"])
def test_harmonics_of_a_data_set(name: str) -> None:
    """Y_21 = sqrt(15/(4 pi)) x z."""
    split = make_dataset(instance(name), 0).raw.outside
    if name.startswith("harmonic-azimuth"):
        theta, phi = split.x.T
        x, z = np.sin(theta) * np.cos(phi), np.cos(theta)
    else:
        x, _, z = split.x.T
    np.testing.assert_allclose(split.y, math.sqrt(15 / (4 * math.pi)) * x * z, atol=1e-14)


TURNED: dict[str, Callable[..., Array]] = {
    "2-0": lambda x, y, z: math.sqrt(5 / (16 * math.pi)) * (3 * x**2 - 1),
    "2-2": lambda x, y, z: math.sqrt(15 / (16 * math.pi)) * (y**2 - z**2),
    "3-m1": lambda x, y, z: math.sqrt(21 / (32 * math.pi)) * z * (5 * x**2 - 1),
}


@pytest.mark.parametrize("name", TURNED)
@pytest.mark.parametrize("variant", ["azimuth", "cap", "pole"])
def test_harmonics_about_the_x_axis(variant: str, name: str) -> None:
    split = make_dataset(instance(f"harmonic-{variant}-{name}-turned"), 0).raw.outside
    if variant == "azimuth":
        theta, phi = split.x.T
        x, y, z = np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)
    else:
        x, y, z = split.x.T
    np.testing.assert_allclose(split.y, TURNED[name](x, y, z), atol=1e-14)


BY_HAND: dict[str, Callable[..., Array]] = {
    "I.6.2": lambda sigma, theta: np.exp(-((theta / sigma) ** 2) / 2) / (np.sqrt(2 * np.pi) * sigma),
    "I.10.7": lambda m, v, c: m / np.sqrt(1 - (v / c) ** 2),
    "I.12.11": lambda q, field, b, v, theta: q * field + q * b * v * np.sin(theta),
    "I.24.6": lambda m, omega, omega_0, x: 0.25 * m * x**2 * (omega**2 + omega_0**2),
    "I.26.2": lambda n, theta: np.arcsin(n * np.sin(theta)),
    "I.29.16": lambda a, b, s, t: np.abs(a * np.exp(1j * s) - b * np.exp(1j * t)),
    "I.44.4": lambda n, k, t, v1, v2: n * k * t * (np.log(v2) - np.log(v1)),
    "II.35.18": lambda n, k, t, mom, b: n / (2 * np.cosh(mom * b / (k * t))),
    "II.35.21": lambda n, mom, b, k, t: n * mom * np.tanh(mom * b / (k * t)),
    "III.15.12": lambda u, k, d: 4 * u * np.sin(k * d / 2) ** 2,
    "III.19.51": lambda m, q, h, n, e: -m * q**4 / (8 * e**2 * h**2 * n**2),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_equations_are_those_written_by_hand(name: str) -> None:
    for variant in ("up", "down"):
        raw = make_dataset(instance(f"feynman-{variant}-{name}"), 0).raw
        np.testing.assert_allclose(raw.outside.y, BY_HAND[name](*raw.outside.x.T), rtol=1e-12, atol=1e-12)


def test_every_equation_is_finite_in_its_published_range() -> None:
    assert len(equations()) == 100
    rng = np.random.default_rng(0)
    for equation in equations().values():
        x = np.stack([r.sample(rng, 20_000) for r in equation.ranges], axis=1)
        assert np.isfinite(equation(x)).all(), equation.name
        assert np.ptp(equation(x)) > 0


@pytest.mark.parametrize(
    "text", ["__import__('os')", "x.real", "x if x else 1", "exp(x, x)", "exp(x=1)", "open(x)", "y", "[x]", "x @ x", "'x'"]
)
def test_formulas_are_arithmetic_and_nothing_else(text: str) -> None:
    with pytest.raises(DataError, match="may not hold"):
        formula.evaluate(text, {"x": np.ones(2)})


def test_a_formula_that_is_none() -> None:
    with pytest.raises(DataError, match=r"cannot be read: .* at character"):
        formula.evaluate("x +", {"x": np.ones(2)})


# Chaos

MEMBERS = (*instances("search"), *instances("selection"), *instances("validation"))
ATTRACTORS = dict.fromkeys(i.points.attractor for i in MEMBERS if isinstance(i.points, AttractorSampling))


def forecast(member: Instance) -> Forecast | None:
    """What integrates a flow for this data set; None for others."""
    points = member.points
    if isinstance(points, AttractorSampling):
        return Forecast(points.attractor.flow, points.time, points.coordinate)
    return points.function if isinstance(points, BoxSampling) and isinstance(points.function, Forecast) else None


FORECASTS = [(i, f) for i in MEMBERS if (f := forecast(i))]


@pytest.mark.parametrize(("member", "forecast"), FORECASTS, ids=lambda v: v.name if isinstance(v, Instance) else "")
def test_half_the_step_changes_no_target(member: Instance, forecast: Forecast) -> None:
    raw = make_dataset(member, 0).raw
    for split in (raw.train, raw.inside, raw.outside):
        finer = forecast.flow.after(split.x.T, forecast.time, 2 * FORECAST_STEPS)[forecast.coordinate]
        assert np.abs(finer - split.y).max() < 1e-6 * split.y.std()


def test_runge_kutta_is_of_fourth_order() -> None:
    turning = Flow(lambda state: np.stack([-state[1], state[0]]), ())
    start = np.array([[1.0], [0.0]])
    errors = [np.abs(turning.after(start, 1.0, n) - [[math.cos(1)], [math.sin(1)]]).max() for n in (8, 16)]
    assert 14 < errors[0] / errors[1] < 18


@pytest.mark.parametrize("masses", [(1.0, 1.0, 1.0, 1.0), (1.0, 2.0, 1.0, 0.5), (2.0, 1.0, 0.8, 1.2)])
def test_the_double_pendulum_keeps_its_energy(masses: tuple[float, float, float, float]) -> None:
    m1, m2, l1, l2 = masses
    g = 9.81

    def energy(state: Array) -> Array:
        a, b, u, v = state
        kinetic = 0.5 * (m1 + m2) * (l1 * u) ** 2 + 0.5 * m2 * (l2 * v) ** 2 + m2 * l1 * l2 * u * v * np.cos(a - b)
        return kinetic - (m1 + m2) * g * l1 * np.cos(a) - m2 * g * l2 * np.cos(b)

    start = np.random.default_rng(0).uniform(-1.5, 1.5, (4, 50))
    after = Flow(fields.double_pendulum, (*masses, g)).after(start, 1.0, 2000)
    np.testing.assert_allclose(energy(after), energy(start), atol=1e-8)
    assert np.abs(after - start).max() > 1


@pytest.mark.parametrize("attractor", ATTRACTORS, ids=lambda a: f"{a.flow.field.__name__}{a.flow.parameters}")
def test_points_lie_on_the_attractor(attractor: Attractor) -> None:
    """As near to long trajectories as what comes later on these; negative control: points in the box around it are far away."""
    rng = np.random.default_rng(1)
    start = np.stack([r.sample(rng, 64) for r in attractor.start])
    states, seen = attractor.flow.after(start, 1500 * attractor.step, 1500), []
    for _ in range(400):
        states = attractor.flow.after(states, 4 * attractor.step, 4)
        seen.append(states.T)
    reference, later = np.concatenate(seen[:-80]), np.concatenate(seen[-40:])
    tree = cKDTree(reference / reference.std(axis=0))

    def distance(points: Array) -> float:
        return float(np.quantile(tree.query(points / reference.std(axis=0))[0], 0.95))

    assert distance(attractor.points()) < 1.5 * distance(later)
    assert distance(rng.uniform(reference.min(axis=0), reference.max(axis=0), (1000, 3))) > 5 * distance(later)
