"""Accuracy of every elementary function against mpmath, over all float32 numbers, and what the spellings promise to share.

One row per function. Errors are in ulp of the exact result; the float32 bounds come from 10^6 to 4*10^6 numbers each, and from every number
between 0.01 and saturation for tanh and erf (3.98 and 3.92 ulp), not from the few thousand that a run tries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from block_evaluator import DTYPES, evaluate

from codegen import elementary, trigonometry
from codegen.instructions import Block, Span, Type, Value

Array = npt.NDArray[Any]
Real = Any  # mpmath's number
INF: Final = math.inf
NAN: Final = math.nan


def _no_slack(x: float, exact: Real, unit: float) -> float:
    return 0.0


def _far(x: float, exact: Real, unit: float) -> float:
    """sin, cos: 1e-6 for float32 beyond 1e5."""
    return 1e-6 if abs(x) > 1e5 and unit > 1e-10 else 0.0


def _far_slope(x: float, exact: Real, unit: float) -> float:
    """tan: what an error of 1e-6 in the angle makes."""
    return _far(x, exact, unit) * (1.0 + float(exact) ** 2)


def _next_to_reciprocal(x: float, exact: Real, unit: float) -> float:
    """sinc': 4 ulp of 1/|t| beyond 1/2, for it has zeros that are no float32 numbers."""
    return 8.0 * unit / abs(x) if abs(x) >= 0.5 else 0.0


@dataclass(frozen=True)
class Row:
    """A function: the exact one, the largest error in ulp for float32 and float64, and its limits at -inf and inf.

    `span` is where most of the numbers tried come from, besides those from everywhere. `slack` gives the absolute error allowed on top.
    """

    name: str
    exact: Callable[[Real], Real]
    ulp: float
    ulp_wide: float
    limits: tuple[float, float]
    span: tuple[float, float] = (-12.0, 12.0)
    slack: Callable[[float, Real, float], float] = _no_slack


def _half_even(x: Real) -> Real:
    return mpmath.mpf(round(float(x))) if abs(x) < 2**53 else x


def _sinc_slope(t: Real) -> Real:
    if t == 0:
        return t
    with mpmath.workprec(400):
        return (mpmath.cospi(t) - mpmath.sincpi(t)) / t


def _logistic(x: Real) -> Real:
    return 1 / (1 + mpmath.exp(-x))


def _softplus(x: Real) -> Real:
    return mpmath.log1p(mpmath.exp(x)) if x < 0 else x + mpmath.log1p(mpmath.exp(-x))


def _cbrt(x: Real) -> Real:
    return mpmath.sign(x) * mpmath.cbrt(abs(x))


def _at_pole(function: Callable[[Real], Real], pole: float, value: float) -> Callable[[Real], Real]:
    return lambda x: mpmath.mpf(value) if x == pole else function(x)


TABLE: Final = (
    Row("exp", mpmath.exp, 1.6, 1, (0, INF), (-105, 90)),
    Row("expm1", mpmath.expm1, 2, 2, (-1, INF), (-20, 90)),
    Row("log", _at_pole(mpmath.log, 0, -INF), 1.3, 1, (NAN, INF), (0, 3)),
    Row("log1p", _at_pole(mpmath.log1p, -1, -INF), 1.8, 2, (NAN, INF), (-1, 3)),
    Row("sqrt", mpmath.sqrt, 0.51, 0.51, (NAN, INF), (0, 3)),
    Row("rsqrt", _at_pole(lambda x: 1 / mpmath.sqrt(x), 0, INF), 1.6, 1.6, (NAN, 0), (0, 3)),
    Row("cbrt", _cbrt, 0.6, 1, (-INF, INF)),
    Row("abs", abs, 0, 0, (INF, INF)),
    Row("sign", mpmath.sign, 0, 0, (-1, 1)),
    Row("floor", mpmath.floor, 0, 0, (-INF, INF)),
    Row("round", _half_even, 0, 0, (-INF, INF)),
    Row("sin", mpmath.sin, 2.8, 1, (NAN, NAN), (-100, 100), _far),
    Row("cos", mpmath.cos, 2.7, 1, (NAN, NAN), (-100, 100), _far),
    Row("tan", mpmath.tan, 4, 2, (NAN, NAN), (-100, 100), _far_slope),
    Row("asin", mpmath.asin, 3.3, 2, (NAN, NAN), (-1, 1)),
    Row("acos", mpmath.acos, 2.2, 2, (NAN, NAN), (-1, 1)),
    Row("atan", mpmath.atan, 2.5, 1, (-math.pi / 2, math.pi / 2)),
    Row("sinh", mpmath.sinh, 2.7, 2, (-INF, INF), (-90, 90)),
    Row("cosh", mpmath.cosh, 2, 2, (INF, INF), (-90, 90)),
    Row("tanh", mpmath.tanh, 4, 2, (-1, 1)),
    Row("asinh", mpmath.asinh, 0.6, 2, (-INF, INF)),
    Row("acosh", mpmath.acosh, 0.6, 2, (NAN, INF), (1, 9)),
    Row("atanh", mpmath.atanh, 0.6, 2, (NAN, NAN), (-1, 1)),
    Row("sigmoid", _logistic, 3.2, 3, (0, 1), (-105, 30)),
    Row("logsigmoid", lambda x: -_softplus(-x), 3, 3, (-INF, 0), (-30, 105)),
    Row("softplus", _softplus, 3, 3, (0, INF), (-105, 30)),
    Row("erf", mpmath.erf, 4, 2, (-1, 1), (-4.5, 4.5)),
    Row("erfc", mpmath.erfc, 4.4, 8, (2, 0), (-5, 11)),
    Row("sinc", mpmath.sincpi, 2.6, 3, (0, 0)),
    Row("sinc_slope", _sinc_slope, 3, 4, (0, 0), (-4, 4), _next_to_reciprocal),
    Row("gaussian", lambda x: mpmath.exp(-x * x), 1.6, 2, (0, 0), (-11, 11)),
)
ODD: Final = (
    "expm1",
    "log1p",
    "sqrt",
    "cbrt",
    "sign",
    "floor",
    "round",
    "sin",
    "tan",
    "asin",
    "atan",
    "sinh",
    "tanh",
    "asinh",
    "atanh",
    "erf",
)
EDGES: Final = (
    0.0, -0.0, 1e-45, -1e-45, 1e-40, -1e-40, 1.1754944e-38, -1.1754944e-38, 3.4028235e38, -3.4028235e38, 2.5e38, -2.5e38,
    1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.99999994, -0.99999994, 1.0000001, -1.0000001, 0.49999997, 0.50000006, -0.49999997,
    1e5, -1e5, 100000.01, 65536.0, 1e30, -1e30, 2.0**22 + 0.5, 2.0**23 - 0.5, -(2.0**22) - 0.5, 2.0**24 - 1.0, 16777218.0,
    9.00, 9.01, -9.02, 3.9, 3.91, -3.92, 10.05, 10.06, 10.2, 88.72, 88.73, 89.4, 89.42, -87.4, -103.9, -104.1, 2.0**-12, 2.0**-25,
    math.pi / 4, *(k * math.pi / 2 for k in (1, 2, 3, -1, -2, 5, 100, 1001, 60001)),
)  # fmt: skip


def _function(name: str) -> Callable[[Block, Value], Value]:
    function: Callable[[Block, Value], Value] = getattr(elementary, name, None) or getattr(trigonometry, name)
    return function


def _run(name: str, x: Array, type: Type) -> Array:
    block = Block(type)
    [result] = evaluate(block, {"x": x}, _function(name)(block, block.input("x", Span.ELEMENT)))
    return result


def _numbers(row: Row, type: Type, count: int) -> Array:
    rng = np.random.default_rng(7)
    words = rng.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)
    everywhere = words[np.isfinite(words)]
    inside = rng.uniform(*row.span, 2 * count)
    signs = rng.choice([-1.0, 1.0], count)
    spread = signs * np.exp(rng.uniform(np.log(1e-6), np.log(1e5), count))
    return np.concatenate([everywhere.astype(np.float64), inside, spread, np.array(EDGES)]).astype(DTYPES[type])


def _exact(row: Row, x: float) -> Real:
    """The value in mpmath, NaN outside of the domain."""
    value = row.exact(mpmath.mpf(x))
    return mpmath.nan if isinstance(value, mpmath.mpc) else value


def _worst(row: Row, type: Type, count: int) -> tuple[float, float]:
    """(the largest error in ulp, after the slack; the number where it is)."""
    x = _numbers(row, type, count)
    dtype = x.dtype.type
    unit = 2.0**-24 if type == "f32" else 2.0**-53
    smallest = 2.0**-126 if type == "f32" else 2.0**-1022
    worst, where = 0.0, NAN
    with mpmath.workprec(120), np.errstate(all="ignore"):
        for number, got in zip(x.tolist(), _run(row.name, x, type).tolist(), strict=True):
            exact = _exact(row, number)
            nearest = float(dtype(exact))
            if math.isnan(nearest) or math.isinf(nearest) or math.isnan(got):
                same = got == nearest or (math.isnan(got) and math.isnan(nearest))
                pole = number == 0.0 and abs(got) == abs(nearest)  # 1/sqrt(-0) is -inf, and mpmath has no -0
                error = 0.0 if same or pole else INF
            else:
                ulp = float(np.spacing(dtype(max(abs(nearest), smallest))))
                error = max(0.0, float(abs(got - exact)) - row.slack(number, exact, unit)) / ulp
            if error > worst:
                worst, where = error, number
    return worst, where


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_error_in_float32(row: Row) -> None:
    worst, where = _worst(row, "f32", 900)
    assert worst <= row.ulp, f"{row.name}({where!r}) is {worst:.3g} ulp away"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_error_in_float64(row: Row) -> None:
    worst, where = _worst(row, "f64", 200)
    assert worst <= row.ulp_wide, f"{row.name}({where!r}) is {worst:.3g} ulp away"


@pytest.mark.parametrize("type", ["f32", "f64"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_limits(row: Row, type: Type) -> None:
    got = _run(row.name, np.array([-INF, INF, NAN], DTYPES[type]), type)
    np.testing.assert_array_equal(got, np.array([*row.limits, NAN], DTYPES[type]))


@pytest.mark.parametrize("type", ["f32", "f64"])
@pytest.mark.parametrize("name", ODD)
def test_an_odd_function_keeps_the_sign_of_zero(name: str, type: Type) -> None:
    got = _run(name, np.array([0.0, -0.0], DTYPES[type]), type)
    np.testing.assert_array_equal(got, [0.0, 0.0])
    np.testing.assert_array_equal(np.signbit(got), [False, True])


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_saturating_functions_stay_within_one(name: str) -> None:
    x = np.arange(np.float32(3.5).view(np.int32), np.float32(9.1).view(np.int32), 3, dtype=np.int32).view(np.float32)
    assert _run(name, x, "f32").max() == 1.0


def test_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coefficient that is off by 1e-5 is noticed."""
    coefficients = list(elementary._EXP)
    coefficients[4] *= 1.00001
    monkeypatch.setattr(elementary, "_EXP", tuple(coefficients))
    row = next(r for r in TABLE if r.name == "exp")
    worst, _ = _worst(row, "f32", 900)
    assert worst > row.ulp


def _run_pow(x: Array, y: Array, type: Type = "f32") -> Array:
    block = Block(type)
    [result] = evaluate(block, {"x": x, "y": y}, elementary.pow(block, block.input("x", Span.ELEMENT), block.input("y", Span.ELEMENT)))
    return result


def test_pow() -> None:
    rng = np.random.default_rng(3)
    x = np.exp(rng.uniform(-87, 88, 4000)).astype(np.float32)
    y = (rng.uniform(-103, 88, 4000) / np.log(x)).astype(np.float32)
    x = np.append(x, rng.uniform(0.9, 1.1, 4000).astype(np.float32))
    y = np.append(y, rng.uniform(-800, 800, 4000).astype(np.float32))
    exact = np.power(x.astype(np.float64), y.astype(np.float64))
    error = np.abs(_run_pow(x, y) - exact) / np.spacing(np.maximum(exact.astype(np.float32), np.float32(2.0**-126)))
    assert error.max() <= 0.6


def test_pow_of_special_numbers_is_that_of_c() -> None:
    numbers = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1e-40, -1e-40, 3e38, -3e38, 16777217.0, -7.0, 1e30]
    x, y = (a.ravel() for a in np.meshgrid(np.array(numbers, np.float32), np.array(numbers, np.float32)))
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    got = _run_pow(x, y)
    np.testing.assert_allclose(got, exact, rtol=2.0**-23, atol=1e-45)
    known = ~np.isnan(exact)
    np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(exact)[known])


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 8, -1, -2, -3])
def test_integer_power(n: int) -> None:
    x = np.array([0.7, -1.3, 2.5, -0.0, INF], np.float32)
    block = Block("f32")
    [got] = evaluate(block, {"x": x}, elementary.power_integer(block, block.input("x", Span.ELEMENT), n))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(got, np.float64(x) ** n, rtol=1e-6)


@pytest.mark.parametrize("constant", [False, True])
def test_minimum_and_maximum_pass_nan_on(constant: bool) -> None:
    x = np.array([1.0, 3.0, NAN, -INF, INF], np.float32)
    block = Block("f32")
    first = block.input("x", Span.ELEMENT)
    second = block.constant(2.0) if constant else block.input("y", Span.ELEMENT)
    results = elementary.minimum(block, first, second), elementary.maximum(block, first, second)
    inputs = {"x": x, "y": np.full(5, 2.0, np.float32)}
    low, high = evaluate(block, inputs, *results)
    np.testing.assert_array_equal(low, [1.0, 2.0, NAN, -INF, 2.0])
    np.testing.assert_array_equal(high, [2.0, 3.0, NAN, 2.0, INF])
    if constant:
        assert [i.opcode for i in block.instructions[2:]] == ["lt", "select"] * 2
    else:
        for result in evaluate(block, {"x": x, "y": np.full(5, NAN, np.float32)}, *results):
            assert np.isnan(result).all()


def _length(*functions: Callable[[Block, Value], Value]) -> int:
    """How many instructions the functions of one argument are together, constants left out."""
    block = Block("f32")
    x = block.input("x", Span.ELEMENT)
    for function in functions:
        function(block, x)
    return sum(i.opcode not in ("input", "constant") for i in block.instructions)


@pytest.mark.parametrize(
    ("functions", "extra"),
    [
        ((trigonometry.sin, trigonometry.cos), 9),
        ((trigonometry.sinc_slope, trigonometry.sinc), 0),
        ((elementary.sinh, elementary.cosh), 2),
        ((elementary.sigmoid, elementary.softplus), 12),
        ((elementary.sigmoid, lambda b, x: elementary.sigmoid(b, -x)), 4),
        ((elementary.erfc, elementary.gaussian), 1),
        ((elementary.erfc, lambda b, x: elementary.gaussian(b, -x)), 2),
    ],
)
def test_related_functions_share_their_work(functions: tuple[Callable[[Block, Value], Value], ...], extra: int) -> None:
    assert _length(*functions) <= _length(functions[0]) + extra
