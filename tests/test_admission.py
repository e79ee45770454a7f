"""Admission: equal functions are trained once, however they are written, and nothing that is not worth it is trained at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gp.evolution.admission import DUPLICATE, TOO_LARGE, Admission, behaviour, digest
from gp.evolution.genome import Place, canonical_key, genome, is_boolean, make_genome, places, replace, size, text_of
from gp.evolution.space import Space
from gp.evolution.variation import ramped
from grammar import catalog
from grammar.tree import Call, Chain, Expression, Number, Parameter, Program, Unary

# Functions, each with other ways to write it.
SPELLINGS = {
    "x*sigmoid(x)": ["silu(x)", "sigmoid(x)*x", "x/(1 + exp(-x))", "x*sigmoid(x) + 0", "x - x*sigmoid(-x)", "(x + x*tanh(x/2))/2"],
    "max(x, 0)": ["relu(x)", "(x + abs(x))/2", "where(x > 0, x, 0)", "where(0 > x, 0, x)", "-min(-x, 0)", "max(0, x)", "clamp(x, 0, 1e30)"],
    "tanh(x)": ["2*sigmoid(2*x) - 1", "-tanh(-x)", "(exp(x) - exp(-x))/(exp(x) + exp(-x))", "sinh(x)/cosh(x)", "tanh(x)*1", "0 + tanh(x)"],
    "sin(x)": ["-sin(-x)", "--sin(x)", "cos(x - pi/2)", "2*sin(x/2)*cos(x/2)", "sin(x)^1", "sin(x + 2*pi)", "sin(x)/1"],
    "x^2*tanh(3*x)": ["x*x*tanh(3*x)", "x*tanh(x*3)*x", "tanh(x + x + x)*x^2", "abs(x)^2*tanh(3*x)"],
    "softplus(x)": ["log(1 + exp(x))", "log1p(exp(x))", "x + softplus(-x)", "-log(sigmoid(-x))", "max(x, 0) + log1p(exp(-abs(x)))"],
    "abs(x)": ["max(x, -x)", "sqrt(x^2)", "x*sign(x)", "relu(x) + relu(-x)", "where(x < 0, -x, x)"],
    "sin(x)^2": ["1 - cos(x)^2", "sin(x)*sin(x)", "(1 - cos(2*x))/2", "sin(-x)^2"],
}
IDENTITIES: list[Callable[[Expression], Expression]] = [
    lambda e: Chain(("+",), (e, Number(0.0))),
    lambda e: Chain(("+",), (Number(0.0), e)),
    lambda e: Chain(("*",), (Number(1.0), e)),
    lambda e: Chain(("-",), (e, Number(0.0))),
    lambda e: Unary("-", Unary("-", e)),
    lambda e: Chain(("^",), (e, Number(1.0))),
    lambda e: Chain(("/",), (Chain(("+",), (e, e)), Number(2.0))),
    lambda e: Call("max", (e, e)),
    lambda e: Chain(("-",), (Number(1.0), Chain(("-",), (Number(1.0), e)))),
]


def admission() -> Admission:
    return Admission(max_size=200, max_cost=10_000)


@pytest.mark.parametrize("first", SPELLINGS)
def test_other_spellings_of_a_known_function_are_duplicates(first: str) -> None:
    for second in SPELLINGS[first]:
        for known, respelled in ((first, second), (second, first)):
            judge = admission()
            assert judge.judge(genome(known)).reason is None, known
            found = judge.judge(genome(respelled))
            assert found.reason == DUPLICATE, f"{respelled} after {known}"
            assert judge.rejections == {DUPLICATE: 1}


def test_different_functions_are_no_duplicates_of_each_other() -> None:
    """Negative control: nearly equal ones are admitted, all into one record."""
    judge = admission()
    for text in (
        *SPELLINGS,
        "sin(1.01*x)",
        "sin(0.99*x)",
        "x*sigmoid(1.02*x)",
        "tanh(x) + 0.01*sin(x)",
        "max(x, 0.01*x)",
        "max(x, 0.02*x)",
    ):
        assert judge.judge(genome(text)).reason is None, text


def accepted(count: int) -> list[Program]:
    """Random trees that are worth training and differ."""
    rng, space, judge = np.random.default_rng(5), Space(), admission()
    found: list[Program] = []
    while len(found) < count:
        tree = ramped(rng, space, 16, 4, len(found))
        if judge.judge(tree).reason is None:
            found.append(tree)
    return found


def real_places(tree: Program) -> list[Place]:
    return [place for place in places(tree.result) if not is_boolean(place.node)]


def changed(tree: Program, rng: np.random.Generator, change: Callable[[Expression], Expression]) -> Program:
    """The tree with one of its nodes changed; an exponent or another literal that the grammar wants is no node to change."""
    found = [place for place in real_places(tree) if not isinstance(place.node, Number)]
    place = found[int(rng.integers(len(found)))]
    return make_genome([s for s in tree.statements if isinstance(s, Parameter)], replace(tree.result, place.path, change(place.node)))


def commuted(node: Expression) -> Expression:
    if isinstance(node, Chain) and set(node.operators) in ({"+"}, {"*"}):
        return Chain(node.operators, tuple(reversed(node.children)))
    return node


def test_nine_of_ten_respelled_programs_never_reach_training() -> None:
    rng = np.random.default_rng(0)
    rejected = total = 0
    for tree in accepted(60):
        judge = admission()
        judge.judge(tree)
        for _ in range(10):
            other = tree
            for _ in range(int(rng.integers(1, 4))):
                other = changed(other, rng, IDENTITIES[int(rng.integers(len(IDENTITIES)))])
                other = changed(other, rng, commuted)
            assert text_of(other) != text_of(tree)
            total += 1
            rejected += judge.judge(other).reason == DUPLICATE
    assert total == 600
    assert rejected >= 0.95 * total


def test_nine_of_ten_changed_programs_are_no_duplicates() -> None:
    """Negative control: the same places, with changes that make another function."""
    rng = np.random.default_rng(1)
    duplicates = total = 0
    for tree in accepted(60):
        judge = admission()
        judge.judge(tree)
        other = Program(
            tree.statements, Chain(("+",), (tree.result, Call("sin", (Chain(("*",), (Number(round(rng.uniform(1, 3), 2)), tree.result)),))))
        )
        total += 1
        duplicates += judge.judge(other).reason == DUPLICATE
    assert duplicates <= 0.1 * total


def test_what_was_rejected_is_known_too() -> None:
    judge = admission()
    assert [judge.judge(genome(text)).reason for text in ("2", "1 + 1", "3*x", "x*3", "2")] == [
        "constant", DUPLICATE, "linear", DUPLICATE, DUPLICATE,
    ]  # fmt: skip
    assert judge.rejections == {"constant": 1, "linear": 1, DUPLICATE: 3}


def test_keys_that_are_handed_over_make_duplicates() -> None:
    """What a run that goes on does: keys of the candidates on record are all it needs."""
    before, after, empty = admission(), admission(), admission()
    found = [before.judge(genome(text)) for text in SPELLINGS]
    after.known.update(key for judgement in found for key in judgement.keys)
    assert after.known == before.known
    respelled = [genome(texts[0]) for texts in SPELLINGS.values()]
    assert {after.judge(program).reason for program in respelled} == {DUPLICATE}
    assert {empty.judge(program).reason for program in respelled} == {None}  # negative control


def test_what_is_known_of_an_admitted_program() -> None:
    found = admission().judge(genome("x*sigmoid(2.5*x)"))
    assert (found.text, found.size, found.reason) == ("x*sigmoid(2.5*x)", size(genome("x*sigmoid(2.5*x)")), None)
    assert found.behaviour == behaviour(genome("x*sigmoid(2.5*x)"))
    assert digest("x*sigmoid(2.5*x)") in found.keys
    assert digest(canonical_key("x*sigmoid(2.5*x)")) in found.keys
    assert found.structure == admission().judge(genome("x*sigmoid(3.5*x)")).structure
    assert found.structure != admission().judge(genome("x*sigmoid(x)^2")).structure
    assert found.cost > 0


def test_keys_are_64_bits_and_the_same_everywhere() -> None:
    assert digest("x") == 5_717_441_744_405_258_058
    assert all(-(2**63) <= digest(str(k)) < 2**63 for k in range(1000))
    assert len({digest(str(k)) for k in range(1000)}) == 1000


def test_bounds_on_size_and_cost() -> None:
    tree = genome("sin(x)*tanh(2*x) + x")
    assert Admission(size(tree), 10_000).judge(tree).reason is None
    assert Admission(size(tree) - 1, 10_000).judge(tree).reason == TOO_LARGE
    price = admission().judge(tree).cost
    assert Admission(200, price).judge(tree).reason is None
    assert Admission(200, price - 1).judge(tree).reason == "too expensive"


def test_a_program_past_the_bounds_of_the_language_is_too_large() -> None:
    deep = genome("x").result
    for _ in range(23):
        deep = Call("phase_locked_entropic_repulsion", (deep,))
    judge = admission()
    assert judge.judge(Program((), deep)).reason == TOO_LARGE
    assert judge.rejections == {TOO_LARGE: 1}


def test_what_useful_functions_are_worth() -> None:
    judge = admission()
    names = ("relu", "gelu", "tanh", "sine", "elu", "softplus", "squared_relu", "gelusine", "gcu", "hardshrink")
    assert {judge.judge(catalog.entry(name).program).reason for name in names} == {None}
