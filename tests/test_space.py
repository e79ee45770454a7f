"""The space: what it is made of, as its settings say."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest

from codegen.build import STATISTICS
from codegen.operators import FUNCTIONS
from gp.evolution.genome import genome, places, text_of
from gp.evolution.productions import all_productions, names_of
from gp.evolution.space import Space
from grammar import catalog
from grammar.tree import Number, Program

EVERYTHING = Space(parameters="both", statistics=True, shifts=True)


def _drawn(space: Space, count: int = 1000) -> Counter[str]:
    """How often each production occurs in random trees."""
    trees = [space.grow(np.random.default_rng(k), 2 + k % 3, k % 2 == 0) for k in range(count)]
    return Counter(name for tree in trees for place in places(tree) for name in names_of(place.node))


def test_the_operator_table_drives_the_space() -> None:
    space = Space()
    names = {p.name for p in space.productions}
    assert set(FUNCTIONS) <= names
    assert {"gelu", "relu"} <= set(space.catalogue) <= names
    assert set(FUNCTIONS) <= set(_drawn(space, 4000))


@pytest.mark.parametrize(
    ("space", "there", "missing"),
    [
        (Space(), {"gelu"}, {"prelu", "swish", "dyt", "turbulent", "neighbour_coupled", "shift", *STATISTICS}),
        (Space(parameters="scalar"), {"swish", "pelu"}, {"prelu", "dyt"}),
        (Space(parameters="channel"), {"prelu"}, {"swish", "dyt"}),
        (Space(parameters="both"), {"swish", "prelu", "dyt"}, {"turbulent", "mean"}),
        (Space(statistics=True), {"turbulent", *STATISTICS}, {"neighbour_coupled", "shift", "swish"}),
        (Space(shifts=True), {"neighbour_coupled", "shift"}, {"turbulent", "mean", "swish"}),
        (EVERYTHING, {*catalog.names(), *FUNCTIONS, *STATISTICS, "shift"}, set()),
    ],
)
def test_functions_join_where_the_space_allows_what_they_need(space: Space, there: set[str], missing: set[str]) -> None:
    names = {p.name for p in space.productions}
    assert there <= names
    assert not missing & names
    assert (there & set(catalog.names())) <= set(space.catalogue)
    assert not missing & {*space.catalogue, *(name for name, _ in space.seeds())}


def test_grown_trees_have_every_statistic_and_shift() -> None:
    rng = np.random.default_rng(0)
    texts = " ".join(text_of(Program((), EVERYTHING.grow(rng, 4, True))) for _ in range(1500))
    for part in ("mean(", "var(", "std(", "rms(", "over=features", "over=batch", ", 1)", ", -1)", ", 2)", ", -2)"):
        assert part in texts
    share = _drawn(EVERYTHING)
    assert sum(share[name] for name in (*STATISTICS, "shift")) < 0.1 * share.total()


@pytest.mark.parametrize("name", ["sin", "+", "neg", "cube", "where", "<", "gelu", "shift", "mean"])
def test_weights(name: str) -> None:
    """What has weight 0 does not occur in random trees, a large weight crowds out the rest."""
    assert _drawn(EVERYTHING, 10_000)[name] > 0
    without = dataclasses.replace(EVERYTHING, weights={name: 0})
    assert _drawn(without)[name] == 0
    often = dataclasses.replace(EVERYTHING, weights={name: 1e6})
    roots = [names_of(often.grow(np.random.default_rng(k), 3, True, boolean=name == "<")) for k in range(300)]
    assert sum(name in root for root in roots) > 295


def test_a_weight_is_that_of_all_productions_of_its_name() -> None:
    for name in ("sin", "std", "shift"):
        space = dataclasses.replace(EVERYTHING, weights={name: 3})
        assert sum(p.weight for p in space.productions if p.name == name) == pytest.approx(3)
        assert [p.name for p in space.productions] == [p.name for p in EVERYTHING.productions]
        assert [p for p in space.productions if p.name != name] == [p for p in EVERYTHING.productions if p.name != name]


@pytest.mark.parametrize(
    "weights", [{"<": 0, ">": 0}, {"where": 1e9}, {p.name: 0 for p in all_productions() if p.name not in ("sin", "where")}]
)
def test_trees_can_be_grown_without_conditions_or_with_little_else(weights: dict[str, float]) -> None:
    space = Space(weights)
    trees = [space.grow(np.random.default_rng(k), 1 + k % 4, True) for k in range(200)]
    assert all(genome(text_of(Program((), tree))).result == tree for tree in trees)
    assert ("where" in _drawn(space)) is ("<" not in weights)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"sinn": 1}, "no production 'sinn', did you mean 'sin'.*gp run --print-config lists all"),
        ({"sin": -1}, "weight of 'sin' must be a number from 0 on, not -1"),
        ({"sin": math.nan}, "not nan"),
        ({"sin": math.inf}, "not inf"),
        ({"sin": True}, "not True"),
        ({"sin": "often"}, "not 'often'"),
        ({p.name: 0 for p in all_productions()}, "nothing to make functions of"),
        ({p.name: 0 for p in all_productions() if p.name not in ("where", "<")}, "nothing to make functions of"),
    ],
)
def test_weights_that_are_none_are_refused(weights: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Space(weights)


@pytest.mark.parametrize(
    ("text", "spaces"),
    [
        ("sin(x) + gelu(x)", {"plain", "scalar", "tensor"}),
        ("param a = 1; sin(a*x)", {"scalar"}),
        ("swish(x)", {"scalar"}),
        ("param a[channel] = 1; a*x^2", set()),
        ("x - mean(x)", {"tensor"}),
        ("turbulent(x)", {"tensor"}),
        ("shift(x, 5)", {"tensor"}),
        ("neighbour_coupled(x)", {"tensor"}),
        ("cos(x) + 1", {"plain", "scalar", "tensor", "poor"}),
        ("-1.5*cos(x)", {"plain", "scalar", "tensor", "poor"}),
        ("-cos(x)", {"plain", "scalar", "tensor"}),
        ("cos(x)^3", {"plain", "scalar", "tensor"}),
        ("cos(x)^2", {"plain", "scalar", "tensor", "poor"}),
        ("silu(x)", {"plain", "scalar", "tensor", "poor"}),
    ],
)
def test_what_a_space_allows(text: str, spaces: set[str]) -> None:
    table = {
        "plain": Space(),
        "scalar": Space(parameters="scalar"),
        "tensor": Space(statistics=True, shifts=True),
        "poor": Space({"sin": 0, "neg": 0, "cube": 0}),
    }
    assert {name for name, space in table.items() if space.allows(genome(text))} == spaces


def test_seeds_are_of_the_space_and_varied_where_they_can_be() -> None:
    seeds = dict(EVERYTHING.seeds())
    assert set(seeds) == set(catalog.names())
    assert text_of(seeds["prelu"]) == "param p1[channel] = 0.25; where(x <= 0, p1*x, x)"
    assert text_of(seeds["isru"]) == "isru(x)"
    assert all(EVERYTHING.allows(seed) and genome(text_of(seed)) == seed for seed in seeds.values())
    fewer = dict(Space({"sin": 0, "gelu": 0}).seeds())
    assert not {"sine", "gelu", "gelu_sinc_perturbation"} & set(fewer)
    assert "relu" in fewer


def test_terminals() -> None:
    drawn = [EVERYTHING.draw_terminal(np.random.default_rng(k), ("p1", "p2")) for k in range(1000)]
    texts = Counter("number" if isinstance(getattr(t, "operand", t), Number) else text_of(Program((), t)) for t in drawn)
    assert set(texts) == {"x", "number", "p1", "p2"}
    assert texts["x"] > texts["number"] > texts["p1"]
    assert "p1" not in {text_of(Program((), EVERYTHING.draw_terminal(np.random.default_rng(k)))) for k in range(300)}
