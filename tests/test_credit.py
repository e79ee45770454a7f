"""The credit that operators of variation earn."""

import dataclasses
import json

import pytest
from fake_search import candidate
from hypothesis import given
from hypothesis import strategies as st

from gp.evolution.candidate import Candidate
from gp.evolution.credit import GUARANTEED, MARGIN, Credit

GELU = dataclasses.replace(candidate("tanh(x)"), differences=(0.0, 0.0))  # a parent that is as good as gelu


def child(origin: str, *differences: float, reason: str | None = None) -> Candidate:
    return dataclasses.replace(candidate("sin(x)"), origin=origin, differences=differences, reason=reason)


def earned(**counts: tuple[int, int]) -> Credit:
    """Equal weights; children and successes of each operator."""
    credit = Credit(dict.fromkeys(counts, 3.0))
    for name, (children, successes) in counts.items():
        for k in range(children):
            credit.record(child(name, -1.0 if k < successes else 1.0), [GELU])
    return credit


def test_shares_by_hand() -> None:
    """Rates: mean (1 + 13)/(2 + 26) = 1/2; a (13 + 20/2)/(20 + 20) = 23/40; b (0 + 20/2)/(6 + 20) = 10/26."""
    credit = earned(a=(20, 13), b=(6, 0))
    a, b = 23 / 40, 10 / 26
    assert credit.shares()["a"] == pytest.approx(0.25 / 2 + 0.75 * a / (a + b))
    assert credit.shares()["b"] == pytest.approx(0.25 / 2 + 0.75 * b / (a + b))
    counts = json.loads(json.dumps(credit.to_json()))
    assert counts["a"] == {"children": 20, "successes": 13, "share": credit.shares()["a"]}


def test_without_evidence_shares_are_the_weights() -> None:
    assert Credit({"a": 3.0, "b": 1.0}).shares() == pytest.approx({"a": 0.75, "b": 0.25})
    assert earned(a=(100, 0), b=(100, 0)).shares() == pytest.approx({"a": 0.5, "b": 0.5})
    assert earned(a=(100, 30), b=(100, 30)).shares() == pytest.approx({"a": 0.5, "b": 0.5})


def test_success_is_rewarded_and_nothing_dies_out() -> None:
    few, many = earned(a=(4, 4), b=(4, 0)).shares(), earned(a=(400, 400), b=(400, 0)).shares()
    assert 0.5 < few["a"] < many["a"]
    assert few["b"] > many["b"] > GUARANTEED * 0.5
    assert sum(earned(a=(10**4, 10**4), b=(10**4, 0), c=(7, 1)).shares().values()) == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=6))
def test_shares_are_probabilities(counts: list[tuple[int, int]]) -> None:
    shares = earned(**{f"o{k}": (max(pair), min(pair)) for k, pair in enumerate(counts)}).shares()
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= GUARANTEED / len(counts)


def parent(*differences: float) -> Candidate:
    return child("seed", *differences)


@pytest.mark.parametrize(
    ("made", "parents", "success"),
    [
        (child("a", -MARGIN - 0.01), [parent(0.0)], True),
        (child("a", -MARGIN + 0.01), [parent(0.0)], False),  # better, but not by more than noise
        (child("a", 0.0), [parent(0.0)], False),
        (child("a", -0.5), [parent(0.0), parent(-1.0)], False),  # the best of the parents counts
        (child("a", -1.5), [parent(0.0), parent(-1.0)], True),
        (child("a", -0.5), [parent(-0.2, -0.9)], True),  # in the stage that the child completed
        (child("a", -0.9, -0.3), [parent(-0.2, -0.9)], False),
        (child("a", -0.1, -1.0), [parent(-0.5, -0.9)], True),
        (child("a", -0.5, -0.5), [parent(-0.2)], True),  # a parent that came less far counts with its last stage
        (child("a", -0.9, reason="did not fit"), [parent(0.0)], False),
        (child("a", reason="failed: took longer than 3 s"), [parent(0.0)], False),
        (child("a"), [parent(0.0)], False),
    ],
)
def test_a_success_is_clearly_better_than_the_best_parent(made: Candidate, parents: list[Candidate], success: bool) -> None:
    credit = Credit({"a": 1.0, "b": 1.0})
    credit.record(made, parents)
    assert (credit.counts["a"].children, credit.counts["a"].successes) == (1, int(success))
    assert (credit.counts["b"].children, credit.counts["b"].successes) == (0, 0)
    credit.record(child("b", 1.0), [parent(0.0)])
    assert (credit.shares()["a"] > credit.shares()["b"]) == success


def test_a_state_brings_the_shares_back() -> None:
    credit, other = earned(a=(20, 13), b=(6, 0)), Credit({"a": 3.0, "b": 3.0})
    assert other.shares() != credit.shares()
    other.restore(json.loads(json.dumps(credit.counts_json())))
    assert other.shares() == credit.shares()
    assert other.to_json() == credit.to_json()
