"""`gp.search` and `gp.resume` from Python: settings, observers, the record, the result, and what is wrong with a call."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from fake_search import FakeScorer, Recorder

import gp
from gp.evolution.cascade import Batch, Result
from gp.evolution.config import Config, ConfigError
from gp.evolution.evaluator import Evaluator
from gp.evolution.hall import Hall
from gp.evolution.settings import configure
from gp.run import Run
from gp.run_file import RunDirectoryError
from gp.run_reading import read_hall
from gp.run_store import RunStore

SETTINGS: dict[str, Any] = {"population": 8, "islands": 2, "generations": 2, "finalists": 2, "hall": 2, "tuned": 0}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """The search trains nothing; what was measured."""
    scorer = FakeScorer()

    def measure(self: Evaluator, batch: Batch) -> Generator[Result]:
        return scorer.measure(batch)

    monkeypatch.setattr(Evaluator, "measure", measure)
    return scorer.tasks


def test_a_search_really_trains() -> None:
    """The one test here without the fake."""
    found = gp.search({**SETTINGS, "steps": 10, "gate": 2, "generations": 1, "stages": 1})
    assert len(found.formulas) == 2
    assert found.hall.complete
    assert all(gp.activation(formula) is not None for formula in found.formulas)


@pytest.mark.usefixtures("fake")
def test_settings_are_a_mapping_a_config_or_nothing_but_a_preset() -> None:
    by_mapping = gp.search(SETTINGS)
    assert isinstance(by_mapping, Run)
    assert by_mapping.config == configure(None, None, (), SETTINGS)
    by_config = gp.search(Config(**SETTINGS))
    assert by_config.config == Config(**SETTINGS)
    assert by_config.hall == by_mapping.hall
    preset = gp.search({**SETTINGS, "generations": 1}, preset="thorough")
    assert preset.config == configure("thorough", None, (), {**SETTINGS, "generations": 1})
    assert preset.config.stages == 3
    assert gp.search({**SETTINGS, "seed": 1}).hall != by_mapping.hall


@pytest.mark.usefixtures("fake")
def test_a_run_has_its_hall_and_its_formulas_the_best_first() -> None:
    found = gp.search(SETTINGS)
    assert found.formulas == [entry.formula for entry in found.hall.entries]
    assert len(found.formulas) == 2
    assert (found.folder, found.stopped) == (None, False)


@pytest.mark.usefixtures("fake")
def test_observers_hear_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    heard, other = Recorder(), Recorder()
    gp.search(SETTINGS, observers=[heard, other])
    assert heard.finished == other.finished == [0, 1]
    assert heard.results > 16
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("fake")
def test_a_record_is_written_where_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = gp.search(SETTINGS)
    assert list(tmp_path.iterdir()) == []
    kept = gp.search(SETTINGS, out="here/run")
    assert kept.hall == plain.hall == read_hall(tmp_path / "here" / "run")
    assert kept.folder == Path("here/run")
    assert Hall.from_json(json.loads(Path("here/run/hall_of_fame.json").read_text())) == plain.hall
    with pytest.raises(RunDirectoryError, match=r"here/run is not empty; .* gp resume here/run goes on with the run in it"):
        gp.search(SETTINGS, out=Path("here/run"))


def test_an_interrupted_search_is_gone_on_with(fake: list[tuple[str, str, int]], tmp_path: Path) -> None:
    whole = gp.search(SETTINGS, out=tmp_path / "whole")
    count = len(fake)
    fake.clear()

    class Stopping(Recorder):
        def measured(self, batch: Batch, index: int, result: Result) -> None:
            super().measured(batch, index, result)
            if self.results == 10:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gp.search(SETTINGS, out=tmp_path / "run", observers=[Stopping()])
    before = len(fake)
    heard = Recorder()
    found = gp.resume(tmp_path / "run", workers=1, observers=[heard])
    assert found.hall == whole.hall
    assert not found.stopped
    assert len(fake) == count
    assert 0 < before <= 10
    assert heard.finished == [0, 1]
    again = gp.resume(str(tmp_path / "run"))
    assert again.hall == whole.hall
    assert len(fake) == count


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("config", "preset", "message"),
    [
        ({"population": 2}, None, "population must be a whole number from 4 to 100000, not 2"),
        ({"popluation": 8}, None, "there is no setting 'popluation', did you mean 'population'?"),
        ({"weights": {"sin": -2}}, None, "weights must be a table of numbers from 0 on"),
        ({"population": 8, "islands": 4}, None, "population must be at least 4 for each of the 4 islands, not 8"),
        (Config(), "quick", "a Config has all settings; give a mapping beside a preset"),
        ({}, "slow", "there is no preset 'slow'"),
    ],
)
def test_wrong_settings_are_an_error_before_anything_is_written(config: Any, preset: str | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        gp.search(config, preset=preset, out=tmp_path / "run")
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("fake")
def test_weights_of_what_there_is_not_are_an_error() -> None:
    with pytest.raises(ConfigError, match="weights: there is no production 'sinn', did you mean 'sin'"):
        gp.search({**SETTINGS, "weights": {"sinn": 2}})


@pytest.mark.usefixtures("fake")
def test_an_initial_program_with_a_mistake_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((gp.DSLError, ConfigError), match="line 1"):
        gp.search({**SETTINGS, "initial": ["sin(x"]}, out=tmp_path / "run")


def test_there_must_be_a_run_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="there is no run in"):
        gp.resume(tmp_path)
    with RunStore.create(tmp_path / "run", Config()), pytest.raises(RunDirectoryError, match="another process is writing the run"):
        gp.resume(tmp_path / "run")
