"""What a definition sees: the program's own names as they are when it is called; no caller's arguments, nothing inside a repeat."""

import numpy as np
import pytest

from codegen.build import build
from codegen.numpy import evaluate
from gp.evolution.genome import genome
from grammar import DSLError, parse

X = np.array([[2.0]])
CASES = [
    ("def f(t) = t+u\ndef g(u) = f(0)*u\nu = 5\nf(x)+g(x)", 17),  # not the argument of the caller
    ("def f(t) = t*u\nu = x + 1\nf(x)", 6),  # bound after the definition, before the call
    ("u = x\ndef f(t) = t*u\nrepeat 3 { u = f(2) }\nu", 16),  # as it is at each call
    ("param u = 3\ndef f(t) = t*u\ndef g(s) = f(s) + s\ng(x)", 8),
    ("def f(t) = t+1\ndef g(t) = f(10*t) + t\ng(x)", 23),
]
MISTAKES = [
    ("def f(t) = t+u\nf(1)*x", 1, 14, "unknown name 'u'"),
    ("def f(t) = t+u\ndef g(u) = f(1)*u\ng(x)", 1, 14, "unknown name 'u'"),
    ("def f(t) = t+u\na = f(x)\nu = 5\na*u", 1, 14, "unknown name 'u'"),
    ("def f(t) = t+w\nu = x\nrepeat 3 { w = 2*u; u = f(u) }\nu", 1, 14, "'w' lives only inside its repeat"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_a_definition_sees_the_names_of_the_program(text, expected):
    values = {"x": X, "u": 3.0}
    assert evaluate([build(parse(text)).result], values)[0].item() == expected
    assert evaluate([build(genome(text)).result], {**values, "p1": 3.0})[0].item() == expected


@pytest.mark.parametrize(("text", "line", "column", "reason"), MISTAKES)
def test_a_definition_sees_nothing_else(text, line, column, reason):
    with pytest.raises(DSLError) as caught:
        build(parse(text))
    error = caught.value
    assert (error.line, error.column) == (line, column)
    assert reason in error.reason
    assert "bind it" in error.hint
