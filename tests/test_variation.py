"""Variation: every operator on random genomes of different spaces, and each by example."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import expressions

from codegen.function import activation
from codegen.graph import Source, topological
from codegen.numpy import evaluate
from gp.evolution.genome import genome, is_boolean, places, size, substitute, text_of
from gp.evolution.space import Space
from gp.evolution.variation import OPERATORS, operators, ramped
from gp.evolution.variation.constants import SIMPLE
from gp.evolution.variation.parts import count_x
from grammar import parse
from grammar.limits import MAX_DEPTH
from grammar.tree import Expression, Number, Program, walk
from kernels.programs import program

SEEDS = st.integers(0, 2**32)
LIMIT = 24
GRID = np.linspace(-3, 3, 61)
TRIES = 300
PLAIN = Space()
EVERYTHING = Space(parameters="both", statistics=True, shifts=True)
SPACES = (
    PLAIN,
    EVERYTHING,
    Space(parameters="scalar"),
    Space(parameters="channel", shifts=True),
    Space({"mean": 5, "rms": 0}, statistics=True),
    Space({"sin": 0, "+": 0, "neg": 0, "<": 0, ">": 0, "gelu": 9}, parameters="both"),
)
FAMILIES = [(space, [seed for _, seed in space.seeds()]) for space in SPACES]


def _check(tree: Program, space: Space) -> None:
    """A genome reads back from its text, and is what the space allows, as the graph has it too."""
    assert not is_boolean(tree.result)
    assert genome(text_of(tree)) == tree
    assert space.allows(tree)
    function = activation(tree).function
    nodes = topological([function.result])
    assert {p.per_channel for p in function.parameters} <= space.per_channel
    assert space.statistics or not any(n.operator == "mean" for n in nodes)
    assert space.shifts or not any(isinstance(n.attribute, Source) and n.attribute.shift for n in nodes)


def _known(space: Space, seeds: list[Program], index: int) -> Program:
    """A catalogue function or a random tree, varied a few times."""
    rng = np.random.default_rng(index)
    tree = seeds[int(rng.integers(len(seeds)))] if index % 2 else ramped(rng, space, LIMIT, 5, index)
    for _ in range(int(rng.integers(4))):
        operator = list(operators(space).values())[int(rng.integers(len(operators(space))))]
        tree = operator.make(rng, space, LIMIT, tree, *(seeds[int(rng.integers(len(seeds)))] for _ in range(operator.parents - 1)))
    return tree


@st.composite
def _families(draw: st.DrawFn) -> tuple[Space, tuple[Program, Program]]:
    """A space and two genomes of it."""
    space, seeds = draw(st.sampled_from(FAMILIES))
    genomes = st.integers(0, 10**6).map(lambda index: _known(space, seeds, index))
    if space is PLAIN:
        genomes = st.one_of(genomes, expressions().map(lambda tree: Program((), tree)))
    return space, (draw(genomes), draw(genomes))


def _tree(text: str) -> Expression:
    return parse(text).result


def _make(name: str, seed: int, *texts: str, limit: int = LIMIT, space: Space = EVERYTHING) -> str:
    """The child as text; parents beyond those that the operator takes are left out."""
    parents = [genome(text) for text in texts][: OPERATORS[name].parents]
    return text_of(OPERATORS[name].make(np.random.default_rng(seed), space, limit, *parents))


def _children(name: str, *texts: str, limit: int = LIMIT, space: Space = EVERYTHING) -> set[str]:
    return {_make(name, seed, *texts, limit=limit, space=space) for seed in range(TRIES)}


def _values(tree: Program | str) -> NDArray[np.float64]:
    text = tree if isinstance(tree, str) else text_of(tree)
    return np.broadcast_to(evaluate([program(text).graph], {"x": GRID})[0], GRID.shape)


# All operators


@given(SEEDS, st.sampled_from(SPACES), st.integers(0, 100), st.integers(1, LIMIT), st.integers(2, 6))
def test_ramped_trees_are_valid(seed: int, space: Space, index: int, limit: int, depth: int) -> None:
    tree = ramped(np.random.default_rng(seed), space, limit, depth, index)
    _check(tree, space)
    assert size(tree) <= limit
    assert tree.result.depth <= depth + 2  # a negative constant is a sign and a number, and so may be the places of a shift


@pytest.mark.parametrize("name", OPERATORS)
@given(seed=SEEDS, limit=st.integers(1, 60), family=_families())
def test_children_are_valid(name: str, seed: int, limit: int, family: tuple[Space, tuple[Program, Program]]) -> None:
    space, parents = family[0], family[1][: OPERATORS[name].parents]
    before = [text_of(parent) for parent in parents]
    child, again = (OPERATORS[name].make(np.random.default_rng(seed), space, limit, *parents) for _ in range(2))
    assert child == again
    assert size(child) <= limit or child == parents[0]
    assert [text_of(parent) for parent in parents] == before
    _check(child, space)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_change_something_and_follow_their_generator(name: str) -> None:
    parents = (
        "param p1 = 0.7; param p2[channel] = 2; where(x < 0.3, x + 1.7*p2 - x^2, 2.5*tanh(p1*x))",
        "where(x > 2, sin(x) - 0.7, tanh(exp(x)))",
    )
    children = [_make(name, seed, *parents, limit=60) for seed in range(30)]
    assert children == [_make(name, seed, *parents, limit=60) for seed in range(30)]
    assert len(set(children)) >= {"odd": 1, "even": 1, "composition": 1, "removal": 2}.get(name, 4)
    assert set(children) != {parents[0]}


@pytest.mark.parametrize("name", OPERATORS)
def test_no_child_is_deeper_than_the_language_allows(name: str) -> None:
    deep = "sin(" * (MAX_DEPTH - 1) + "x" + ")" * (MAX_DEPTH - 1)
    for seed in range(20):
        child = _make(name, seed, "param p1 = -1; " + deep.replace("x", "p1"), deep, limit=10**4)
        assert _tree(child).depth <= MAX_DEPTH


def test_all_that_a_space_has_occurs_in_children() -> None:
    texts = [text_of(_known(*FAMILIES[1], index)) for index in range(0, 1000, 2)]  # even: they come from random trees
    for part in ("param p1 =", "param p1[channel] =", "param p2", "shift(", "over=batch", "over=features", "mean(", "std(", "prelu("):
        assert any(part in text for text in texts), part


def test_parameters_come_and_go_only_where_a_space_has_them() -> None:
    assert set(operators(PLAIN)) == set(OPERATORS) - {"introduction", "removal"}
    assert operators(EVERYTHING) == OPERATORS
    assert _children("introduction", "sin(2*x)", space=PLAIN) == {"sin(2*x)"}


def test_what_has_no_weight_comes_into_no_child() -> None:
    bare = Space({"+": 0, "-": 0, "*": 0, "/": 0, "neg": 0})
    for name in OPERATORS:
        assert not any(sign in text for text in _children(name, "sin(x)", "cos(x)", space=bare) for sign in ("+", " - ", "*", "/", "-x"))
    assert _children("odd", "sin(x)", space=bare) == {"sin(x)"}


def test_parents_parameters_meet_in_a_child() -> None:
    """Equal ones are shared, different ones of a name are told apart, those that are not used are left out."""
    mother = "param p1 = 1; p1*sin(x)"
    assert {"param p1 = 1; p1*sin(p1)", "param p1 = 1; cos(p1*x)"} <= _children("crossover", mother, "param p1 = 1; cos(p1*x)")
    different = _children("crossover", mother, "param p1 = 2; param p2 = 1; cos(p1*x) + p2")
    assert {"param p1 = 1; param p2 = 2; p1*sin(p2)", "param p1 = 2; p1*sin(x)", "param p1 = 2; cos(p1*x)"} <= different
    assert "param p1 = 1; param p2 = 1; p1*sin(p2)" in different
    assert "param p1 = 1; param p2[channel] = 1; p1*sin(p2)" in _children("crossover", mother, "param p1[channel] = 1; cos(p1*x)")


def test_new_terminals_are_sometimes_the_parameters_that_there_are() -> None:
    one = "param p1[channel] = 2; sin(p1*x)"
    for name in ("subtree", "point", "insertion"):
        assert any(text.count("p1") > 2 for text in _children(name, one)), name
        assert not any("p1" in text for text in _children(name, "sin(2*x)")), name


def test_the_places_of_a_shift_are_no_place_for_anything() -> None:
    assert {p.path for p in places(_tree("shift(sin(x), -1)"))} == {(), (0,), (0, 0)}
    assert size(_tree("shift(x, -1)")) == size(_tree("shift(x, 1)")) == 2
    assert all(re.fullmatch(r"shift\([\d.]+\*x, 1\)", text) for text in _children("constant", "shift(2.5*x, 1)"))
    assert _children("snap", "shift(x, 1)") == {"shift(x, 1)"}
    shifting = Space({"shift": 20, "tanh": 20}, shifts=True)
    assert {"shift(sin(x), 1)", "shift(sin(x), -2)", "tanh(sin(x))"} <= _children("point", "shift(sin(x), 2)", space=shifting)
    aligned = {"shift(sin(x), 2)", "shift(tanh(x), 2)", "cos(sin(x))", "cos(tanh(x))"}
    assert _children("uniform", "shift(sin(x), 2)", "cos(tanh(x))") == aligned
    assert text_of(Program((), substitute(_tree("shift(x, 1)*x"), {"x": _tree("x + 1")}))) == "shift(x + 1, 1)*(x + 1)"


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
    assert {"cos(x)", "tanh(x)", "-x", "gelu(x)", "x^3"} <= _children("point", "sin(x)", space=Space({"gelu": 1}))
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
    assert {text_of(Program((), e)) for e in SIMPLE.values()} >= {"0", "0.1", "0.5", "1", "2", "pi"}


def test_initial_values_change_as_constants_do() -> None:
    moved = _children("constant", "param p1[channel] = -0.7; p1*x")
    assert all(re.fullmatch(r"param p1\[channel\] = -[\d.]+; p1\*x", text) for text in moved)
    assert len(moved) > 50
    assert _children("snap", "param p1 = -1.9; p1*x") == {"param p1 = -2; p1*x"}
    assert _children("snap", "param p1 = 3; p1*x") == {"param p1 = 2; p1*x", f"param p1 = {np.pi}; p1*x"}
    assert _children("snap", "param p1 = 1.9; 0.4*p1*x") == {"param p1 = 2; 0.4*p1*x", "param p1 = 1.9; 0.5*p1*x"}


def test_introduction() -> None:
    scaled = {"p1*sin(2*x)", "sin(p1*(2*x))", "sin((p1*2)*x)", "sin(2*(p1*x))"}
    expected = {"param p1 = 2; sin(p1*x)", *(f"param p1 = 1; {text}" for text in scaled)}
    per_channel = {text.replace("p1 =", "p1[channel] =") for text in expected}
    assert _children("introduction", "sin(2*x)", space=Space(parameters="scalar")) == expected
    assert _children("introduction", "sin(2*x)", space=Space(parameters="channel")) == per_channel
    assert _children("introduction", "sin(2*x)") == expected | per_channel
    assert _children("introduction", "sin(2*x)", limit=4, space=Space(parameters="scalar")) == {"sin(2*x)", "param p1 = 2; sin(p1*x)"}
    assert "param p1 = 1.5; param p2 = 1; p1*(p2*x)" in _children("introduction", "param p1 = 1.5; p1*x")


def test_removal() -> None:
    both = "param p1 = 1; param p2[channel] = -0.5; p1*x + p2^2"
    assert _children("removal", both) == {"param p1[channel] = -0.5; 1*x + p1^2", "param p1 = 1; p1*x + (-0.5)^2"}
    assert _children("removal", "sin(x)") == {"sin(x)"}


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
    tree = substitute(_tree("where(x > pi, gelu(x), -x^2) + clamp(x, 0, x)"), {"x": _tree("x + 1")})
    assert text_of(Program((), tree)) == "where(x + 1 > pi, gelu(x + 1), -(x + 1)^2) + clamp(x + 1, 0, x + 1)"


@given(expressions(max_leaves=5), expressions(max_leaves=5))
def test_composition_is_the_composition(outer: Expression, inner: Expression) -> None:
    parents = Program((), outer), Program((), inner)
    child = OPERATORS["composition"].make(np.random.default_rng(0), PLAIN, 10**4, *parents)
    between = evaluate([activation(parents[1]).graph], {"x": GRID})[0]
    expected = np.broadcast_to(evaluate([activation(parents[0]).graph], {"x": between})[0], GRID.shape)
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
    parent = Program((), tree)
    child = OPERATORS[name].make(np.random.default_rng(0), PLAIN, 10**4, parent)
    f, values = _values(parent), _values(child)
    usual = np.abs(f) + np.abs(f[::-1]) < 1e6
    np.testing.assert_allclose(values[usual], sign * values[::-1][usual], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(values[usual], (f + sign * f[::-1])[usual] / 2, rtol=1e-6, atol=1e-6)


def test_symmetric_parts_by_example() -> None:
    assert _make("odd", 0, "softplus(x)") == "(softplus(x) - softplus(-x))/2"
    assert _make("even", 0, "softplus(x)") == "(softplus(x) + softplus(-x))/2"
    assert _make("even", 0, "softplus(x)", limit=7) == "softplus(x)"
