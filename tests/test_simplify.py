"""Simplification: every rule is true, and no program changes its meaning."""

import numpy as np
import pytest
from hypothesis import given, settings
from mpmath import isfinite, mpf
from strategies import expressions, programs

from bench.high_precision import MP
from codegen.asymptotics import guard_products
from codegen.build import build, build_expression
from codegen.function import activation
from codegen.graph import source, topological
from codegen.instructions import Span
from codegen.numpy import evaluate
from codegen.operators import OPERATORS
from codegen.rules import RULES
from codegen.simplify import simplify
from codegen.structure import abstract, evaluate_tape, serialise, tape
from grammar import parse
from grammar.tree import Program

VALUES = [-2.5, -1.0, -0.3, 0.2, 0.8, 1.7]


def in_mpmath(node, values):
    results = {}
    for n in topological([node]):
        if n.operator == "input":
            results[n] = values[n.attribute.name]
        elif n.operator == "constant":
            results[n] = mpf(n.attribute)
        else:
            results[n] = MP[n.name](*(results[a] for a in n.args), *(() if n.attribute is None else (n.attribute,)))
    return results[node]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r[0])
def test_rule_against_mpmath(rule):
    scope = {name: source(name, Span.ELEMENT, boolean=name == "p") for name in "abckmuvp"}
    left, right = (build_expression(side, scope) for side in rule)
    checked = 0
    for k in range(30):
        values = {name: mpf(VALUES[(k * (j + 1) + j) % len(VALUES)]) for j, name in enumerate("abckmuv")} | {"p": k % 2 == 0}
        try:
            expected, actual = in_mpmath(left, values), in_mpmath(right, values)
        except (ZeroDivisionError, ValueError):
            continue
        if getattr(expected, "imag", 0) != 0 or not isfinite(expected):
            continue  # outside the real domain
        checked += 1
        assert (
            bool(expected) is bool(actual) if isinstance(expected, bool) else abs(expected - actual) <= mpf(10) ** -40 * (1 + abs(expected))
        )
    assert checked >= 5


def test_a_wrong_rule_would_fail():
    scope = {"a": source("a", Span.ELEMENT)}
    left, right = build_expression("sin(-a)", scope), build_expression("sin(a)", scope)
    assert abs(in_mpmath(left, {"a": mpf(0.2)}) - in_mpmath(right, {"a": mpf(0.2)})) > 0.1


@settings(max_examples=150)
@given(programs())
def test_meaning_is_preserved(program):
    function = build(program)
    x = np.linspace(-3, 3, 21).reshape(3, 7)
    inputs = {"x": x, **{p.name: p.initial for p in function.parameters}}
    raw = evaluate([function.result], inputs)[0]
    simple = simplify([function.result])
    for passed in (simple, guard_products(simple), simplify(simple)):
        value = np.broadcast_to(evaluate(passed, inputs)[0], x.shape)
        finite = np.isfinite(raw + 0 * x)
        np.testing.assert_allclose(
            value[finite],
            np.broadcast_to(raw, x.shape)[finite],
            rtol=1e-9,
            atol=1e-9 * max(1.0, float(np.abs(raw[np.isfinite(raw)]).max(initial=0))),
        )


@settings(max_examples=100)
@given(expressions())
def test_constants_apart_from_structure(expression):
    first = activation(Program((), expression))
    values = evaluate([first.structure], {"x": np.linspace(-2, 2, 9)}, first.constants)[0]
    np.testing.assert_array_equal(values, evaluate([first.graph], {"x": np.linspace(-2, 2, 9)})[0])


def test_programs_that_differ_in_constants_share_a_key():
    keys = {activation(parse(f"gelu(x) + {a}*sin({b}*x) - {c}")).key for a, b, c in [(0.1, 3, 7), (0.2, 5, 0.3), (11, 0.7, 3)]}
    assert len(keys) == 1
    assert activation(parse("gelu(x) + 1*sin(3*x) - 7")).key not in keys  # 1 is structural


def test_commutative_operands_share_a_key():
    assert activation(parse("x*sigmoid(x) + sin(x)")).key == activation(parse("sin(x) + sigmoid(x)*x")).key


def test_tape_computes_what_the_graph_does():
    graph, constants = abstract(simplify([build(parse("x*0 + exp(0.3)*(pi - 1.7)^3")).result]))
    lines, roots = tape(graph)
    expected = evaluate(graph, {"x": 0.0}, constants) if "input" not in serialise(graph) else None
    if expected is not None:
        assert evaluate_tape(lines, roots, constants) == [float(expected[0])]


def test_zero_wins_over_infinity_where_a_gate_closes():
    slope = guard_products([activation(parse("x*tanh(exp(x))")).slope])
    assert any(n.operator is OPERATORS["absorb"] for n in topological(slope))
    unneeded = guard_products([activation(parse("x*sin(x) + 0.1*x")).slope])
    assert not any(n.operator is OPERATORS["absorb"] for n in topological(unneeded))
