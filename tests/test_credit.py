"""The credit that operators of variation earn."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gp.evolution.credit import GUARANTEED, Credit


def _credit(**counts: tuple[int, int]) -> Credit:
    """Equal weights; children and successes of each operator."""
    credit = Credit(dict.fromkeys(counts, 3.0))
    for name, (children, successes) in counts.items():
        for k in range(children):
            credit.record(name, 0.0 if k < successes else 1.0, 1.0)
    return credit


def test_shares_by_hand() -> None:
    """Rates: mean (1 + 13)/(2 + 26) = 1/2; a (13 + 20/2)/(20 + 20) = 23/40; b (0 + 20/2)/(6 + 20) = 10/26."""
    credit = _credit(a=(20, 13), b=(6, 0))
    a, b = 23 / 40, 10 / 26
    assert credit.shares()["a"] == pytest.approx(0.25 / 2 + 0.75 * a / (a + b))
    assert credit.shares()["b"] == pytest.approx(0.25 / 2 + 0.75 * b / (a + b))
    counts = json.loads(json.dumps(credit.to_json()))
    assert counts["a"] == {"children": 20, "successes": 13, "share": credit.shares()["a"]}


def test_without_evidence_shares_are_the_weights() -> None:
    assert Credit({"a": 3.0, "b": 1.0}).shares() == pytest.approx({"a": 0.75, "b": 0.25})
    assert _credit(a=(100, 0), b=(100, 0)).shares() == pytest.approx({"a": 0.5, "b": 0.5})
    assert _credit(a=(100, 30), b=(100, 30)).shares() == pytest.approx({"a": 0.5, "b": 0.5})


def test_success_is_rewarded_and_nothing_dies_out() -> None:
    few, many = _credit(a=(4, 4), b=(4, 0)).shares(), _credit(a=(400, 400), b=(400, 0)).shares()
    assert 0.5 < few["a"] < many["a"]
    assert few["b"] > many["b"] > GUARANTEED * 0.5
    assert sum(_credit(a=(10**4, 10**4), b=(10**4, 0), c=(7, 1)).shares().values()) == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=6))
def test_shares_are_probabilities(counts: list[tuple[int, int]]) -> None:
    shares = _credit(**{f"o{k}": (max(pair), min(pair)) for k, pair in enumerate(counts)}).shares()
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= GUARANTEED / len(counts)


def test_equal_and_failed_children_earn_nothing() -> None:
    """Negative control: only a fitness below that of the best parent counts."""
    credit = Credit({"a": 1.0, "b": 1.0})
    for child, parents in [(1.0, 1.0), (2.0, 1.0), (math.inf, 1.0), (math.inf, math.inf)]:
        credit.record("a", child, parents)
    assert (credit.counts["a"].children, credit.counts["a"].successes) == (4, 0)
    credit.record("b", -1.0, math.inf)
    assert credit.counts["b"].successes == 1
    assert credit.shares()["a"] < 0.5 < credit.shares()["b"]
