"""At the edges of the range of numbers: where the plain program is finite ours is, and never is there a wrong number in place of NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from codegen.asymptotics import guard_products
from codegen.function import activation
from codegen.graph import apply
from codegen.growth import at_most_linear, growth, is_bounded, pole_free
from codegen.operators import OPERATORS
from codegen.signs import tame
from gp import activation as module
from grammar import parse

INF, NAN = math.inf, math.nan
# Program, x, and what is right: any of these.
VALUES = [
    ("(exp(2*x)-1)/(exp(2*x)+1)", 45, (1, NAN)), ("(exp(2*x)-1)/(exp(2*x)+1)", 60, (1, NAN)),
    ("exp(x)/(1+exp(x))", 95, (1, NAN)), ("exp(x)/(1+exp(x))", 110, (1, NAN)), ("exp(x)/(1+exp(x))", INF, (1, NAN)),
    ("x*exp(x)/(1+exp(x))", 104, (104, NAN)), ("(1-exp(-x))/(1+exp(-x))", -104, (-1, NAN)),
    ("exp(x)*exp(-x)", 104, (1, NAN)), ("erfc(x)*exp(x^2)", 10.5, (0.0536, NAN)), ("sinh(x)*exp(-x)", 104, (0.5, NAN)),
    ("x*rsqrt(1+x^2)", INF, (1, NAN)), ("x*tanh(1/x)", INF, (1, NAN)), ("x*x^-1", INF, (1, NAN)),
    ("sqrt(x^2+x)-x", INF, (0.5, NAN)), ("(x+1)*(x-1)-x^2", INF, (-1, NAN)),
    ("where(x>0,1,0)*x", NAN, (NAN,)), ("where(not (x>0),0,1)*x", NAN, (NAN,)), ("where(x<1e6,0,1)*log(x)", -1, (NAN,)),
    ("(1e-20*x)*x", 2e19, (4e18,)), ("(1e-10*x)*x^3", 1e10, (1e30,)), ("(1e20*x)*x", 1e-23, (1e-26,)),
    ("1e30*(1e30*x)", 0, (0,)), ("1e-30*(1e-30*x)", INF, (INF,)), ("(x*x)^-3", 1e5, (1e-30,)),
]  # fmt: skip
GRADIENTS = [
    ("(exp(x)-exp(-x))/(exp(x)+exp(-x))", 45, (0,)), ("x*((1+exp(x))^2-1)/((1+exp(x))^2+1)", 22, (1,)),
    ("x*1e20/(1e20+x^2)", 0, (1,)), ("x*1e20/(1e20+x^2)", 1, (1,)), ("x/exp(x)", 85, (-84 * math.exp(-85),)),
    ("exp(x)/x", 85, (math.exp(85) * 84 / 85**2,)), ("x^17/(1+x^16)", 15, (1,)), ("1e-25*x/(1e-25+1e-25*x^2)", 0.5, (0.48,)),
    ("cbrt(x)^3", 0, (1, NAN)), ("sqrt(x)^2", 0, (1, NAN)), ("sqrt(x^2+x)-x", INF, (0, NAN)), ("x/(1e-20+abs(x))", 0, (1e20,)),
    ("x^2*log(x^2)", 1e-20, (2e-20 * (2 * math.log(1e-20) + 1),)), ("(x*x)^-3", 1e5, (-6e-35,)),
    ("clamp(0.1*x, x, 1)", 2, (0,)), ("clamp(x, 2*x, 3)", 5, (0,)), ("where(x < 1, 0, 1)*log(x)", 0, (0, NAN)),
    ("erfc(x)*exp(x^2)", 10.5, (-0.005031, NAN)), ("x*tanh(exp(x))", 104, (1,)),
]  # fmt: skip


def is_right(found: float, right: tuple[float, ...]) -> bool:
    return any(np.isclose(found, r, rtol=1e-3, atol=0.0, equal_nan=True) for r in right)


@pytest.mark.parametrize("backend", ["llvm", "interpret"])
@pytest.mark.parametrize(("text", "x", "right"), VALUES)
def test_values(text: str, x: float, right: tuple[float, ...], backend: str) -> None:
    assert is_right(float(module(text, backend=backend)(torch.tensor([float(x)]))), right)


@pytest.mark.parametrize("backend", ["llvm", "interpret"])
@pytest.mark.parametrize(("text", "x", "right"), GRADIENTS)
def test_gradients(text: str, x: float, right: tuple[float, ...], backend: str) -> None:
    at = torch.tensor([float(x)], requires_grad=True)
    module(text, backend=backend)(at).sum().backward()
    assert at.grad is not None
    assert is_right(float(at.grad), right)


def test_a_wrong_number_shows() -> None:
    """Negative control."""
    assert not is_right(0.0, (1, NAN))
    assert not is_right(1.1, (1,))
    assert is_right(NAN, (1, NAN))


def node(text: str):
    return activation(parse(text)).structure


@pytest.mark.parametrize(
    ("zero", "other", "wins"),
    [
        ("exp(-exp(x))", "exp(x)", True), ("exp(-exp(x))", "x^7*exp(3*x)", True), ("exp(-x^2)", "exp(5*x)", True),
        ("sigmoid(x)", "x^3", True), ("1/(1 + x^2)", "x", True), ("exp(x) - exp(x)", "x", True), ("exp(-exp(x))*x", "exp(x)", True),
        ("exp(-x)", "exp(x)", False), ("erfc(x)", "exp(x^2)", False), ("sigmoid(x)", "sinh(x)", False), ("rsqrt(1 + x^2)", "x", False),
        ("exp(-exp(x))", "exp(x)/x", False), ("x - sqrt(x^2 + 1)", "x", False), ("tanh(x)", "x", False), ("sinc(x)", "exp(x)", False),
        ("sin(x)", "x", False), ("1 - tanh(x)^2", "exp(0.1*x)", False),
    ],
)  # fmt: skip
def test_a_zero_wins_where_it_comes_faster(zero: str, other: str, wins: bool) -> None:
    product = apply(OPERATORS["mul"], node(zero), node(other))
    assert (guard_products([product])[0].name in ("absorb", "where")) == wins


def test_ranks() -> None:
    ranks = {text: growth(node(text), INF) for text in ("x", "x^3", "exp(x)", "exp(x^2)", "exp(exp(2*x))", "tanh(x)", "0.3", "gelu(x)")}
    assert ranks["x"].most == (0, 1)
    assert ranks["x^3"].most == (0, 3)
    assert ranks["exp(x)"].most == ranks["exp(x)"].least == growth(node("exp(x)"), -INF).decay == (1, 1)
    assert ranks["exp(x^2)"].least == (1, 2)
    assert ranks["exp(exp(2*x))"].most == (2, 1)
    assert ranks["tanh(x)"].most is ranks["0.3"].most is None
    assert ranks["gelu(x)"].most == (0, 1)


def test_constants_may_cancel() -> None:
    """Whatever they are in one program, they are arguments of the kernel, and a*x + b*x may be 0."""
    assert not growth(node("1.7*x*sin(1) + 0.3*x*cos(1)"), INF).grows
    assert growth(node("1.7*x"), INF).grows


def test_what_is_seen_at_once() -> None:
    assert pole_free(node("x*exp(x) + 1/(1 + x^2)"))
    assert not pole_free(node("1/x"))
    assert not pole_free(node("log(x)"))
    assert is_bounded(node("sigmoid(x)*sin(x)"))
    assert not is_bounded(node("x*sigmoid(x)"))
    assert tame(node("1 + abs(x)"))
    assert not tame(node("1e-25 + x^2"))
    assert at_most_linear([(node("x"), node("tanh(x)"))])
    assert not at_most_linear([(node("x"), node("x"))])
    assert not at_most_linear([(node("x"), node("0.3*sigmoid(x)"))]), "a constant may be anything"
