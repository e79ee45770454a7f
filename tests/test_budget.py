"""What ends a search, and random search beside evolution, with a scorer that trains nothing."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from fake_search import FakeScorer, Recorder

from gp.cli import main
from gp.cli.run import search
from gp.evolution.config import Config
from gp.evolution.engine import Engine
from gp.evolution.genome import canonical_key
from gp.evolution.hall import make_hall
from gp.run_store import RunStore, read_about, read_progress


def run(config: Config) -> tuple[Engine, Recorder]:
    recorder = Recorder()
    engine = Engine(config, FakeScorer(), [recorder])
    engine.run()
    return engine, recorder


def test_random_search_starts_as_evolution_does_and_selects_nothing() -> None:
    evolved, other = (run(Config(seed=1, population=20, generations=4, strategy=s)) for s in ("gp", "random"))
    assert len(evolved[0].candidates) == len(other[0].candidates) == evolved[0].config.planned
    assert other[1].counts == [20, 15, 15, 15]
    first = [[c.text for c in engine.candidates if c.generation == 0] for engine, _ in (evolved, other)]
    assert first[0] == first[1]
    later = [row for row in other[1].rows if row["generation"]]
    assert {row["origin"] for row in later} == {"random"}
    assert not any(row["parents"] for row in later)
    keys = [canonical_key(c.text) for c in other[0].candidates]
    assert len(keys) == len(set(keys))
    assert [c.text for c in evolved[0].candidates] != [c.text for c in other[0].candidates]


def test_random_search_follows_its_seed() -> None:
    runs = [run(Config(seed=s, population=12, generations=3, strategy="random"))[1].rows for s in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("strategy", ["gp", "random"])
@pytest.mark.parametrize(
    ("evaluations", "counts"), [(1, [1]), (5, [5]), (12, [12]), (14, [12, 2]), (21, [12, 9]), (30, [12, 9, 9]), (99, [12, 9, 9])]
)
def test_evaluations_are_bounded(strategy: str, evaluations: int, counts: list[int]) -> None:
    config = Config(seed=2, population=12, generations=3, strategy=strategy, evaluations=evaluations)  # type: ignore[arg-type]
    engine, recorder = run(config)
    assert recorder.counts == counts
    assert len(engine.candidates) == sum(counts) == config.planned
    assert make_hall(engine).complete
    assert sorted(row["number"] for row in recorder.rows) == list(range(len(recorder.rows)))


@pytest.mark.parametrize("strategy", ["gp", "random"])
def test_a_target_ends_the_search_with_the_generation_that_reaches_it(strategy: str) -> None:
    config = Config(seed=3, population=12, generations=8, strategy=strategy)  # type: ignore[arg-type]
    whole, _ = run(config)
    best = [min(c.fitness for c in whole.candidates if c.generation <= k) for k in range(8)]
    last = next(k for k in range(8) if best[k] < best[0]) if best[-1] < best[0] else 0
    engine, recorder = run(Config(seed=3, population=12, generations=8, strategy=strategy, target=best[last]))  # type: ignore[arg-type]
    assert len(recorder.counts) == last + 1
    assert engine.best(1)[0].fitness == best[last]
    assert not engine.stopping
    assert run(Config(seed=3, population=12, generations=8, target=-5))[1].counts == [12] + 7 * [9]


def test_time_ends_the_search_with_a_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(100, 10)  # read when the search starts and after each generation
    monkeypatch.setattr("gp.evolution.engine.time.monotonic", lambda: next(clock))
    assert run(Config(population=12, generations=8, seconds=30))[1].counts == [12, 9, 9]


@pytest.fixture
def nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gp.evolution.evaluator.Evaluator.scores", FakeScorer.scores)
    monkeypatch.setattr("gp.evolution.evaluator.Evaluator.texts", [], raising=False)


@pytest.mark.usefixtures("nothing_is_trained")
def test_the_command_keeps_to_its_budget_and_records_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    arguments = ["--strategy", "random", "--set", "search.evaluations=9", "--population", "6", "--quiet", "--out", str(folder)]
    assert main(["run", *arguments]) == 0
    config = json.loads(read_about(folder)["config"])
    assert (config["strategy"], config["evaluations"], config["population"]) == ("random", 9, 6)
    assert read_progress(folder)[0] == 2
    before = (folder / "hall_of_fame.json").read_bytes()
    assert main(["resume", str(folder), "--quiet"]) == 0
    assert (folder / "hall_of_fame.json").read_bytes() == before
    assert main(["top", str(folder)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("nothing_is_trained")
def test_a_run_that_time_has_ended_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resumed, it has the generations that it had, whatever the clock says now."""
    config = Config(population=12, generations=8, seconds=1e-9)
    with RunStore.create(tmp_path / "run", config) as store:
        hall, _ = search(store, 1, quiet=True, to_stderr=False)
    before = (tmp_path / "run" / "hall_of_fame.json").read_bytes()
    monkeypatch.setattr("gp.evolution.engine.time.monotonic", lambda: 0.0)
    with RunStore.resume(tmp_path / "run") as store:
        assert store.config == config
        again, stopped = search(store, 1, quiet=True, to_stderr=False)
    assert hall.complete
    assert again.to_json() == hall.to_json()
    assert not stopped
    assert (tmp_path / "run" / "hall_of_fame.json").read_bytes() == before
