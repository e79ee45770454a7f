"""The finals and the hall of fame: measured on seeds and data that the search never used, one entry of a structure, plain values."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from fake_search import FakeScorer, Recorder, candidate, finish, search, seed_result
from hypothesis import given
from hypothesis import strategies as st

from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Result
from gp.evolution.config import Config
from gp.evolution.engine import Engine
from gp.evolution.finals import finals, shown_text
from gp.evolution.hall import Entry, Hall, Measured, known_as, text_by_name, unfinished
from gp.evolution.screen import profile
from gp.lab.data import SetName, instances
from gp.lab.measure import outcome
from gp.lab.score import difference, score
from gp.workers import Failure

GELU, RELU, GELUSINE = (text_by_name(name) for name in ("gelu", "relu", "gelusine"))
SEARCH = ("quick", "standard", "tuning")
CONFIG = Config(population=8, islands=2, hall=2)
Whole = tuple[Engine, Recorder, FakeScorer, Hall]


@pytest.fixture(scope="module")
def whole() -> Whole:
    return search(Config(seed=3, population=24, islands=2, generations=5, finalists=8, hall=5, tuned=4), target="1.7*sin(0.6*x) + 0.2*x")


def finalist(text: str, number: int = 0, *, structure: int = -1, difference: float = -0.1) -> Candidate:
    structure = number if structure < 0 else structure
    return dataclasses.replace(candidate(text, number), structure=structure, differences=(difference,), cost=9, size=3)


def hold(finalists: list[Candidate], measure: Any, config: Config = CONFIG) -> tuple[Hall, list[Batch]]:
    """The hall of fame of these, and what was measured for it."""
    batches: list[Batch] = []

    def noting(text: str, seed: int, batch: Batch) -> Result:
        if batch not in batches:
            batches.append(batch)
        found: Result = measure(text, seed, batch)
        return found

    return finish(finals(finalists, config), noting), batches


def noisy(levels: dict[str, float], **others: dict[str, float]) -> Any:
    """Networks with a program's score (0 unless it is said), for some purposes another one, and noise."""

    def measure(text: str, seed: int, batch: Batch) -> Result:
        level = others.get(batch.purpose, levels).get(text, 0.0)
        rng = np.random.default_rng([seed, *batch.purpose.encode(), *text.encode()])
        return seed_result(level - 1 + 0.1 * rng.standard_normal(len(batch.measurement.instances)))

    return measure


def test_the_search_sees_neither_the_seeds_nor_the_data_that_count(whole: Whole) -> None:
    _, heard, _, _ = whole
    sets = [{i.name for i in instances(name)} for name in ("search", "selection", "validation")]
    seen = {i.name for b in heard.batches if b.purpose in SEARCH for i in b.measurement.instances}
    assert seen == sets[0]
    assert not seen & (sets[1] | sets[2])
    assert not sets[1] & sets[2]
    used: dict[str, set[int]] = {}
    for batch in heard.batches:
        used.setdefault(batch.purpose, set()).update(seed for _, seed in batch.tasks)
        assert {seed for _, seed in batch.tasks} <= set(batch.measurement.seeds)
        data: SetName = batch.purpose if batch.purpose in ("selection", "validation") else "search"  # type: ignore[assignment]
        assert batch.measurement.instances == instances(data)
    assert used.keys() == {*SEARCH, "final", "selection", "validation"}
    assert used["final"] == used["selection"] == used["validation"] == {100, 101}
    assert max(seed for purpose in SEARCH for seed in used[purpose]) < 100


def test_finalists_are_the_best_their_tuned_variants_and_the_known_functions(whole: Whole) -> None:
    engine, heard, scorer, hall = whole
    here, selection, unseen = heard.batches[-3:]
    known = {GELU, RELU, GELUSINE}
    tuned = [c for c in heard.judgements if c.origin in ("tuning", "snapping")]
    assert tuned
    by_text = {shown_text(c.text): c for c in heard.judgements if c.reason is None}
    finalists = [by_text[text] for text in scorer.texts("final") if text not in known]
    found = [c for c in finalists if c not in tuned]
    assert {c.number for c in tuned if c.reason is None} == {c.number for c in finalists} - {c.number for c in found}
    assert {c.parents[0] for c in tuned} <= {c.number for c in sorted(found, key=lambda c: c.rank)[:4]}
    assert len(found) == len({c.structure for c in found}) == 8
    assert {c.number for c in engine.best(4)} <= {c.number for c in found}  # half of them; the others may be of other kinds
    assert len({c.behaviour for c in found}) >= 4
    assert here.tasks == selection.tasks
    assert known <= {text for text, _ in here.tasks}
    assert {text for text, _ in unseen.tasks} == known | {e.formula for e in hall.entries}


def test_a_whole_search_ends_in_a_hall_of_fame(whole: Whole) -> None:
    engine, heard, _, hall = whole
    assert hall.complete
    assert engine.hall is hall
    assert [b.name for b in hall.baselines] == ["relu", "gelu", "gelusine"]
    assert len(hall.entries) == 5
    assert all(e.selection_score is not None and e.unseen_score is not None for e in (*hall.entries, *hall.baselines))
    sizes = [len(instances(name)) for name in ("search", "selection")]
    scores = [np.average((e.score, e.selection_score or 0.0), weights=sizes) for e in hall.entries]
    assert scores == sorted(scores)
    by_number = {c.number: c for c in heard.judgements}
    structures = [by_number[e.candidate].structure for e in hall.entries if e.candidate is not None]
    assert len(set(structures)) == 5
    for e in hall.entries:
        c = by_number[e.candidate or 0]
        assert (e.cost, e.size, e.generation, e.origin) == (c.cost, c.size, c.generation, c.origin)
        assert e.formula == shown_text(c.text)
    assert hall.seed == 3
    assert hall.measured == Measured((100, 101), 300, 5e-3)
    gelu = hall.baselines[1]
    assert gelu.difference == gelu.selection_difference == gelu.unseen_difference == (0.0, 0.0, 0.0)


def test_scores_and_intervals_are_those_of_the_lab() -> None:
    measure = noisy({"sin(2*x)": -1.0, RELU: 0.5}, validation={"sin(2*x)": 0.2})
    hall, _ = hold([finalist("sin(2*x)")], measure)
    entry = hall.entries[0]
    for what, purpose, shown, found in (
        (CONFIG.final, "final", entry.score, entry.difference),
        (CONFIG.selection, "selection", entry.selection_score, entry.selection_difference),
        (CONFIG.validation, "validation", entry.unseen_score, entry.unseen_difference),
    ):
        batch = Batch(purpose, what, ())
        mine, gelu = (outcome([measure(text, seed, batch) for seed in what.seeds]) for text in ("sin(2*x)", GELU))
        assert found == difference(mine, gelu, what)
        assert shown == score(mine, what).score
    assert entry.difference is not None
    assert entry.difference[1] < entry.difference[0] < entry.difference[2] < 0
    assert entry.wins_here_alone


def test_entries_are_ranked_by_data_that_the_search_has_not_seen() -> None:
    finalists = [finalist("sin(2*x)", 1, difference=-0.9), finalist("tanh(x)", 2, difference=-0.1), finalist("cos(x)", 3, difference=-0.5)]
    elsewhere = {"sin(2*x)": 0.5, "tanh(x)": -1.0, "cos(x)": -0.5}
    judged = {"sin(2*x)": -3.0, "cos(x)": -3.0}  # what judges them has no part in choosing them
    hall, batches = hold(finalists, noisy({"sin(2*x)": -2.0}, selection=elsewhere, validation=judged))
    assert [e.formula for e in hall.entries] == ["tanh(x)", "cos(x)"]
    assert hall.entries[0].name == "tanh"
    assert {text for text, _ in batches[2].tasks} == {"tanh(x)", "cos(x)", RELU, GELU, GELUSINE}


def test_of_a_structure_the_best_constants_alone_are_kept() -> None:
    finalists = [finalist("sin(2.5*x)", 1, structure=7), finalist("sin(3.5*x)", 2, structure=7), finalist("tanh(x)", 3)]
    hall, _ = hold(finalists, noisy({"sin(2.5*x)": -0.5, "sin(3.5*x)": -1.0, "tanh(x)": 1.0}))
    assert [e.formula for e in hall.entries] == ["sin(3.5*x)", "tanh(x)"]
    apart, _ = hold([finalists[0], dataclasses.replace(finalists[1], structure=8)], noisy({}))  # negative control
    assert len(apart.entries) == 2


def test_an_entry_shows_the_shorter_text_and_is_measured_by_it() -> None:
    hall, batches = hold([finalist("(x + 0)*1*tanh(x)")], noisy({"x*tanh(x)": -1.0}))
    assert [e.formula for e in hall.entries] == ["x*tanh(x)"]
    assert ("x*tanh(x)", 100) in batches[0].tasks
    assert ("(x + 0)*1*tanh(x)", 100) not in batches[0].tasks


def test_the_shown_text_has_readable_constants_and_means_nearly_the_same() -> None:
    assert shown_text("0.432*(0.518*atan(x))") == "0.2238*atan(x)"
    assert shown_text("2.5*sin(0.618*x)") == "2.5*sin(0.618*x)"
    for text in ("0.123*(4.567*sin(x/0.789)) + x", "x^2*(0.333*0.777*tanh(x))", "param p1 = 0.123; 0.9*0.777*(p1*sin(x))"):
        rounded = shown_text(text)
        assert shown_text(rounded) == rounded
        assert np.abs(profile(rounded).value - profile(text).value).max() < 1e-3 * np.abs(profile(text).value).max()


def test_who_fails_in_the_finals_is_left_out() -> None:
    good = noisy({"sin(2*x)": -1.0})

    def measure(text: str, seed: int, batch: Batch) -> Result:
        lost = (text, seed, batch.purpose) in (("sin(2*x)", 101, "final"), ("x^2", 100, "selection"), ("tanh(x)", 101, "validation"))
        return Failure("took longer than 30 s") if lost or text == RELU else good(text, seed, batch)

    finalists = [finalist(text, k) for k, text in enumerate(("sin(2*x)", "x^2", "tanh(x)", "cos(x)"))]
    hall, _ = hold(finalists, measure, Config(population=8, islands=2, hall=4))
    assert [e.formula for e in hall.entries] == ["cos(x)"]
    assert [b.name for b in hall.baselines] == ["gelu", "gelusine"]
    assert hall.missing == dict.fromkeys(("relu", "sin(2*x)", "x^2", "tanh"), "took longer than 30 s")
    assert hall.lacks_baselines
    assert Hall.from_json(json.loads(json.dumps(hall.to_json(), allow_nan=False))) == hall


def test_without_the_reference_there_are_no_differences() -> None:
    good = noisy({})
    hall, _ = hold([finalist("tanh(x)")], lambda text, seed, batch: Failure("no") if text == GELU else good(text, seed, batch))
    assert [e.difference for e in (*hall.entries, *hall.baselines)] == [None] * 3


def test_a_search_that_found_nothing_has_an_empty_hall() -> None:
    hall, batches = hold([], noisy({}))
    assert hall.entries == ()
    assert len(hall.baselines) == 3
    assert len(batches) == 3
    assert Hall.from_json(json.loads(json.dumps(hall.to_json(), allow_nan=False))) == hall


# Plain values


def test_a_hall_comes_back_from_json(whole: Whole) -> None:
    engine, _, _, hall = whole
    for found in (hall, unfinished(engine.best(5), engine.config)):
        text = json.dumps(found.to_json(), allow_nan=False)
        assert Hall.from_json(json.loads(text)) == found
        assert [e["rank"] for e in json.loads(text)["entries"]] == [1, 2, 3, 4, 5]


INTERVAL = st.none() | st.tuples(*[st.floats(-5, 5)] * 3)
ENTRY = st.builds(
    Entry, st.text(max_size=20), st.none() | st.just("relu"), st.floats(-5, 2), INTERVAL, st.none() | st.floats(-5, 2), INTERVAL,
    st.none() | st.floats(-5, 2), INTERVAL,
    st.dictionaries(st.sampled_from(["chaos", "feynman"]), st.floats(-5, 2)), st.floats(-5, 2), st.floats(-5, 2), st.floats(-9, 9),
    st.none() | st.floats(0, 1e30), st.integers(0, 99), *[st.none() | st.integers(0, 99)] * 4, st.none() | st.just("snap"),
)  # fmt: skip


@given(st.lists(ENTRY, max_size=3), st.booleans(), st.integers(0, 2**63 - 1), st.lists(st.integers(0, 200), max_size=4))
def test_any_hall_comes_back_from_json(entries: list[Entry], complete: bool, seed: int, seeds: list[int]) -> None:
    hall = Hall(tuple(entries), tuple(entries[:1]), complete, seed, Measured(tuple(seeds), 300, 0.1 + 0.2))
    assert Hall.from_json(json.loads(json.dumps(hall.to_json(), allow_nan=False))) == hall


def test_a_win_on_the_data_of_the_search_alone_is_marked() -> None:
    hall, _ = hold([finalist("tanh(x)")], noisy({"tanh(x)": -1.0}, validation={"tanh(x)": 0.0}))
    entry = dataclasses.replace(hall.entries[0], difference=(-0.5, -0.7, -0.3), unseen_difference=(-0.1, -0.3, 0.1))
    assert entry.wins_here_alone
    assert not dataclasses.replace(entry, unseen_difference=(-0.2, -0.3, -0.1)).wins_here_alone
    assert not dataclasses.replace(entry, difference=(-0.5, -1.1, 0.1)).wins_here_alone
    assert not dataclasses.replace(entry, unseen_difference=None).wins_here_alone
    assert not dataclasses.replace(entry, difference=None).wins_here_alone


def test_an_error_that_is_not_finite_is_null_in_json() -> None:
    def measure(text: str, seed: int, batch: Batch) -> Result:
        found = seed_result([-1.0] * len(batch.measurement.instances))
        return dataclasses.replace(found, outside=(math.inf,) * len(found.outside), inside=(math.nan,) * len(found.inside))

    hall, _ = hold([finalist("tanh(x)")], measure)
    assert hall.entries[0].ood_loss is None
    assert hall.entries[0].score == pytest.approx(2.0)
    json.dumps(hall.to_json(), allow_nan=False)


def test_functions_of_the_catalogue_are_known_by_name() -> None:
    assert known_as("where(x <= 0, 0, x)") == known_as("relu(x)") == "relu"
    assert known_as("sigmoid(x)*x") == "silu"
    assert known_as("sin(1.2345*x)") is None
