"""Scores against what the formulas of the protocols give by hand, and the paired bootstrap."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gp.lab.data import Instance, Raw, instances
from gp.lab.protocol import FIDELITIES, PROTOCOLS, Measurement, ProtocolName, measurement
from gp.lab.score import Outcome, difference, instance_weights, log_ratio, network_scores, score
from gp.lab.training import Training

Array = NDArray[np.float64]
SEARCH = instances("search")
FLOAT = st.floats(1e-6, 1e6)


def no_points(rng: np.random.Generator) -> Raw:
    raise AssertionError("a score needs no data")


def made(variants: Sequence[str]) -> tuple[Instance, ...]:
    """Instances of families and variants, given as "family variant"."""
    return tuple(Instance(*v.split(), f"{v} {k}", ("x",), "", "", no_points) for k, v in enumerate(variants))


def asked(data: tuple[Instance, ...], seeds: int = 1, protocol: ProtocolName = "lab-v1") -> Measurement:
    return Measurement(data, tuple(range(seeds)), Training(1, 1e-3), protocol)


def outcome(outside: object, *, inside: object = 1.0, variance: object = 1.0, constant: object = 1.0, seconds: float = 0.5) -> Outcome:
    """What came of networks with those errors out of distribution (seeds, instances); the rest, where it is one number, is alike."""
    array = np.array(outside, float)
    others = (np.broadcast_to(np.array(a, float), array.shape) for a in (inside, variance, constant))
    return Outcome(next(others), array, *others, (seconds,) * len(array))


# One network


@pytest.mark.parametrize(
    ("error", "reference", "expected"),
    [
        (1.0, 2.0, math.log(0.5 + 1e-4)),
        (3.0, 2.0, math.log(1.5 + 1e-4)),
        (0.0, 1.0, -5.0),  # ln(1e-4) is -9.2
        (0.00664, 1.0, math.log(0.00664 + 1e-4)),  # -4.9996
        (0.00663, 1.0, -5.0),
        (2.7181, 1.0, math.log(2.7181 + 1e-4)),  # 0.99997
        (2.7183, 1.0, 1.0),
        (1e300, 1e-3, 1.0),
        (math.inf, 1.0, 2.0),
        (math.nan, 1.0, 2.0),
    ],
)
def test_score_of_a_network(error: float, reference: float, expected: float) -> None:
    found = log_ratio(np.array([error]), np.array([reference]))
    assert found.tolist() == pytest.approx([expected], abs=1e-12)
    assert network_scores(outcome([[error]], constant=reference), "lab-v1").tolist() == [found.tolist()]


@given(FLOAT, FLOAT, FLOAT)
def test_a_score_depends_on_the_ratio_alone_and_rises_with_the_error(error: float, reference: float, scale: float) -> None:
    def s(e: float, r: float) -> float:
        return float(log_ratio(np.array([e]), np.array([r]))[0])

    assert -5 <= s(error, reference) <= 1
    assert s(error * scale, reference * scale) == pytest.approx(s(error, reference), abs=1e-9)
    assert s(error * 2, reference) >= s(error, reference)
    assert s(error, reference) < s(math.nan, reference)


# All networks together


def test_families_count_alike_and_so_do_the_variants_of_a_family() -> None:
    data = made(["a p", "a p", "a p", "a q", "b r"])
    np.testing.assert_allclose(instance_weights(data, "lab-v1"), [1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 2])
    np.testing.assert_allclose(instance_weights(data, "paper"), [0.2] * 5)
    errors = np.exp([-1.0, -2.0, 0.0, -3.0, 0.5]) - 1e-4
    found = score(outcome([errors]), asked(data))
    assert found.variants == pytest.approx({"a p": -1.0, "a q": -3.0, "b r": 0.5})
    assert found.families == pytest.approx({"a": -2.0, "b": 0.5})
    assert found.score == pytest.approx(-0.75)


def test_variants_of_the_same_name_in_two_families_are_two() -> None:
    data = made(["a p", "b p", "b q"])
    np.testing.assert_allclose(instance_weights(data, "lab-v1"), [1 / 2, 1 / 4, 1 / 4])


def test_weights_of_the_search_set() -> None:
    """Four families; three variants of polynomials and of harmonics, two of Feynman, one of chaos."""
    weights = dict(zip((i.name for i in SEARCH), instance_weights(SEARCH, "lab-v1"), strict=True))
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["polynomial-down-1-3"] == pytest.approx(1 / 4 / 3 / 6)
    assert weights["harmonic-cap-2-1"] == pytest.approx(1 / 4 / 3 / 2)
    assert weights["feynman-up-I.6.2"] == pytest.approx(1 / 4 / 2 / 6)
    assert weights["chaos-henon"] == pytest.approx(1 / 4 / 6)


@given(st.lists(st.sampled_from(["a p", "a q", "a r", "b p", "c s"]), min_size=1, max_size=12), st.data())
def test_the_score_is_the_mean_of_the_families_and_the_weighted_mean_of_the_networks(variants: list[str], draw: st.DataObject) -> None:
    data = made(variants)
    errors = np.array(draw.draw(st.lists(st.lists(FLOAT, min_size=len(data), max_size=len(data)), min_size=1, max_size=3)))
    what = asked(data, len(errors))
    found, weights = score(outcome(errors), what), instance_weights(data, "lab-v1")
    assert weights.sum() == pytest.approx(1)
    assert found.score == pytest.approx(np.mean(list(found.families.values())))
    assert found.score == pytest.approx(log_ratio(errors, np.ones_like(errors)).mean(axis=0) @ weights)
    order = draw.draw(st.permutations(range(len(data))))
    shuffled = score(outcome(errors[:, order]), asked(tuple(data[k] for k in order), len(errors)))
    assert shuffled.score == pytest.approx(found.score)


def test_inward_and_outward() -> None:
    """With the weights of the protocol, and only where there is data of every variant that they name."""
    names = ["polynomial down", "polynomial reflected", "harmonic azimuth", "feynman down"]
    names += ["polynomial out", "feynman up", "chaos forecast", "harmonic cap", "harmonic pole"]
    data = made(names)
    values = np.array([0.0, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0, -3.5, -4.0])
    found = score(outcome([np.exp(values) - 1e-4]), asked(data))
    assert found.inward == pytest.approx((0 - 0.5 - 1 - 1.5) / 4)
    assert found.outward == pytest.approx((-2 - 2.5 - 3) / 4 + (-3.5 - 4) / 8)
    partial = score(outcome([np.exp(values[:-1]) - 1e-4]), asked(data[:-1]))
    assert partial.inward == pytest.approx(found.inward)
    assert math.isnan(partial.outward)
    assert {f"{i.family} {i.variant}" for i in SEARCH} == set(names)


def test_a_constant_prediction_scores_nothing_and_divergence_costs_two() -> None:
    constants = np.linspace(0.5, 4, len(SEARCH))
    errors = np.stack([constants, constants])
    what = asked(SEARCH, 2)
    plain = score(outcome(errors, constant=constants), what)
    assert plain.score == pytest.approx(0, abs=2e-4)
    assert plain.diverged == 0
    first = next(k for k, i in enumerate(SEARCH) if i.family == "chaos")
    errors[1, first] = math.nan
    found = score(outcome(errors, inside=np.where(np.isnan(errors), np.nan, 1.0), constant=constants), what)
    assert found.diverged == 1
    assert found.score == pytest.approx(2.0 / 2 / 6 / 4, abs=2e-4)
    assert math.isfinite(found.fit)
    assert found.seconds == 1.0


def test_an_error_that_is_not_finite_in_distribution_alone_counts_as_diverged() -> None:
    assert score(outcome([[1.0, 1.0, math.inf]], inside=[[1.0, math.inf, math.nan]]), asked(made(["a p"] * 3))).diverged == 2


def test_the_median_loss_counts_what_diverged_as_infinite() -> None:
    data = made(["a p"] * 3)
    assert score(outcome([[5.0, 1.0, math.nan]]), asked(data)).ood_loss == 5.0
    assert score(outcome([[5.0, math.nan, math.nan]]), asked(data)).ood_loss == math.inf


def test_fit_is_the_mean_logarithm_in_distribution() -> None:
    found = score(
        outcome([[9.0, 9.0], [9.0, 9.0]], inside=[[1.0, 0.1], [0.01, 0.0]], variance=[[2.0, 1.0], [1.0, 1.0]]),
        asked(made(["a p", "b q"]), 2),
    )
    expected = [0.5, 0.1, 0.01, 0.0]
    assert found.fit == pytest.approx(np.mean([math.log(e + 1e-4) for e in expected]))


def test_fidelities_and_protocols_are_the_specified_ones() -> None:
    for name, seeds, steps, rate, gate in (("quick", 1, 100, 1e-2, -1.5), ("standard", 2, 300, 5e-3, -3.0), ("full", 4, 1000, 5e-3, -3.0)):
        what = measurement(name)
        assert what.seeds == tuple(range(seeds))
        assert what.training == Training(steps, rate, batch=64, betas=(0.9, 0.99), epsilon=1e-8, warm_up=0.05, loss="squared")
        assert (what.protocol, what.gate, what.standardise, what.instances) == ("lab-v1", gate, True, SEARCH)
        assert (what.architecture.hidden, what.architecture.outputs) == ((32, 32), 1)
    paper = measurement("full", protocol="paper", data="validation", seeds=(5,))
    assert (paper.training.steps, paper.training.learning_rate, paper.standardise, paper.seeds) == (300, 2e-3, False, (5,))
    assert paper.instances == instances("validation")
    assert list(FIDELITIES) == ["quick", "standard", "full"]
    assert PROTOCOLS == ("lab-v1", "paper")


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="there is no fidelity 'fast'; choose quick, standard, full"):
        measurement("fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no protocol 'lab-v2'; choose lab-v1, paper"):
        measurement(protocol="lab-v2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no set of data sets called 'test'"):
        measurement(data="test")  # type: ignore[arg-type]


def test_paper_is_the_mean_of_raw_errors() -> None:
    data = made(["a p", "a p", "b q"])
    found = score(outcome([[1.0, 2.0, 600.0], [3.0, 2.0, 400.0]], constant=0.01), asked(data, 2, "paper"))
    assert found.score == pytest.approx((2 + 2 + 500) / 3)  # the largest decides, and families do not count
    assert found.families == pytest.approx({"a": 2.0, "b": 500.0})
    diverged = score(outcome([[1.0, math.nan, 600.0], [3.0, 2.0, 400.0]]), asked(data, 2, "paper"))
    assert diverged.score == math.inf
    assert diverged.diverged == 1


# Differences


def noisy(rng: np.random.Generator, seeds: int, data: tuple[Instance, ...], shift: float, noise: float) -> tuple[Outcome, Outcome]:
    """A candidate and a baseline: their scores differ by `shift`, by a number for each instance, and by less for each network."""
    baseline = rng.normal(-2.5, 0.4, (seeds, len(data)))
    change = shift + noise * (rng.normal(size=len(data)) + 0.5 * rng.normal(size=(seeds, len(data))))
    return outcome(np.exp(baseline + change) - 1e-4), outcome(np.exp(baseline) - 1e-4)


def test_the_difference_is_that_of_the_scores_and_lies_in_its_interval() -> None:
    what = asked(SEARCH, 2)
    candidate, baseline = noisy(np.random.default_rng(0), 2, SEARCH, 0.3, 0.2)
    change, low, high = difference(candidate, baseline, what)
    assert change == pytest.approx(score(candidate, what).score - score(baseline, what).score)
    assert low < change < high
    assert 0 < low < 0.3 < high < 0.5
    turned = difference(baseline, candidate, what)
    assert turned == pytest.approx((-change, -high, -low), abs=1e-3)


def test_intervals_cover_what_they_should_and_nothing_else() -> None:
    """Of 95% intervals around a shift of 0.3 nearly all cover it; with a standard error of 0.05, few cover 0.15 or 0.45."""
    rng, what = np.random.default_rng(1), asked(SEARCH, 2)
    intervals = np.array([difference(*noisy(rng, 2, SEARCH, 0.3, 0.3), what)[1:] for _ in range(100)])

    def covering(value: float) -> float:
        return float(((intervals[:, 0] <= value) & (value <= intervals[:, 1])).mean())

    assert 0.85 <= covering(0.3) <= 0.99
    assert covering(0.15) < 0.3
    assert covering(0.45) < 0.3


def test_pairing_is_what_makes_it_narrow() -> None:
    """Negative control: against the baseline's networks in another order the interval is several times as wide."""
    candidate, baseline = noisy(np.random.default_rng(2), 4, SEARCH, 0.0, 0.05)
    unpaired = dataclasses.replace(baseline, outside=np.random.default_rng(3).permuted(baseline.outside, axis=1))
    widths = [high - low for _, low, high in (difference(candidate, b, asked(SEARCH, 4)) for b in (baseline, unpaired))]
    assert widths[1] > 3 * widths[0]


@given(st.integers(1, 3), st.integers(0, 2**31))
def test_without_a_difference_there_is_no_width(seeds: int, seed: int) -> None:
    candidate, _ = noisy(np.random.default_rng(seed), seeds, SEARCH[::4], 0.0, 0.5)
    assert difference(candidate, candidate, asked(SEARCH[::4], seeds)) == (0, 0, 0)


@given(st.floats(-1, 1), st.integers(0, 2**31))
def test_a_shift_of_every_network_is_known_exactly(shift: float, seed: int) -> None:
    candidate, baseline = noisy(np.random.default_rng(seed), 2, SEARCH[::4], shift, 0.0)
    np.testing.assert_allclose(difference(candidate, baseline, asked(SEARCH[::4], 2)), [shift] * 3, atol=1e-9)


def test_intervals_are_the_same_every_time_and_need_no_global_random_numbers() -> None:
    candidate, baseline = noisy(np.random.default_rng(4), 2, SEARCH, 0.1, 0.3)
    np.random.seed(0)  # whatever the caller does with it
    first = difference(candidate, baseline, asked(SEARCH, 2))
    np.random.seed(1)
    assert difference(candidate, baseline, asked(SEARCH, 2)) == first


def test_seeds_and_instances_both_widen_an_interval() -> None:
    data = made(["a p"] * 8)
    by_seed = outcome(np.exp([[-2.0] * 8, [-1.0] * 8]) - 1e-4), outcome(np.full((2, 8), math.exp(-2) - 1e-4))
    np.testing.assert_allclose(difference(*by_seed, asked(data, 2)), [0.5, 0, 1])
    by_instance = outcome(np.exp([[-2.0, -1.0] * 4] * 2) - 1e-4), outcome(np.full((2, 8), math.exp(-2) - 1e-4))
    change, low, high = difference(*by_instance, asked(data, 2))
    assert change == pytest.approx(0.5)
    assert 0.0 < low < 0.3
    assert 0.7 < high < 1.0
    # Instances are drawn within their variant: where all of a variant are alike, nothing varies.
    variants = made(["a p", "a q"] * 4)
    np.testing.assert_allclose(difference(*by_instance, asked(variants, 2)), [0.5] * 3)


def test_an_infinite_score_has_no_difference() -> None:
    what = asked(made(["a p", "a p"]), 1, "paper")
    infinite, finite = outcome([[1.0, math.nan]]), outcome([[1.0, 2.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pair in ((infinite, finite), (finite, infinite), (infinite, infinite)):
            assert np.isnan(difference(*pair, what)).all()
    assert difference(finite, finite, what) == (0, 0, 0)
    # In lab-v1 a network that diverged has a score like any other.
    assert difference(infinite, finite, asked(what.instances))[0] == pytest.approx((2 - math.log(2 + 1e-4)) / 2)
