"""Genomes: reading, taking apart, and comparing."""

import pytest
from hypothesis import given
from strategies import expressions, programs

from codegen.function import activation
from gp.evolution.genome import (
    MAX_SIZE,
    canonical_key,
    genome,
    make_genome,
    places,
    replace,
    short_text,
    size,
    text_of,
    to_genome,
)
from grammar import DSLError, parse
from grammar.tree import Expression, Name, Number, Parameter, Program
from kernels.programs import program


def test_places_and_replacement_agree() -> None:
    tree = parse("where(x > 1, sin(x)*2, -x + shift(x, -1)^2) + mean(x, over=batch)").result
    for place in places(tree):
        assert replace(tree, place.path, place.node) == tree
    assert size(tree) == len(list(places(tree)))
    assert size(parse("a - b + c*d*e").result) == 9
    assert size(genome("param p1 = 2; p1*x")) == 3


@given(expressions())
def test_text_reads_back(tree: Expression) -> None:
    source = Program((), tree)
    assert genome(text_of(source)) == source


@given(programs())
def test_a_program_and_its_genome_are_one_function(source: Program) -> None:
    tree = to_genome(source)
    assert all(isinstance(s, Parameter) for s in tree.statements)
    assert genome(text_of(tree)) == tree
    functions = activation(source), activation(tree)
    assert len(functions[0].parameters) == len(functions[1].parameters)
    renamed = {p.name: f"p{k}" for k, p in enumerate(functions[0].parameters, 1)}
    if all(old == new for old, new in renamed.items()):
        assert functions[0].graph is functions[1].graph


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  x *2 # twice", "x*2"),
        ("param a = 1; param b[channel] = -1/4; b*x + a", "param p1[channel] = -0.25; param p2 = 1; p1*x + p2"),
        ("param p2 = 1; param p1 = 2; p2*x + p1", "param p1 = 1; param p2 = 2; p1*x + p2"),
        ("z = x + 1; y = z*z; sin(y) + z", "sin((x + 1)*(x + 1)) + (x + 1)"),
        ("def f(t, x2) = t*x2 + u; u = 2*x; f(x, 3) + f(u, u)", "(x*3 + 2*x) + ((2*x)*(2*x) + 2*x)"),
        ("def f(t) = t^2; def g(t) = f(t) + x; g(g(x))", "(x^2 + x)^2 + x"),
        ("u = 0.5; repeat 2 { v = u*x; u = 1 - v }; u", "1 - (1 - 0.5*x)*x"),
        ("near = x < 1; where(near, shift(x, -2), std(x, over=features))", "where(x < 1, shift(x, -2), std(x, over=features))"),
        ("swish(x) + gelu(x)", "swish(x) + gelu(x)"),
    ],
)
def test_a_program_becomes_parameters_and_one_expression(text: str, expected: str) -> None:
    assert text_of(genome(text)) == expected
    assert text_of(genome(expected)) == expected


def test_parameters_that_are_not_used_are_left_out() -> None:
    declared = [Parameter("a", False, Number(1.0)), Parameter("b", True, Number(2.0))]
    assert text_of(make_genome(declared, parse("b*x").result)) == "param p1[channel] = 2; p1*x"
    assert make_genome(declared, Name("x")) == Program((), Name("x"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x +", "end"),
        ("sin(y)", "unknown name 'y'"),
        ("param a = 1; x", "never used"),
        ("u = x; repeat 30 { u = u*u + u }; u", f"more than {MAX_SIZE:,} nodes"),
        ("def f(t) = t + t; " + "f(" * 30 + "x" + ")" * 30, f"more than {MAX_SIZE:,} nodes"),
        ("u = x; repeat 101 { u = sin(u) }; u", "deeper than 100 levels"),
    ],
)
def test_what_is_no_genome_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DSLError, match=reason):
        genome(text)


@pytest.mark.parametrize(
    ("first", "second"), [("x*sigmoid(x)", "sigmoid(x)*x"), ("x + 0*2", "x"), ("silu(x)", "x*sigmoid(x)"), ("--sin(x)", "sin(x)")]
)
def test_equal_functions_have_one_key(first: str, second: str) -> None:
    assert canonical_key(first) == canonical_key(second)


def test_different_constants_have_different_keys_and_one_structure() -> None:
    for first, second in (("sin(3*x)", "sin(4*x)"), ("param p1 = 3; sin(p1*x)", "param p1 = 4; sin(p1*x)")):
        assert canonical_key(first) != canonical_key(second)
        assert program(first).key == program(second).key
    assert canonical_key("param p1 = 3; sin(p1*x)") != canonical_key("param p1[channel] = 3; sin(p1*x)")


@pytest.mark.parametrize(
    "text",
    [
        "(x + 0)*1*tanh(x)",
        "x*sigmoid(x) + (sin(x) - 0)",
        "2*3*x^2",
        "param p1[channel] = -2; (p1*1*x + 0)*1",
        "swish(x)*1*1*1*1*1*1*1*1*1*1",
    ],
)
def test_short_text_means_the_same(text: str) -> None:
    assert len(short_text(text)) <= len(text)
    assert canonical_key(short_text(text)) == canonical_key(text)
