"""A run that is stopped anywhere goes on from its record, and ends as if nothing had been: nothing is measured twice."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_search import FakeScorer, Recorder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gp.evolution.admission import DUPLICATE, Admission
from gp.evolution.cascade import Batch
from gp.evolution.config import Config
from gp.evolution.engine import Engine, drive
from gp.evolution.genome import genome
from gp.evolution.hall import Hall
from gp.evolution.recall import RecallingScorer
from gp.run_file import FILE
from gp.run_store import RunStore

CONFIG = Config(seed=6, population=16, islands=2, generations=4, migration=2, finalists=4, hall=2, tuned=2)
TARGET = "1.7*sin(0.6*x) + 0.2*x"  # so that there are constants to tune
Rows = list[tuple[object, ...]]


@dataclass
class Part:
    """What one process would have done of a run."""

    engine: Engine
    heard: Recorder
    scorer: FakeScorer
    hall: Hall


def part(folder: Path, stop_after: int = 10**9) -> Part:
    """Begin a run, or go on with it, until so many results were told."""
    with RunStore.resume(folder) if (folder / FILE).exists() else RunStore.create(folder, CONFIG) as store:
        engine, scorer = Engine(store.config), FakeScorer(TARGET)
        store.attach(engine)
        heard = Recorder(engine, stop_after)
        engine.observers.append(heard)
        hall = drive(engine, RecallingScorer(scorer, store))
        if engine.hall is not None:
            store.save_hall(hall)
    return Part(engine, heard, scorer, hall)


def rows(folder: Path, query: str = "SELECT * FROM candidates ORDER BY number") -> Rows:
    connection = sqlite3.connect(folder / FILE)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Part]:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, part(folder)


def places(batches: list[Batch]) -> dict[str, tuple[int, int]]:
    """Where results of each purpose begin and end first, among all results."""
    found: dict[str, tuple[int, int]] = {}
    begin = 0
    for batch in batches:
        end = begin + len(batch.tasks)
        if len(batch.tasks) > 1:  # not the reference
            found.setdefault(batch.purpose, (begin, end))
        begin = end
    return found


def check(folder: Path, parts: list[Part], whole: tuple[Path, Part]) -> None:
    """The parts together did what the whole did, once."""
    assert parts[-1].hall == whole[1].hall
    assert (folder / "hall_of_fame.json").read_bytes() == (whole[0] / "hall_of_fame.json").read_bytes()
    assert rows(folder) == rows(whole[0])
    query = "SELECT measurement, text, seed, inside, outside, failure FROM results ORDER BY measurement, text, seed"
    assert rows(folder, query) == rows(whole[0], query)
    tasks = [task for p in parts for task in p.scorer.tasks]
    assert sorted(tasks) == sorted(whole[1].scorer.tasks)
    assert parts[-1].engine.state() == whole[1].engine.state()


def test_the_record_holds_everything(whole: tuple[Path, Part]) -> None:
    folder, all_of_it = whole
    heard = all_of_it.heard
    named = {c.number: c for c in (*heard.refused, *heard.judgements)}
    assert [row[0] for row in rows(folder)] == list(range(all_of_it.engine.made)) == sorted(named)
    assert any(c.origin == "tuning" for c in named.values())
    columns = "number, generation, island, origin, parents, text, cost, size, stages, difference, differences, stopped, reason"
    for number, generation, island, origin, parents, text, cost, size, stages, difference, differences, stopped, reason in rows(
        folder, f"SELECT {columns} FROM candidates"
    ):
        c = named[number]  # type: ignore[index]
        assert (generation, island, origin, text, cost, size) == (c.generation, c.island, c.origin, c.text, c.cost, c.size)
        assert (stages, stopped, reason) == (len(c.differences), c.stopped, c.reason)
        assert json.loads(parents) == list(c.parents)  # type: ignore[arg-type]
        assert json.loads(differences) == list(c.differences)  # type: ignore[arg-type]
        assert difference == (c.differences[-1] if c.differences else None)
    assert len(all_of_it.scorer.tasks) == len(set(all_of_it.scorer.tasks)) == rows(folder, "SELECT count(*) FROM results")[0][0]


@pytest.mark.parametrize("purpose", ["quick", "standard", "tuning", "final", "selection", "validation"])
@pytest.mark.parametrize("where", ["before", "inside", "last"])
def test_stopped_in_any_phase_it_ends_the_same(purpose: str, where: str, whole: tuple[Path, Part], tmp_path: Path) -> None:
    begin, end = places(whole[1].heard.batches)[purpose]
    stop_after = {"before": begin, "inside": (begin + end) // 2, "last": end - 1}[where]
    parts = [part(tmp_path / "run", stop_after), part(tmp_path / "run")]
    assert len(parts[0].scorer.tasks) <= stop_after
    assert not parts[0].hall.complete
    check(tmp_path / "run", parts, whole)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(1, 150), min_size=1, max_size=4))
def test_stopped_again_and_again_it_ends_the_same(
    stops: list[int], whole: tuple[Path, Part], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("again") / "run"
    parts = [part(folder, stop) for stop in stops]
    check(folder, [*parts, part(folder)], whole)


def test_between_generations_only_the_state_counts(whole: tuple[Path, Part], tmp_path: Path) -> None:
    """Stopped with the last result of a generation, a run does not do that generation again."""
    sizes = [len(batch.tasks) for batch in whole[1].heard.batches]
    third_quick = [k for k, batch in enumerate(whole[1].heard.batches) if batch.purpose == "quick" and len(batch.tasks) > 1][2]
    first = part(tmp_path / "run", sum(sizes[:third_quick]))
    assert first.engine.generation == 2
    second = part(tmp_path / "run")
    assert second.heard.finished == [2, 3]
    assert [group[0].generation for group in second.heard.newcomers] == [2, 3]
    check(tmp_path / "run", [first, second], whole)


def test_a_finished_run_does_nothing_more(whole: tuple[Path, Part]) -> None:
    before = rows(whole[0])
    again = part(whole[0])
    assert again.scorer.tasks == []
    assert again.heard.newcomers == []
    assert again.hall == whole[1].hall
    assert rows(whole[0]) == before


def test_known_functions_are_known_after_the_break(whole: tuple[Path, Part], tmp_path: Path) -> None:
    sizes = [len(batch.tasks) for batch in whole[1].heard.batches]
    first = part(tmp_path / "run", sum(sizes[:-3]) - 1)
    early = [c for c in (*first.heard.newcomers[0], *first.heard.refused) if c.generation == 0 and c.keys]
    assert {c.reason for c in early} >= {None, "constant"}
    with RunStore.resume(tmp_path / "run") as store:
        engine = Engine(store.config)
        store.attach(engine)
    assert engine.generation > 1
    assert {engine.admission.judge(genome(c.text)).reason for c in early} == {DUPLICATE}
    fresh = Admission(CONFIG.max_size, CONFIG.max_cost)  # negative control
    assert [fresh.judge(genome(c.text)).reason for c in early if c.reason is None] == [None] * sum(c.reason is None for c in early)
    respelled = [genome(f"0 + ({c.text})*1") for c in early if c.reason is None and c.size < 18]
    assert len(respelled) > 8
    assert {engine.admission.judge(program).reason for program in respelled} == {DUPLICATE}


def test_a_state_is_the_same_when_it_is_written_again(whole: tuple[Path, Part], tmp_path: Path) -> None:
    sizes = [len(batch.tasks) for batch in whole[1].heard.batches]
    part(tmp_path / "run", sum(sizes[: len(sizes) // 2]))
    with RunStore.resume(tmp_path / "run") as store:
        engine = Engine(store.config)
        store.attach(engine)
    written = json.loads(str(rows(tmp_path / "run", "SELECT value FROM about WHERE name = 'state'")[0][0]))
    assert json.loads(json.dumps(engine.state())) == written
