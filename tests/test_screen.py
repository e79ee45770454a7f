"""Screening: profiles of programs, objections, and how duplicates are recognised."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import expressions

from codegen.cost import cost
from codegen.function import activation
from codegen.numpy import evaluate
from gp.evolution.screen import GRID, profile, profile_of
from gp.evolution.space import Space
from gp.evolution.variation import ramped
from grammar import parse
from grammar.tree import Chain, Expression, Number, Program
from kernels.programs import program

MAX_COST = 300


def _share(first: str, second: str) -> bool:
    return bool(set(profile(first).fingerprints) & set(profile(second).fingerprints))


REJECTED = {
    "constant": ["2", "sin(2)*3", "x*0 + 1", "sign(x^2 + 1)", "exp(-99)*tanh(x)", "mean(x)"],
    "linear": ["x", "3*x - 2", "min(x, x + 1)", "(x + 1)^2 - x^2", "x + 1e-5*sin(x)", "log(exp(x))", "param p1 = 2; p1*x"],
    "not finite": ["log(x)", "1/x", "sqrt(x)", "exp(exp(x))", "x^0.3", "cbrt(x)", "tan(pi*x/2)/0", "abs(x)^0.9", "log(shift(x, 1))"],
    "grows too fast": ["exp(x)", "x^4", "2*x^3", "sinh(x)", "sin(100*x)*200*x", "param p1 = 2; p1*x^3"],
    "no gradient": ["sign(x)", "floor(x)", "round(3*x)", "where(x > 0, 1, 0)", "shift(sin(x), 1)"],
    "too expensive": ["+".join(f"sin({k}*x + {k})" for k in range(1, 30))],
}


@pytest.mark.parametrize(("reason", "text"), [(r, t) for r, texts in REJECTED.items() for t in texts])
def test_screen_rejects(reason: str, text: str) -> None:
    assert profile(text).objection(MAX_COST) == reason


USEFUL = ["relu", "gelu", "tanh", "sine", "elu", "softplus", "squared_relu", "gelusine", "gcu", "hardshrink", "cube", "prelu", "turbulent",
          "neighbour_coupled"]  # fmt: skip


@pytest.mark.parametrize("name", USEFUL)
def test_screen_lets_useful_functions_pass(name: str) -> None:
    assert profile(name + "(x)").objection(MAX_COST) is None


def test_cost_is_of_value_and_derivative_together() -> None:
    seen = profile("sin(x)*x")
    counted = cost([seen.function.graph, seen.function.slope])
    assert counted.transcendental == 2
    assert seen.cost == counted.flops + 20
    assert seen.objection(seen.cost) is None
    assert seen.objection(seen.cost - 1) == "too expensive"


def test_the_derivative_is_not_found_for_what_its_values_rule_out() -> None:
    seen = profile_of(activation(parse("x^4 + 1")))
    assert seen.objection(MAX_COST) == "grows too fast"
    assert "slope" not in seen.__dict__
    assert "cost" not in seen.__dict__


@pytest.mark.parametrize("text", ["gelusine(x)", "where(x < 0.3, x^2, 2)", "7"])
def test_values_come_in_the_order_of_the_grid(text: str) -> None:
    function = program(text)
    value, slope = (np.broadcast_to(v, GRID.shape) for v in evaluate([function.graph, function.slope], {"x": GRID}))
    seen = profile(text)
    np.testing.assert_allclose(seen.value, value, rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(seen.slope, slope, rtol=1e-14, atol=1e-300)


def test_parameters_have_their_initial_values() -> None:
    for text in ("param a = 2; param b[channel] = -1; a*sin(x) + b", "z = 2; z*sin(x) - 1"):
        np.testing.assert_allclose(profile(text).value, 2 * np.sin(GRID) - 1)


def test_neighbours_and_rows_are_unlike() -> None:
    neighbour = profile("shift(x, 1)").value
    assert sorted(neighbour) == sorted(GRID)
    for other in ("x", "shift(x, -1)", "shift(x, 2)"):
        assert abs(np.corrcoef(neighbour, profile(other).value)[0, 1]) < 0.3
    for over, count in (("features", 29), ("batch", 7), ("tensor", 1)):
        assert len(np.unique(profile(f"mean(x, over={over})").value.round(9))) == count
    np.testing.assert_allclose(profile("x*std(x)").slope, GRID.std())


# Fingerprints

EQUAL = [
    ("max(x, 0)", "(x + abs(x))/2"), ("max(x, 0)", "relu(x)"), ("silu(x)", "x/2 + x*tanh(x/2)/2"), ("sin(2*x)", "2*sin(x)*cos(x)"),
    ("clamp(x, -1, 1)", "hardtanh(x)"), ("sign(x)*x^2", "where(x < 0, -x^2, x^2)"), ("sin(3*x + 1)", "sin(1 + x + 2*x)"),
    ("param a = 2; a*sin(x)", "param b = 2; sin(x)*b"), ("std(x)*tanh(x)", "sqrt(mean(x^2) - mean(x)^2)*tanh(x)"),
    ("shift(sin(x), 1) + sin(x)", "sin(x) + sin(shift(x, 1))"),
]  # fmt: skip
DIFFERENT = [
    ("sin(x)", "sin(1.001*x)"), ("tanh(x)", "tanh(x) + 0.001*x"), ("tanh(x)", "erf(x)"), ("sin(x)", "-sin(x)"), ("elu(x)", "relu(x)"),
    ("tanh(x)", "param p1 = 1; tanh(p1*x)"), ("param p1 = 1; sin(p1*x)", "param p1[channel] = 1; sin(p1*x)"),
    ("param p1 = 1; p1*sin(x) + x", "param p1 = 1; sin(x) + p1*x"), ("tanh(x)", "tanh(x - mean(x))"), ("sin(x)", "sin(x) + mean(x)"),
    ("shift(sin(x), 1) + x", "shift(sin(x), -1) + x"), ("std(x, over=batch)*tanh(x)", "std(x, over=features)*tanh(x)"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), EQUAL)
def test_equal_functions_share_a_fingerprint(first: str, second: str) -> None:
    assert _share(first, second)


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_different_functions_share_none(first: str, second: str) -> None:
    assert not _share(first, second)


@given(expressions(), st.sampled_from([1e-9, -1e-9]))
def test_nearly_equal_functions_share_a_fingerprint(tree: Expression, shift: float) -> None:
    first, second = (profile_of(activation(Program((), t))) for t in (tree, Chain(("+",), (tree, Number(abs(shift))))))
    if first.objection(10**6) in (None, "linear", "constant", "no gradient"):
        assert set(first.fingerprints) & set(second.fingerprints)


def test_each_lattice_alone_would_miss_some() -> None:
    """Near the border of a cell roundings tell equal functions apart; the other lattice is there for them."""
    near = [(profile(f"sin({k}/97*x)"), profile(f"sin({k}/97*x) + 5e-7")) for k in range(20, 320)]
    shared = [[a == b for a, b in zip(first.fingerprints, second.fingerprints, strict=True)] for first, second in near]
    assert all(any(pair) for pair in shared)
    assert any(not pair[0] for pair in shared)
    assert any(not pair[1] for pair in shared)


def test_random_functions_are_told_apart() -> None:
    """Two that share a fingerprint have the same values."""
    space, found = Space(parameters="both", statistics=True, shifts=True), {}
    for k in range(1500):
        seen = profile_of(activation(ramped(np.random.default_rng(k), space, 24, 5, k)))
        if seen.objection(MAX_COST) is None:
            for fingerprint in seen.fingerprints:
                other = found.setdefault(fingerprint, seen)
                np.testing.assert_allclose(np.arcsinh(seen.value), np.arcsinh(other.value), atol=2e-3)
    assert len(found) > 500


def test_fingerprints_are_the_same_in_every_process() -> None:
    code = "from gp.evolution.screen import profile; print(*profile('x*tanh(x + mean(x))').fingerprints)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"})
    found = profile("x*tanh(x + mean(x))").fingerprints
    assert [int(word) for word in other.stdout.split()] == list(found)
    assert all(-(2**63) <= value < 2**63 for value in found)
    assert found[0] != found[1]
