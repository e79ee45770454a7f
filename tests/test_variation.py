"""Variation: every operator on random trees, and each by example."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import expressions

from codegen.numpy import evaluate
from gp.evolution.genome import is_boolean, size, text_of
from gp.evolution.space import seeds
from gp.evolution.variation import OPERATORS, ramped
from gp.evolution.variation.constants import SIMPLE
from gp.evolution.variation.parts import count_x, substitute
from grammar import parse
from grammar.limits import MAX_DEPTH
from grammar.tree import Expression, Number, walk
from kernels.programs import program

SEEDS = st.integers(0, 2**32)
LIMIT = 24
GRID = np.linspace(-3, 3, 61)
TRIES = 300


def _check(tree: Expression) -> None:
    """A tree is a real number, parses back, and builds to a function without parameters."""
    text = text_of(tree)
    assert not is_boolean(tree)
    assert parse(text).result == tree
    assert not program(text).parameters


def _tree(text: str) -> Expression:
    return parse(text).result


def _known(index: int) -> Expression:
    """A random tree or a catalogue function."""
    known = [e for _, e in seeds()]
    return known[index // 2 % len(known)] if index % 2 else ramped(np.random.default_rng(index), LIMIT, 5, index)


TREES = st.one_of(st.integers(0, 10**6).map(_known), expressions())


def _make(name: str, seed: int, *texts: str, limit: int = LIMIT) -> str:
    """The child as text; parents beyond those that the operator takes are left out."""
    parents = [_tree(text) for text in texts][: OPERATORS[name].parents]
    return text_of(OPERATORS[name].make(np.random.default_rng(seed), limit, *parents))


def _children(name: str, *texts: str, limit: int = LIMIT) -> set[str]:
    return {_make(name, seed, *texts, limit=limit) for seed in range(TRIES)}


def _values(tree: Expression | str) -> NDArray[np.float64]:
    text = tree if isinstance(tree, str) else text_of(tree)
    return np.broadcast_to(evaluate([program(text).graph], {"x": GRID})[0], GRID.shape)


# All operators


@given(SEEDS, st.integers(0, 100), st.integers(1, LIMIT), st.integers(2, 6))
def test_ramped_trees_are_valid(seed: int, index: int, limit: int, depth: int) -> None:
    tree = ramped(np.random.default_rng(seed), limit, depth, index)
    _check(tree)
    assert size(tree) <= limit
    assert tree.depth <= depth + 1  # a negative constant is a sign and a number


@pytest.mark.parametrize("name", OPERATORS)
@given(seed=SEEDS, limit=st.integers(1, 60), trees=st.tuples(TREES, TREES))
def test_children_are_valid(name: str, seed: int, limit: int, trees: tuple[Expression, Expression]) -> None:
    parents = trees[: OPERATORS[name].parents]
    before = [text_of(parent) for parent in parents]
    child, again = (OPERATORS[name].make(np.random.default_rng(seed), limit, *parents) for _ in range(2))
    assert child == again
    assert size(child) <= limit or child == parents[0]
    assert [text_of(parent) for parent in parents] == before
    _check(child)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_change_something_and_follow_their_generator(name: str) -> None:
    parents = "where(x < 0.3, x + 1.7 - x^2, 2.5*tanh(x))", "where(x > 2, sin(x) - 0.7, tanh(exp(x)))"
    children = [_make(name, seed, *parents, limit=60) for seed in range(30)]
    assert children == [_make(name, seed, *parents, limit=60) for seed in range(30)]
    assert len(set(children)) >= (1 if name in ("odd", "even", "composition") else 4)
    assert set(children) != {parents[0]}


@pytest.mark.parametrize("name", OPERATORS)
def test_no_child_is_deeper_than_the_language_allows(name: str) -> None:
    deep = "sin(" * (MAX_DEPTH - 1) + "x" + ")" * (MAX_DEPTH - 1)
    for seed in range(20):
        assert _tree(_make(name, seed, deep, deep, limit=10**4)).depth <= MAX_DEPTH


def test_conditions_replace_conditions() -> None:
    """Crossover, subtree and deletion change conditions too."""
    first, second = "where(x < 1, x, 2)", "where(x > 3 and x < 4, x, 5)"
    assert "where(x > 3 and x < 4, x, 2)" in _children("crossover", first, second)
    assert "where(x > 3, x, 5)" in _children("deletion", second)
    assert "where(x > 3 or x < 4, x, 5)" in _children("point", second)
    assert any(text.startswith("where(x > 3 and ") and text != second for text in _children("subtree", second))
    assert _children("crossover", "where(x < 1, x, 2)", "sin(x)").isdisjoint({"where(sin(x), x, 2)", "where(x, x, 2)"})


# Each operator


def test_crossover() -> None:
    assert _children("crossover", "sin(x)", "cos(2)") == {"cos(2)", "sin(2)", "sin(cos(2))", "2"}
    assert _children("crossover", "sin(x)", "cos(2)", limit=2) == {"cos(2)", "sin(2)", "2"}


def test_uniform_crossover() -> None:
    aligned = {f"{f}({a}{s}{b})" for f in ("sin", "cos") for a in "x1" for s in (" + ", "*") for b in "2x"}
    assert _children("uniform", "sin(x + 2)", "cos(1*x)") == aligned
    assert _children("uniform", "sin(x + 2)", "cos(tanh(x))") == {f"{f}({a})" for f in ("sin", "cos") for a in ("x + 2", "tanh(x)")}
    assert _children("uniform", "x + 2", "sin(x)") == {"x + 2", "sin(x)"}
    assert _children("uniform", "where(x < 1, x, 2)", "clamp(x, 0, 3)") == {"where(x < 1, x, 2)", "clamp(x, 0, 3)"}


def test_subtree_replacement_has_room_for_what_it_takes_out() -> None:
    children = _children("subtree", "sin(x)*x", limit=4)
    assert len(children) > 30
    assert max(size(_tree(text)) for text in children) == 4


def test_point() -> None:
    assert {"x - 1 - x", "x + 1 + x", "x + x - x"} <= _children("point", "x + 1 - x")
    assert {"cos(x)", "tanh(x)", "-x", "gelu(x)", "x^3"} <= _children("point", "sin(x)") | _children("point", "tanh(x)")
    assert _children("point", "where(not x < 1, x, 2)").isdisjoint({"where(x, x, 2)"})


def test_constant_moves_by_a_log_normal_factor() -> None:
    children = _children("constant", "sin(2.3*x)")
    assert all(re.fullmatch(r"sin\([\d.]+\*x\)", text) for text in children)
    factors = np.log([float(text[4:].split("*", maxsplit=1)[0]) / 2.3 for text in children])
    assert abs(np.median(factors)) < 0.1
    assert 0.2 < factors.std() < 0.4
    assert all("*" in text for text in _children("constant", "sin(x)"))


def test_constants_snap_to_the_nearest_simple_value() -> None:
    assert _children("snap", "sin(1.9*x)") == {"sin(2*x)"}
    assert _children("snap", "3.2*x + 0.044") == {"pi*x + 0.044", "3.2*x + 0.01"}
    assert _children("snap", "pi*x") == {"3*x", "4*x"}
    assert _children("snap", "0*x") == {"0.01*x"}
    assert _children("snap", "tanh(x)") == {"tanh(x)"}
    assert list(SIMPLE) == sorted(SIMPLE)
    assert {text_of(e) for e in SIMPLE.values()} >= {"0", "0.1", "0.5", "1", "2", "pi"}


def test_insertion() -> None:
    children = _children("insertion", "sin(x)")
    assert {"sin(x)*x", "x*sin(x)", "sin(x + x)"} <= children
    assert any(re.fullmatch(r"\w+\(sin\(x\)\)", text) for text in children)
    assert any(re.fullmatch(r"sin\(\w+\(x\)\)", text) for text in children)
    assert all(2 < size(_tree(text)) <= 5 for text in children)
    assert {count_x(_tree(text)) for text in children} == {1, 2}


def test_deletion() -> None:
    assert _children("deletion", "sin(x*tanh(2))") == {"x*tanh(2)", "x", "tanh(2)", "2", "sin(x)", "sin(tanh(2))", "sin(2)", "sin(x*2)"}
    assert _children("deletion", "x") == {"x"}


def test_substitution_reaches_into_calls_and_conditions() -> None:
    tree = substitute(_tree("where(x > pi, gelu(x), -x^2) + clamp(x, 0, x)"), _tree("x + 1"))
    assert text_of(tree) == "where(x + 1 > pi, gelu(x + 1), -(x + 1)^2) + clamp(x + 1, 0, x + 1)"


@given(expressions(max_leaves=5), expressions(max_leaves=5))
def test_composition_is_the_composition(outer: Expression, inner: Expression) -> None:
    child = OPERATORS["composition"].make(np.random.default_rng(0), 10**4, outer, inner)
    between = evaluate([program(text_of(inner)).graph], {"x": GRID})[0]
    expected = np.broadcast_to(evaluate([program(text_of(outer)).graph], {"x": between})[0], GRID.shape)
    usual = np.abs(expected) < 1e6  # far out, roundings of what was simplified show
    np.testing.assert_allclose(_values(child)[usual], expected[usual], rtol=1e-6, atol=1e-6)


def test_composition_takes_a_part_where_the_whole_is_too_large() -> None:
    assert _children("composition", "x*sin(x)", "cos(2*x)", limit=12) == {"cos(2*x)*sin(cos(2*x))"}
    assert _children("composition", "x*sin(x)", "cos(2*x)", limit=9) == {"(2*x)*sin(2*x)"}
    assert _children("composition", "x*sin(x)", "cos(2*x)", limit=5) == {"x*sin(x)"}
    assert _children("composition", "sin(2)", "cos(x)") == {"sin(2)"}


@pytest.mark.parametrize("name", ["modulation", "perturbation"])
def test_modulation_and_perturbation(name: str) -> None:
    f, g = _values("tanh(x)"), _values("x*sin(x)")
    signs = set()
    for text in _children(name, "tanh(x)", "x*sin(x)"):
        (coefficient,) = {n.value for n in walk(_tree(text)) if isinstance(n, Number)} - {1.0}
        sign = -1 if " - " in text else 1
        signs.add(sign)
        change = sign * coefficient * g
        np.testing.assert_allclose(_values(text), f * (1 + change) if name == "modulation" else f + change, rtol=1e-9, atol=1e-12)
    assert signs == {-1, 1}
    assert all("sin" not in text for text in _children(name, "tanh(x)", "sin(x + cos(x))", limit=9))


@pytest.mark.parametrize(("name", "sign"), [("odd", -1), ("even", 1)])
@given(tree=expressions(max_leaves=5))
def test_symmetric_parts_are_symmetric(name: str, sign: int, tree: Expression) -> None:
    child = OPERATORS[name].make(np.random.default_rng(0), 10**4, tree)
    f, values = _values(tree), _values(child)
    usual = np.abs(f) + np.abs(f[::-1]) < 1e6
    np.testing.assert_allclose(values[usual], sign * values[::-1][usual], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(values[usual], (f + sign * f[::-1])[usual] / 2, rtol=1e-6, atol=1e-6)


def test_symmetric_parts_by_example() -> None:
    assert _make("odd", 0, "softplus(x)") == "(softplus(x) - softplus(-x))/2"
    assert _make("even", 0, "softplus(x)") == "(softplus(x) + softplus(-x))/2"
    assert _make("even", 0, "softplus(x)", limit=7) == "softplus(x)"
