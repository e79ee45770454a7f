"""The cascade: who reaches the next stage, who is stopped early, and what failures and numbers that are not finite come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping

import numpy as np
import pytest
from fake_search import FakeScorer, candidate, finish, seed_result
from hypothesis import given
from hypothesis import strategies as st

from gp.evolution.candidate import Candidate
from gp.evolution.cascade import UNFIT, Batch, Cascade, Result, _fate
from gp.evolution.config import Config
from gp.evolution.engine import Engine, drive
from gp.evolution.hall import text_by_name
from gp.lab.measure import SeedResult
from gp.lab.protocol import FIDELITIES, FidelityName, measurement
from gp.lab.score import instance_weights
from gp.workers import Failure

GELU = text_by_name("gelu")
STAGES = Config(stages=3).cascade
SHAPE = len(STAGES[0].measurement.instances)
REFERENCE = np.linspace(-1.5, -0.5, SHAPE)  # scores of the networks of gelu
WEIGHTS = instance_weights(STAGES[0].measurement.instances, "lab-v1")
Measure = Callable[[str, int, Batch], Result]


def made(count: int, islands: int = 1) -> list[Candidate]:
    return [candidate(f"sin({k + 1}*x)", k, k % islands) for k in range(count)]


def behind(changes: Mapping[str, float], noise: float = 0.0) -> Measure:
    """Networks whose scores are those of gelu, and so much more by program."""

    def measure(text: str, seed: int, batch: Batch) -> Result:
        change = 0.0 if text == GELU else changes[text]
        rng = np.random.default_rng([seed, *text.encode()])
        return seed_result(REFERENCE + change + noise * rng.standard_normal(SHAPE) * (text != GELU))

    return measure


def evaluate(candidates: list[Candidate], measure: Measure, stages: int = 2) -> tuple[list[Candidate], list[Batch], Cascade]:
    """The candidates, judged, and what was measured for that."""
    cascade = Cascade(STAGES[:stages], 1 / 3, GELU)
    batches: list[Batch] = []

    def noting(text: str, seed: int, batch: Batch) -> Result:
        if batch not in batches:
            batches.append(batch)
        return measure(text, seed, batch)

    finish(cascade.prepare(), measure)
    return finish(cascade.evaluate(candidates), noting), batches, cascade


def texts(batches: list[Batch], purpose: str) -> set[str]:
    return {text for batch in batches if batch.purpose == purpose for text, _ in batch.tasks}


@pytest.mark.parametrize("name", ["quick", "standard", "full"])
def test_with_default_settings_stages_are_the_fidelities_of_the_lab(name: FidelityName) -> None:
    lab = measurement(name)
    stage = next(stage for stage in STAGES if stage.name == name)
    what = stage.measurement
    assert (what.instances, what.seeds, what.training, what.gate, what.protocol) == (
        lab.instances, lab.seeds, lab.training, lab.gate, lab.protocol,
    )  # fmt: skip
    assert what.limit == FIDELITIES[name].limit
    assert what.key == lab.key


def test_settings_scale_all_stages_alike() -> None:
    quick, standard, full = (s.measurement for s in Config(stages=3, steps=200, networks=3, learning_rate=2e-2, gate=-1.0).cascade)
    assert [w.training.steps for w in (quick, standard, full)] == [200, 600, 2000]
    assert [w.training.learning_rate for w in (quick, standard, full)] == [0.02, 0.01, 0.01]
    assert [len(w.seeds) for w in (quick, standard, full)] == [3, 6, 12]
    assert [w.gate for w in (quick, standard, full)] == [-1.0, -2.0, -2.0]
    assert standard.limit == 2 * FIDELITIES["standard"].limit


def test_the_best_third_of_each_island_reaches_the_next_stage() -> None:
    candidates = [candidate(f"sin({k + 1}*x)", k, int(k >= 7)) for k in range(11)]  # 7 and 4
    changes = {c.text: 0.01 * ((5 * c.number) % 11) + (1.0 if c.island else 0.0) for c in candidates}  # all of island 1 are behind
    judged, batches, cascade = evaluate(candidates, behind(changes), stages=3)
    assert [c.number for c in judged] == list(range(11))
    by_change = sorted(judged, key=lambda c: changes[c.text])
    second = {c.text for island, count in ((0, 3), (1, 2)) for c in [c for c in by_change if c.island == island][:count]}
    third = {next(c.text for c in by_change if c.island == island) for island in (0, 1)}
    assert texts(batches, "quick") == {c.text for c in candidates}
    assert texts(batches, "standard") == second
    assert texts(batches, "full") == third
    assert {c.text for c in judged if len(c.differences) == 3} == third
    assert dict(cascade.entered) == {"quick": 11, "standard": 5, "full": 2}
    for c in judged:
        assert c.differences == pytest.approx([changes[c.text]] * len(c.differences))
        assert c.score is not None
        assert c.score.score == pytest.approx(float(WEIGHTS @ REFERENCE) + changes[c.text])


@pytest.mark.parametrize("kind", ["failure", "unfit"])
def test_who_fails_or_does_not_fit_leaves_and_the_next_takes_the_place(kind: str) -> None:
    candidates = made(6)
    changes = {c.text: 0.01 * c.number for c in candidates}
    bad = candidates[0].text  # the best otherwise

    def measure(text: str, seed: int, batch: Batch) -> Result:
        if text != bad:
            return behind(changes)(text, seed, batch)
        return Failure("took longer than 3 s") if kind == "failure" else seed_result(REFERENCE, inside=1.0)

    judged, batches, cascade = evaluate(candidates, measure)
    assert texts(batches, "standard") == {candidates[1].text, candidates[2].text}
    assert cascade.completed["quick"] == 5
    assert judged[0].reason == ("timed out: took longer than 3 s" if kind == "failure" else UNFIT)
    assert (judged[0].score is None) == (kind == "failure")
    assert judged[0].fitness > max(c.fitness for c in judged[1:])
    assert all(c.reason is None for c in judged[1:])


def test_a_failure_with_a_later_seed_is_a_failure() -> None:
    candidates = made(3)
    good = behind({c.text: 0.0 for c in candidates})
    judged, _, _ = evaluate(
        candidates, lambda text, seed, batch: Failure("crashed") if seed == 1 and text != GELU else good(text, seed, batch)
    )
    found = next(c for c in judged if c.reason is not None)
    assert (found.reason, len(found.differences), found.stopped) == ("failed: crashed", 1, None)


def test_all_may_fail() -> None:
    candidates = made(4)
    good = behind({})
    judged, batches, _ = evaluate(candidates, lambda text, seed, batch: good(text, seed, batch) if text == GELU else Failure("no"))
    assert {c.reason for c in judged} == {"failed: no"}
    assert texts(batches, "standard") == set()


# The race

MARGIN = 2 * 0.5 * math.sqrt(0.31 * (1 / 1 + 1 / 1)) * float(np.linalg.norm(WEIGHTS))  # after the first of two seeds


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("took longer than 3 s", "timed out"), ("took more than 2000 MB", "out of memory"), ("the worker crashed (SIGSEGV)", "failed")],
)
def test_failures_are_counted_by_kind(reason: str, kind: str) -> None:
    assert _fate(Failure(reason)) == f"{kind}: {reason}"


def race(offsets: list[float], island: list[int]) -> list[Candidate]:
    """A second stage for these alone, so far behind with the first seed."""
    candidates = [candidate(f"sin({k + 1}*x)", k, home) for k, home in enumerate(island)]
    changes = {c.text: offset for c, offset in zip(candidates, offsets, strict=True)}
    cascade = Cascade([STAGES[1]], 1 / 3, GELU)
    finish(cascade.prepare(), behind(changes))
    asked: list[tuple[str, int]] = []

    def noting(text: str, seed: int, batch: Batch) -> Result:
        asked.append((text, seed))
        return behind(changes)(text, seed, batch)

    judged = finish(cascade.evaluate(candidates), noting)
    for c in judged:
        assert (c.stopped is not None) == ((c.text, 1) not in asked) == (c.differences == ())
        assert c.stopped in (None, "standard")
    return judged


def test_only_those_are_stopped_that_are_further_behind_than_the_margin() -> None:
    judged = race([0.0, 0.1, 0.1 + 0.9 * MARGIN, 0.1 + 1.1 * MARGIN, 0.1 + 5 * MARGIN, -0.1], [0] * 6)
    assert [c.stopped is not None for c in judged] == [False, False, True, True, True, False]
    judged = race([0.0, 0.1, 0.1 + 0.9 * MARGIN, 0.1 + 1.1 * MARGIN], [0] * 4)
    assert [c.stopped is not None for c in judged] == [False, False, False, True]


@given(st.lists(st.tuples(st.floats(-0.5, 1.5), st.integers(0, 2)), min_size=1, max_size=8))
def test_the_race_stops_by_island_and_never_one_that_would_go_on(members: list[tuple[float, int]]) -> None:
    judged = race([offset for offset, _ in members], [home for _, home in members])
    for home in {home for _, home in members}:
        offsets = sorted(offset for offset, island in members if island == home)
        last = offsets[math.ceil(len(offsets) / 3) - 1]
        for (offset, island), found in zip(members, judged, strict=True):
            if island == home and abs(offset - last - MARGIN) > 1e-6:
                assert (found.stopped is not None) == (offset > last + MARGIN)


def test_a_stopped_candidate_keeps_what_it_has_and_goes_no_further() -> None:
    candidates = made(18)
    changes = {c.text: (0.0 if c.number < 2 else 3.0) for c in candidates}
    judged, batches, _ = evaluate(candidates, behind(changes), stages=3)
    stopped = [c for c in judged if c.stopped is not None]
    assert len(stopped) == 4
    assert all(c.stopped == "standard" and len(c.differences) == 1 and c.reason is None and c.score is not None for c in stopped)
    assert texts(batches, "full") == {c.text for c in candidates[:2]}


# Numbers that are not finite, and the reference


@pytest.mark.parametrize("where", ["inside", "outside", "both"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_error_that_is_not_finite_is_the_worst_score(where: str, value: float) -> None:
    candidates = made(3)
    good = behind({c.text: 0.0 for c in candidates})

    def measure(text: str, seed: int, batch: Batch) -> Result:
        found = good(text, seed, batch)
        if text != candidates[0].text or not isinstance(found, SeedResult):
            return found
        bad = (value,) * SHAPE
        inside, outside = (bad if where != "outside" else found.inside), (bad if where != "inside" else found.outside)
        return SeedResult(inside, outside, found.variance, found.constant_error, 0.0, 0.0)

    judged, _, _ = evaluate(candidates, measure)
    found = judged[0].score
    assert found is not None
    assert found.score == pytest.approx(float(WEIGHTS @ REFERENCE) if where == "inside" else 2.0)
    assert judged[0].differences[0] == pytest.approx(found.score - float(WEIGHTS @ REFERENCE))
    assert judged[0].reason == (None if where == "outside" else UNFIT)
    assert found.diverged == SHAPE


def test_a_reference_that_cannot_be_trained_is_an_error() -> None:
    class Broken(FakeScorer):
        def measure(self, batch: Batch) -> Generator[Result]:
            yield from (Failure("took longer than 10 s") for _ in batch.tasks)

    with pytest.raises(RuntimeError, match=r"^the reference .* could not be trained: took longer than 10 s$"):
        drive(Engine(Config(population=8, islands=2)), Broken())
