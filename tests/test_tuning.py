"""Tuning: constants move towards an optimum that is there, stay where there is none, and are shortened where that costs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from fake_search import candidate, finish, seed_result
from hypothesis import given
from hypothesis import strategies as st

from gp.evolution.cascade import Batch, Result
from gp.evolution.config import Config
from gp.evolution.genome import genome, text_of
from gp.evolution.space import Space
from gp.evolution.tuning import PROPOSALS, ROUNDS, Tuned, constants, shortened, tune, with_constants
from gp.evolution.variation import ramped
from gp.workers import Failure

WHAT = Config().tuning
SHAPE = len(WHAT.instances)
Score = Callable[[str], float]


def measured(score: Score, noise: float) -> Callable[[str, int, Batch], Result]:
    """Networks with a score that is the program's, and noise that is each network's."""

    def measure(text: str, seed: int, batch: Batch) -> Result:
        rng = np.random.default_rng([seed, *text.encode()])
        return seed_result(score(text) + noise * rng.standard_normal(SHAPE))

    return measure


def tuned(texts: list[str], measure: Callable[[str, int, Batch], Result], seed: int = 0) -> list[list[Tuned]]:
    """What tuning finds for each of these, in order."""
    found = finish(tune([candidate(text, k) for k, text in enumerate(texts)], WHAT, np.random.default_rng(seed)), measure)
    return [[t for t in found if t.parent == k] for k in range(len(texts))]


def away(text: str) -> float:
    """How far the two constants are from 1.7 and 0.6."""
    first, second = constants(genome(text))
    return abs(math.log(first / 1.7)) + abs(math.log(second / 0.6))


# Constants


def test_constants_are_literals_and_initial_values_but_no_exponents() -> None:
    assert constants(genome("1.5*sin(0.5*x)^2 + 3")) == [1.5, 0.5, 3.0]
    assert constants(genome("x^2 + x^0.5")) == []
    assert constants(genome("param a = -0.25; param b[channel] = 2; a*x + sin(b*x)*3")) == [3.0, -0.25, 2.0]
    assert constants(genome("tanh(x)")) == []


def test_with_constants_changes_values_alone() -> None:
    program = genome("param a = -0.25; -1.5*sin(a*x)^2 + 0.5*x")
    changed = with_constants(program, [2.5, 0.75, -4.0])
    assert text_of(changed) == text_of(genome("param a = -4; -2.5*sin(a*x)^2 + 0.75*x"))
    assert constants(changed) == [2.5, 0.75, -4.0]
    assert text_of(program) == text_of(genome("param a = -0.25; -1.5*sin(a*x)^2 + 0.5*x"))
    with pytest.raises(ValueError, match="zip"):
        with_constants(program, [1.0, 2.0])


@given(st.integers(0, 10**6))
def test_constants_go_out_and_in_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = ramped(rng, Space(parameters="both"), 24, 5, seed % 8)
    assert with_constants(program, constants(program)) == program
    assert genome(text_of(program)) == program
    moved = [value * 1.25 for value in constants(program)]
    assert constants(genome(text_of(with_constants(program, moved)))) == moved


def test_shortened() -> None:
    assert [shortened(v, 2) for v in (1.2345, -0.98765, 1.0, 123.0, 1e-9)] == [1.2, -0.99, 1.0, 120.0, 1e-9]
    assert [shortened(v, 1) for v in (1.55, 0.96, -3.0)] == [2.0, 1.0, -3.0]


# The search


def test_constants_move_towards_the_optimum() -> None:
    texts = [f"{a}*sin({b}*x)" for a, b in ((1.0, 1.0), (3.0, 0.4), (1.2, 0.9), (2.6, 0.6), (1.7, 1.1), (1.1, 0.45))]
    improved = 0
    for text, found in zip(texts, tuned(texts, measured(lambda text: away(text) - 3, 0.1)), strict=True):
        moved = [t for t in found if t.origin == "tuning"]
        assert len(moved) == 1
        improved += away(text_of(moved[0].program)) < 0.75 * away(text)
        assert text_of(moved[0].program).count("sin") == 1
    assert improved >= 5


def test_without_a_gain_constants_mostly_stay() -> None:
    """Negative control: scores that do not depend on the constants, with the noise of the lab; the best of many is not believed."""
    texts = [f"{1 + k / 40:.4g}*sin(0.6*x) + 0.3*x^2" for k in range(40)]
    found = tuned(texts, measured(lambda text: -2.0, math.sqrt(0.31)))
    assert sum(t.origin == "tuning" for group in found for t in group) <= 14  # a quarter is expected


def test_the_optimum_is_left_alone() -> None:
    found = tuned(["1.7*sin(0.6*x)"], measured(lambda text: 3 * away(text) - 3, 0.01))
    assert found == [[]]


def test_structure_signs_and_exponents_stay() -> None:
    text = "param a = -0.4; -2*sin(a*x)^2 + x^3*tanh(x)"
    measure = measured(lambda text: abs(constants(genome(text))[0] - 5.5) + abs(constants(genome(text))[1] + 1.0) - 3, 0.01)
    found = tuned([text], measure)[0]
    assert found[0].origin == "tuning"
    for t in found:
        first, initial = constants(t.program)
        assert first > 2
        assert initial < 0
        assert text_of(with_constants(t.program, [2.0, -0.4])) == text_of(genome(text))


def test_as_many_measurements_as_said_whatever_comes_of_them() -> None:
    texts, batches = ["1.5*sin(0.5*x)", "tanh(x)", "0.7*x*tanh(x)"], []

    def measure(text: str, seed: int, batch: Batch) -> Result:
        if not batches or batches[-1] is not batch:
            batches.append(batch)
        return measured(lambda _: -1.0, 0.3)(text, seed, batch)

    tuned(texts, measure)
    assert {batch.purpose for batch in batches} == {"tuning"}
    assert ROUNDS + 1 <= len(batches) <= ROUNDS + 3
    for batch in batches:
        assert batch.measurement == WHAT
        assert len(batch.tasks) == len(set(batch.tasks)) <= 2 * PROPOSALS * len(WHAT.seeds)
    assert not any(text == "tanh(x)" for batch in batches for text, _ in batch.tasks)  # it has no constants


def test_proposals_that_cannot_be_trained_are_passed_over() -> None:
    good = measured(lambda text: away(text) - 3, 0.05)
    text = "1*sin(0.9*x)"

    def measure(asked: str, seed: int, batch: Batch) -> Result:
        return Failure("crashed") if asked != text and constants(genome(asked))[1] > 0.9 else good(asked, seed, batch)

    found = tuned([text], measure)[0]
    assert away(text_of(found[0].program)) < away(text)
    assert tuned([text], lambda asked, seed, batch: Failure("crashed")) == [[]]
    alone = tuned([text], lambda asked, seed, batch: good(asked, seed, batch) if asked == text else Failure("crashed"))
    assert [t.origin for t in alone[0]] == []


def test_the_same_stream_finds_the_same() -> None:
    measure = measured(lambda text: away(text) - 3, 0.1)
    texts = ["1*sin(1*x)", "3*sin(0.4*x)"]
    first, again, other = (tuned(texts, measure, seed) for seed in (0, 0, 1))
    assert first == again != other


# Shortening


def test_constants_are_shortened_where_that_costs_nothing() -> None:
    found = tuned(["1.37*sin(0.618*x)"], measured(lambda text: -3.0, 0.0))[0]
    assert [(t.origin, text_of(t.program)) for t in found] == [("snapping", "1.4*sin(0.62*x)"), ("snapping", "1*sin(0.6*x)")]


def test_constants_are_not_shortened_where_that_costs() -> None:
    exact = "1.37*sin(0.618*x)"
    assert tuned([exact], measured(lambda text: -3.0 if text == exact else -2.0, 0.05)) == [[]]
    halfway = tuned([exact], measured(lambda text: -3.0 if text in (exact, "1.4*sin(0.62*x)") else -2.0, 0.0))[0]
    assert [text_of(t.program) for t in halfway] == ["1.4*sin(0.62*x)"]


def test_short_constants_are_measured_no_more() -> None:
    assert tuned(["2*sin(3*x)"], measured(lambda text: -3.0 if text == "2*sin(3*x)" else 0.0, 0.0)) == [[]]
