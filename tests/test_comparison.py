"""Two candidates at a time: effects against `gp.lab.score.difference`, and verdicts against what chance alone would give."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gp.lab.comparison import Effect, compare, judge
from gp.lab.data import Instance, Raw, instances
from gp.lab.protocol import Measurement
from gp.lab.score import Outcome, difference
from gp.lab.training import Training

SEARCH = instances("search")


def no_points(rng: np.random.Generator) -> Raw:
    raise AssertionError("a comparison needs no data")


def asked(data: tuple[Instance, ...], seeds: int) -> Measurement:
    return Measurement(data, tuple(range(seeds)), Training(1, 1e-3))


def alike(count: int, family: str = "a") -> tuple[Instance, ...]:
    """Data sets of one variant."""
    return tuple(Instance(family, "v", f"{family}-{k}", ("x",), "", "", no_points) for k in range(count))


def outcome(scores: object) -> Outcome:
    """What comes to those scores (seeds, instances)."""
    errors = np.exp(np.array(scores, float)) - 1e-4
    ones = np.ones_like(errors)
    return Outcome(ones, errors, ones, ones, (1.0,) * len(errors))


def effect(change: float, low: float, high: float) -> Effect:
    return Effect(change, low, high, 0.5, "no difference")


def test_effects_are_the_differences_of_the_score_and_of_each_family() -> None:
    rng = np.random.default_rng(0)
    what = asked(SEARCH, 2)
    found = {name: outcome(rng.normal(-2, 0.5, (2, len(SEARCH)))) for name in "abc"}
    pairs = compare(found, what)
    assert [(p.first, p.second) for p in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    for pair in pairs:
        first, second = found[pair.first], found[pair.second]
        assert (pair.total.difference, pair.total.low, pair.total.high) == difference(first, second, what)
        assert pair.total.wins == pytest.approx((first.outside < second.outside).mean())
        assert list(pair.families) == list(dict.fromkeys(i.family for i in SEARCH))
        for family, part in pair.families.items():
            chosen = [k for k, i in enumerate(SEARCH) if i.family == family]
            parts = [
                dataclasses.replace(o, outside=o.outside[:, chosen], constant_error=o.constant_error[:, chosen]) for o in (first, second)
            ]
            only = asked(tuple(SEARCH[k] for k in chosen), 2)
            assert (part.difference, part.low, part.high) == difference(parts[0], parts[1], only)
        assert pair.total.difference == pytest.approx(np.mean([part.difference for part in pair.families.values()]))


def test_the_other_way_round_everything_turns() -> None:
    rng = np.random.default_rng(0)
    what = asked((*alike(10), *alike(10, "b")), 2)
    found = {"a": outcome(rng.normal(-2, 0.1, (2, 20))), "b": outcome(rng.normal(-1, 0.1, (2, 20)))}
    (pair,), (turned,) = compare(found, what), compare(dict(reversed(found.items())), what)
    assert (pair.total.verdict, turned.total.verdict) == ("better", "worse")
    assert pair.turned.turned == pair
    for one, other in ((pair.turned.total, turned.total), (pair.turned.families["b"], turned.families["b"])):
        assert one.verdict == other.verdict
        assert dataclasses.astuple(one)[:4] == pytest.approx(dataclasses.astuple(other)[:4])


def test_ties_count_half() -> None:
    (pair,) = compare({"a": outcome([[-1.0, -2.0, -1.0, 0.5]]), "b": outcome([[-1.0, -1.0, -2.0, 0.5]])}, asked(alike(4), 1))
    assert pair.total.wins == 0.5
    (pair,) = compare({"a": outcome([[-1.0, -2.0, -2.0, 0.5]]), "b": outcome([[-1.0, -1.0, -1.0, 0.5]])}, asked(alike(4), 1))
    assert pair.total.wins == 0.75


@given(st.floats(-1, 1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_the_chance_is_below_the_level_where_the_interval_leaves_out_zero(change: float, below: float, above: float) -> None:
    low, high = change - below, change + above
    assume(min(abs(low), abs(high)) > 1e-3)
    found = effect(change, low, high)
    assert (found.chance < 0.05) == (low > 0 or high < 0)
    assert found.turned.chance == pytest.approx(found.chance)


def test_holm() -> None:
    """Half as wide an interval as the difference is a chance of 0.0001; 0.97 of it, one of 0.043."""
    clear, close, none = effect(-1.0, -1.5, -0.5), effect(1.0, 0.03, 1.97), effect(0.1, -0.4, 0.6)
    assert clear.chance == pytest.approx(8.9e-5, rel=0.01)
    assert close.chance == pytest.approx(0.0433, rel=0.01)

    def words(*effects: Effect) -> list[str]:
        return [e.verdict for e in judge(effects)]

    assert words(close) == ["worse"]
    assert words(none) == ["no difference"]
    assert words(close, none) == ["no difference", "no difference"]
    assert words(none, clear) == ["no difference", "better"]
    assert words(close, clear) == ["worse", "better"]  # Bonferroni would hold 0.043 against 0.025
    assert words(close, dataclasses.replace(none, verdict="too few")) == ["worse", "too few"]  # which is no test
    assert words() == []


@pytest.mark.parametrize(
    ("count", "seeds", "verdict"), [(1, 2, "too few"), (1, 5, "too few"), (1, 6, "better"), (5, 1, "too few"), (6, 1, "better")]
)
def test_a_few_networks_tell_nothing(count: int, seeds: int, verdict: str) -> None:
    better, worse = (outcome(np.full((seeds, count), level)) for level in (-2.0, -1.0))
    (pair,) = compare({"a": better, "b": worse}, asked(alike(count), seeds))
    assert pair.total.verdict == verdict


def test_data_sets_each_of_its_own_kind_are_not_drawn_from() -> None:
    data = tuple(alike(1, family)[0] for family in "abcdefgh")
    (pair,) = compare({"a": outcome(np.full((1, 8), -2.0)), "b": outcome(np.full((1, 8), -1.0))}, asked(data, 1))
    assert pair.total.verdict == "too few"


def test_equal_candidates() -> None:
    same = outcome(np.linspace(-2, 0, 12).reshape(2, 6))
    (pair,) = compare({"a": same, "b": same}, asked(alike(6), 2))
    assert pair.total == Effect(0.0, 0.0, 0.0, 0.5, "equal") == pair.families["a"]


def test_among_equal_candidates_differences_are_seldom_seen() -> None:
    """Four that differ by chance. One comparison in twenty may show a difference; on 20 data sets it is one in twelve, since intervals
    by bootstrap are a little narrow there. Six pairs each on their own show one in three times."""
    rng = np.random.default_rng(0)
    what = asked(alike(20), 1)
    corrected = uncorrected = 0
    for _ in range(60):
        pairs = compare({name: outcome(rng.normal(-2, 0.5, (1, 20))) for name in "abcd"}, what)
        corrected += any(pair.total.verdict != "no difference" for pair in pairs)
        uncorrected += any(pair.total.chance < 0.05 for pair in pairs)
    assert corrected <= 10
    assert uncorrected >= 12  # negative control
