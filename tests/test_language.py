"""Parsing and printing, names, types and bounds."""

import pytest
from hypothesis import given, settings
from strategies import programs

import grammar
from codegen.build import build
from codegen.function import activation
from grammar.tree import Call, Chain, Name, Number, Unary

EXAMPLE = """
param beta = 1.0                    # learnable scalar
param slope[channel] = 0.25
def bump(t) = exp(-0.5*t^2)
mu = mean(x)
z = (x - mu) / (std(x) + 1e-6)
u = 0.3
repeat 6 { u = 3.7*u*(1 - u) }
where(x > 0, x, slope*x) + 0.2*bump(z)*sin(beta*x) + u*0
"""


@settings(max_examples=200)
@given(programs())
def test_printing_parses_back(program):
    text = grammar.format_program(program)
    assert grammar.parse(text) == program
    assert grammar.format_program(grammar.parse(text)) == text
    assert grammar.parse(grammar.format_program(program, "; ")) == program


def test_the_example_of_the_design():
    program = grammar.parse(EXAMPLE)
    function = build(program)
    assert [(p.name, p.per_channel, p.initial) for p in function.parameters] == [("beta", False, 1.0), ("slope", True, 0.25)]
    assert grammar.parse(grammar.format_program(program)) == program


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("-x^2", Unary("-", Chain(("^",), (Name("x"), Number(2.0))))),
        ("2^3^x", Chain(("^",), (Number(2.0), Chain(("^",), (Number(3.0), Name("x")))))),
        ("2^-x", Chain(("^",), (Number(2.0), Unary("-", Name("x"))))),
        ("x**2", Chain(("^",), (Name("x"), Number(2.0)))),
        ("1 if x < 0 else 2", Call("where", (Chain(("<",), (Name("x"), Number(0.0))), Number(1.0), Number(2.0)))),
        ("x - 1 + 2", Chain(("-", "+"), (Name("x"), Number(1.0), Number(2.0)))),
        ("x - (1 + 2)", Chain(("-",), (Name("x"), Chain(("+",), (Number(1.0), Number(2.0)))))),
        (
            "not x < 1 and x > 0",
            Chain(("and",), (Unary("not", Chain(("<",), (Name("x"), Number(1.0)))), Chain((">",), (Name("x"), Number(0.0))))),
        ),
        ("(x\n + 1)", Chain(("+",), (Name("x"), Number(1.0)))),
        (".5e-1", Number(0.05)),
    ],
)
def test_precedence(text, tree):
    assert grammar.parse(text).result == tree


def test_positions_are_kept():
    result = grammar.parse("a = 1\n  a + sin(x)").result
    assert isinstance(result, Chain)
    call = result.operands[1]
    assert (call.position.line, call.position.column) == (2, 7)


def test_catalogue_parameters_join_the_program():
    names = [p.name for p in activation(grammar.parse("prelu(x) + swish(x)")).parameters]
    assert len(names) == 2
    assert all(n.startswith(("prelu_", "swish_")) for n in names)


@pytest.mark.parametrize("count", ["6", "0000006", "6.0", "0.6e1", "6" + "." + "0" * 5000])
def test_a_count_goes_by_its_value(count):
    assert grammar.parse(f"u = x\nrepeat {count} {{ u = u*x }}\nu") == grammar.parse("u = x\nrepeat 6 { u = u*x }\nu")


@pytest.mark.parametrize("call", ["gelu(1)", "sin(1)", "neighbour_coupled(1)", "max(1, 2)"])
def test_an_initial_value_may_call_functions_without_parameters_and_statistics(call):
    assert len(build(grammar.parse(f"param a = {call}\na*x")).parameters) == 1


def test_a_long_sum_is_not_deep():
    program = grammar.parse(" + ".join(f"{k}*x" for k in range(1, 400)))
    assert program.result.depth < 5


def test_errors_survive_pickling():
    import pickle

    with pytest.raises(grammar.DSLError) as caught:
        grammar.parse("x +")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.line, again.column, again.hint) == (str(caught.value), 1, 4, caught.value.hint)
