"""The engine: it accounts for every candidate, trains none twice, keeps to its budgets, and is a function of its seed and results."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Generator, Sequence

import pytest
from fake_search import FakeScorer, Recorder, search

from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Result
from gp.evolution.config import Config
from gp.evolution.engine import Engine, Observer, drive
from gp.evolution.genome import canonical_key
from gp.evolution.hall import text_by_name
from gp.evolution.variation import OPERATORS, operators

SMALL = Config(population=16, islands=2, generations=3, finalists=3, hall=2, tuned=1)
Outcome = tuple[Engine, Recorder, FakeScorer]


@pytest.fixture(scope="module")
def whole() -> Outcome:
    """A search that is long enough for everything to happen."""
    engine, heard, scorer, _ = search(Config(seed=1, population=40, islands=2, generations=6, tuned=2, hall=3))
    return engine, heard, scorer


def newcomers(heard: Recorder) -> list[Candidate]:
    return [c for group in heard.newcomers for c in group]


# Accounts


def test_every_candidate_is_accounted_for(whole: Outcome) -> None:
    engine, heard, _ = whole
    trained = newcomers(heard)
    constants = [c for c in heard.judgements if c.origin in ("tuning", "snapping")]
    assert [len(group) for group in heard.newcomers] == [40] * 6
    assert engine.trained == len(trained) == engine.config.planned
    assert sorted(c.number for c in (*heard.refused, *trained, *constants)) == list(range(engine.made))
    assert sorted(c.number for c in heard.judgements) == sorted(c.number for c in (*trained, *constants))
    assert heard.finished == list(range(6))
    reasons = Counter(c.reason.split(":")[0] for c in (*heard.refused, *heard.judgements) if c.reason is not None)
    assert reasons == engine.admission.rejections
    assert {"duplicate", "constant", "did not fit", "failed"} <= set(reasons)


def test_no_program_is_trained_twice_in_a_stage(whole: Outcome) -> None:
    """But for gelu, which is the reference, and a candidate as well."""
    engine, heard, scorer = whole
    gelu = text_by_name("gelu")
    for stage in ("quick", "standard"):
        tasks = [task for task in scorer.tasks if task[0] == stage and task[1] != gelu]
        assert len(tasks) == len(set(tasks)) > 0
    keys = [canonical_key(c.text) for c in newcomers(heard)]
    assert len(set(keys)) == len(keys) == engine.trained
    assert {c.text for c in newcomers(heard)} == set(scorer.texts("quick"))


def test_children_have_as_many_parents_as_their_operator_takes_which_came_before_and_fit(whole: Outcome) -> None:
    engine, heard, _ = whole
    by_number = {c.number: c for c in heard.judgements}
    children = [c for c in (*heard.refused, *newcomers(heard)) if c.generation > 0]
    for child in children:
        assert len(child.parents) == OPERATORS[child.origin].parents
        assert all(by_number[p].generation < child.generation and by_number[p].reason is None for p in child.parents)
    assert {c.origin for c in children} == set(operators(engine.space))
    first = heard.newcomers[0]
    assert {c.origin for c in first} == {"seed", "random"}
    assert {text_by_name("gelu"), text_by_name("relu")} <= {c.text for c in first}


def test_credit_counts_the_children_that_were_trained(whole: Outcome) -> None:
    engine, heard, _ = whole
    trained = Counter(c.origin for c in newcomers(heard) if c.generation > 0)
    counts = engine.credit.counts
    assert {name: count.children for name, count in counts.items() if count.children} == trained
    assert 0 < sum(count.successes for count in counts.values()) < sum(trained.values())
    assert engine.credit.shares() != Engine(engine.config).credit.shares()


def test_the_best_differ_in_structure_and_are_sorted(whole: Outcome) -> None:
    engine, heard, _ = whole
    best = engine.best(10)
    assert len({c.structure for c in best}) == len(best) == 10
    assert [c.rank for c in best] == sorted(c.rank for c in best)
    assert best[0].fitness == min(c.fitness for c in heard.judgements)


# Course


def test_same_seed_same_course_and_another_seed_another() -> None:
    first, again, other = (search(Config(seed=s, population=16, islands=2, generations=3, tuned=1, hall=2)) for s in (0, 0, 1))
    assert first[1].judgements == again[1].judgements
    assert first[1].refused == again[1].refused
    assert first[2].tasks == again[2].tasks
    assert first[3] == again[3]
    assert first[2].tasks != other[2].tasks
    assert first[3].to_json()["entries"] != other[3].to_json()["entries"]


def test_a_search_improves_and_more_than_one_that_does_not_breed() -> None:
    found: dict[str, list[float]] = {"gp": [], "random": []}
    for strategy in ("gp", "random"):
        for seed in range(3):
            config = Config(seed=seed, strategy=strategy, population=32, islands=2, generations=6, finalists=1, hall=1, tuned=0)
            engine, heard, _, _ = search(config, target="1.7*sin(0.6*x) + 0.2*x")
            first = min(c.fitness for c in heard.judgements if c.generation == 0)
            best = engine.best(1)[0].fitness
            found[strategy].append(best[1])
            if strategy == "gp":
                assert best < first
    assert sum(found["gp"]) < sum(found["random"]) - 0.1


def test_random_search_selects_nothing_and_trains_as_many() -> None:
    config = Config(strategy="random", population=16, islands=2, generations=4, finalists=2, hall=1, tuned=0)
    engine, heard, _, _ = search(config)
    assert engine.trained == len(newcomers(heard)) == config.planned
    assert not any(c.parents for c in (*heard.refused, *newcomers(heard)))
    assert {c.origin for group in heard.newcomers[1:] for c in group} == {"random"}
    assert not any(count.children for count in engine.credit.counts.values())
    _, bred, _, _ = search(Config(population=16, islands=2, generations=1, finalists=2, hall=1, tuned=0))
    assert [c.text for c in heard.newcomers[0]] == [c.text for c in bred.newcomers[0]]  # all strategies start alike


# Budgets


@pytest.mark.parametrize("generations", [1, 3])
def test_generations_are_counted_with_the_first(generations: int) -> None:
    engine, heard, _, _ = search(Config(population=8, islands=2, generations=generations, finalists=2, hall=1, tuned=0))
    assert heard.finished == list(range(generations))
    assert engine.generation == generations


@pytest.mark.parametrize("evaluations", [3, 16, 37])
def test_exactly_as_many_are_trained_as_evaluations_allow(evaluations: int) -> None:
    engine, heard, _, _ = search(Config(population=16, islands=2, generations=9, evaluations=evaluations, finalists=2, hall=1, tuned=0))
    assert engine.trained == len(newcomers(heard)) == evaluations == engine.config.planned


def test_a_search_ends_with_the_generation_in_which_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("gp.evolution.engine.time.monotonic", lambda: now)

    class Clock(Observer):
        def generation_finished(self, generation: int) -> None:
            nonlocal now
            now += 10.0

    for seconds, wanted in ((0.5, 1), (10.0, 1), (10.5, 2), (0.0, 4)):
        now = 0.0
        engine = Engine(Config(population=8, islands=2, generations=4, seconds=seconds, finalists=2, hall=1, tuned=0), [Clock()])
        drive(engine, FakeScorer())
        assert engine.generation == wanted


def test_a_search_ends_with_the_generation_in_which_the_target_is_reached(whole: Outcome) -> None:
    _, heard, _ = whole
    by_generation = [min((c for c in heard.judgements if c.generation <= g), key=lambda c: c.rank) for g in range(6)]
    scores = [c.score.score for c in by_generation if c.score is not None]
    wanted = next(g for g, score in enumerate(scores) if score < scores[0])
    target = scores[wanted]
    engine, again, _, _ = search(Config(seed=1, population=40, islands=2, generations=6, target=target, finalists=1, hall=1, tuned=0))
    assert engine.generation == wanted + 1
    assert again.newcomers == heard.newcomers[: wanted + 1]


def test_initial_programs_take_part() -> None:
    texts = ("sin(3*x)*tanh(x)", "x*sin(0.25*x)", "cos(x)*x")
    _, heard, scorer, _ = search(Config(population=16, islands=2, generations=1, initial=texts, finalists=2, hall=1, tuned=0))
    seeds = {c.text: c.island for c in heard.newcomers[0] if c.origin == "seed"}
    assert {text: seeds[text] for text in texts} == {texts[0]: 0, texts[1]: 1, texts[2]: 0}
    assert set(texts) <= set(scorer.texts("quick"))
    assert {text_by_name("gelu"), text_by_name("relu")} <= set(seeds)


@pytest.mark.parametrize("evaluations", [0, 3])
def test_initial_programs_for_which_there_is_no_place_are_not_made(evaluations: int) -> None:
    texts = tuple(f"sin({k}*x)" for k in range(2, 12))
    config = Config(population=4, islands=1, generations=1, initial=texts, evaluations=evaluations, finalists=1, hall=1, tuned=0)
    engine, heard, _, _ = search(config)
    assert [c.text for c in heard.newcomers[0]] == list(texts[: evaluations or 4])
    assert sorted(c.number for c in (*heard.refused, *heard.newcomers[0])) == list(range(engine.made))


# Asking and telling


def test_ask_says_the_same_until_it_is_told() -> None:
    engine, scorer = Engine(SMALL), FakeScorer()
    with pytest.raises(ValueError, match="0 results are wanted, not 1; ask"):
        engine.tell([next(scorer.measure(Batch("quick", SMALL.tuning, (("tanh(x)", 0),))))])
    batch = engine.ask()
    assert batch is not None
    assert engine.ask() is batch
    results = list(scorer.measure(batch))
    for wrong in ([], results * 2):
        with pytest.raises(ValueError, match=rf"1 results are wanted, not {len(wrong)}; ask\(\) says of what"):
            engine.tell(wrong)
    assert engine.ask() is batch
    engine.tell(results)
    assert engine.ask() not in (batch, None)


def test_asking_and_telling_by_hand_is_what_drive_does() -> None:
    engine, scorer = Engine(SMALL), FakeScorer()
    while (batch := engine.ask()) is not None:
        engine.tell(list(scorer.measure(batch)))
    _, _, driven, hall = search(SMALL)
    assert engine.hall == hall
    assert hall.complete
    assert scorer.tasks == driven.tasks
    assert engine.ask() is None
    with pytest.raises(ValueError, match="0 results are wanted"):
        engine.tell([])


class Order(Observer):
    """A letter for each thing that is heard; and that results come one after another."""

    def __init__(self) -> None:
        self.heard = ""
        self._index = 0

    def rejected(self, candidate: Candidate) -> None:
        self.heard += "r"

    def generation_started(self, generation: int, candidates: Sequence[Candidate]) -> None:
        assert all(c.generation == generation and not c.differences for c in candidates)
        self.heard += "s"

    def batch_started(self, batch: Batch) -> None:
        self._index = 0
        self.heard += "b"

    def measured(self, batch: Batch, index: int, result: Result) -> None:
        assert index == self._index < len(batch.tasks)
        self._index += 1
        self.heard += "m"

    def judged(self, candidate: Candidate) -> None:
        self.heard += "j"

    def generation_finished(self, generation: int) -> None:
        self.heard += "f"


def test_observers_hear_everything_in_order() -> None:
    orders = Order(), Order()
    drive(Engine(dataclasses.replace(SMALL, tuned=3), orders), FakeScorer())
    assert orders[0].heard == orders[1].heard
    reference, generation, constants, finals = "(bm+){2}", "r*s(bm+)+j{16}f", "(bm+)+j+", "(bm+){3}"
    assert re.fullmatch(f"{reference}({generation}){{3}}{constants}{finals}", orders[0].heard)


@pytest.mark.parametrize("after", [1, 4, 20, 45, 90])
def test_a_stopped_search_keeps_what_it_has(after: int) -> None:
    engine, _, scorer, hall = search(SMALL, stop_after=after)
    assert len(scorer.tasks) == after
    assert not hall.complete
    assert hall.baselines == ()
    assert [e.candidate for e in hall.entries] == [c.number for c in engine.best(2)]
    assert all(e.unseen_score is None and e.difference is None for e in hall.entries)
    assert bool(hall.entries) == (engine.generation > 0)
    json.dumps(hall.to_json(), allow_nan=False)


def test_an_engine_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    search(Config(population=4, islands=1, generations=1, finalists=1, hall=1, tuned=0))
    assert capfd.readouterr() == ("", "")


def test_what_stops_a_search_closes_the_scorer() -> None:
    closed = []

    class Scorer(FakeScorer):
        def measure(self, batch: Batch) -> Generator[Result]:
            try:
                yield from super().measure(batch)
            finally:
                closed.append(batch.purpose)

    engine = Engine(SMALL)
    engine.observers.append(Recorder(engine, 5))
    drive(engine, Scorer())
    assert closed == ["quick", "standard", "quick"]
