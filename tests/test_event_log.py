"""The event log and the curves for TensorBoard say what happened, and one sentence where they cannot be written."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_search import FakeScorer, Recorder

from gp.cli import main
from gp.event_log import EventLog
from gp.evolution.config import Config
from gp.evolution.engine import Engine, drive
from gp.evolution.recall import RecallingScorer
from gp.run_store import RunStore
from gp.tensorboard_log import TensorBoardLog

CONFIG = Config(population=24, generations=3, islands=2, stages=2, tuned=1, finalists=4, seed=3)


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]


def _of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Recorder, FakeScorer, list[dict[str, Any]]]:
    """A whole run with its log."""
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    engine, recorder, scorer = Engine(CONFIG), Recorder(), FakeScorer()
    with EventLog(path, engine) as log:
        engine.observers = [recorder, log]
        drive(engine, scorer)
    return engine, recorder, scorer, _events(path)


def test_a_run_from_beginning_to_end(logged: tuple[Engine, Recorder, FakeScorer, list[dict[str, Any]]]) -> None:
    engine, recorder, _, events = logged
    assert events[0]["event"] == "run"
    assert events[0]["settings"] == CONFIG.to_json()
    assert events[0]["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    times = [event["time"] for event in events]
    assert times == sorted(times)
    assert times[0] >= 0
    assert engine.hall is not None
    assert {key: events[-1][key] for key in ("event", "stopped")} == {"event": "finished", "stopped": False}
    assert events[-1]["hall"] == json.loads(json.dumps(engine.hall.to_json()))
    assert [(e["number"], e["candidates"]) for e in _of(events, "generation")] == [(k, len(n)) for k, n in enumerate(recorder.newcomers)]
    assert {event["event"] for event in events} == {
        "run", "generation", "batch", "rejected", "judged", "generation_finished", "finished",
    }  # fmt: skip


def test_candidates_and_their_fate(logged: tuple[Engine, Recorder, FakeScorer, list[dict[str, Any]]]) -> None:
    _, recorder, _, events = logged
    rejected, judged = _of(events, "rejected"), _of(events, "judged")
    assert [(e["number"], e["text"], e["reason"]) for e in rejected] == [(c.number, c.text, c.reason) for c in recorder.refused]
    assert [e["number"] for e in judged] == [c.number for c in recorder.judgements]
    for event, candidate in zip(judged, recorder.judgements, strict=True):
        assert tuple(event["differences"]) == candidate.differences
        assert (event["score"] is None) is (candidate.score is None)
        if candidate.score is not None:
            assert event["score"]["score"] == candidate.score.score
        for key in ("generation", "island", "origin", "text", "cost", "size", "stopped", "reason"):
            assert event[key] == getattr(candidate, key)
        assert tuple(event["parents"]) == candidate.parents
    assert any(e["parents"] for e in judged)
    assert any(e["reason"] and e["reason"].startswith("failed") for e in judged)


def test_batches_and_generations(logged: tuple[Engine, Recorder, FakeScorer, list[dict[str, Any]]]) -> None:
    engine, recorder, scorer, events = logged
    batches = _of(events, "batch")
    assert [(e["purpose"], e["tasks"]) for e in batches] == [(b.purpose, len(b.tasks)) for b in recorder.batches]
    assert sum(e["failures"] for e in batches) == sum("erf" in text for _, text, _ in scorer.tasks[3:] if text != scorer.tasks[0][1]) > 0
    generations = _of(events, "generation_finished")
    assert [e["number"] for e in generations] == [0, 1, 2]
    for stage in ("quick", "standard"):
        assert sum(e["funnel"][stage]["entered"] for e in generations) == engine.cascade.entered[stage]
    assert generations[-1]["shares"] == engine.credit.shares()
    assert generations[-1]["best"]["text"] == engine.best(1)[0].text
    assert generations[-1]["archive"] == sum(len(island.archive) for island in engine.islands) > 0


def test_a_line_is_on_disk_when_it_happens(tmp_path: Path) -> None:
    engine = Engine(CONFIG)
    with EventLog(tmp_path / "log", engine) as log:
        assert [e["event"] for e in _events(tmp_path / "log")] == ["run"]
        log.generation_started(0, [])
        assert [e["event"] for e in _events(tmp_path / "log")] == ["run", "generation"]


def test_a_run_that_goes_on_appends(tmp_path: Path) -> None:
    """It was killed within a line: that line is lost, and no other."""
    path = tmp_path / "log"

    def run(stop_after: int) -> None:
        with RunStore.resume(tmp_path / "run") if (tmp_path / "run").exists() else RunStore.create(tmp_path / "run", CONFIG) as store:
            engine = Engine(CONFIG)
            store.attach(engine)
            with EventLog(path, engine) as log:
                engine.observers += [log, Recorder(engine, stop_after)]
                drive(engine, RecallingScorer(FakeScorer(), store))

    run(100)
    first = _events(path)
    assert first[-1]["stopped"]
    assert not first[-1]["hall"]["complete"]
    assert first[-1]["hall"]["entries"]
    path.write_bytes(path.read_bytes()[:-50])
    run(10**9)
    lines = path.read_text().splitlines()
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[len(first) - 1])
    del lines[len(first) - 1]
    events = [json.loads(line) for line in lines]
    assert [e["generation"] for e in _of(events, "run")] == [0, len(_of(first, "generation_finished"))]
    assert [e["number"] for e in _of(events, "generation_finished")] == [0, 1, 2]
    assert [e["stopped"] for e in _of(events, "finished")] == [False]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_on_a_full_disk_the_log_is_given_up_and_the_run_goes_on() -> None:
    engine, said = Engine(CONFIG), list[str]()
    with EventLog(Path("/dev/full"), engine, said.append) as log:
        engine.observers.append(log)
        assert drive(engine, FakeScorer()).complete
    assert said == ["/dev/full: the event log is not whole: No space left on device"]


def test_wrong_files_are_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--population", "8", "--set", "islands=1", "--out", "a", "--quiet", "--log", "none/log"]) == 2
    assert capsys.readouterr().err == "gp: --log none/log: there is no directory none\n"
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    assert main(["run", "--population", "8", "--set", "islands=1", "--out", "b", "--quiet", "--tensorboard", "curves"]) == 2
    message = "gp: --tensorboard needs tensorboardX, which is not installed: pip install 'actgp[tensorboard]'\n"
    assert capsys.readouterr().err == message
    assert not (tmp_path / "curves").exists()


def _scalars(folder: Path) -> dict[str, dict[int, float]]:
    """All values in a folder of TensorBoard's, by tag and step: records of length, its checksum, data, their checksum (TFRecord)."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[int, float]] = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_curves_for_tensorboard(tmp_path: Path) -> None:
    engine, recorder = Engine(CONFIG), Recorder()
    with TensorBoardLog(tmp_path / "new" / "curves", engine) as log:
        engine.observers = [recorder, log]
        drive(engine, FakeScorer())
        curves = _scalars(tmp_path / "new" / "curves")  # on disk at once
    best = engine.best(1)[0]
    assert best.score is not None
    assert curves["best/difference"][2] == pytest.approx(best.differences[-1], rel=1e-6)
    assert curves["best/score"][2] == pytest.approx(best.score.score, rel=1e-6)
    assert [curves["funnel/quick_entered"][k] for k in range(3)] == [len(n) for n in recorder.newcomers]
    assert sum(curves["funnel/standard_completed"].values()) == engine.cascade.completed["standard"]
    assert sum(curves["rejected/duplicate"].values()) == engine.admission.rejections["duplicate"]
    assert sum(curves["rejected/did_not_fit"].values()) == engine.admission.rejections["did not fit"] > 0
    assert sum(values[2] for tag, values in curves.items() if tag.startswith("operator/")) == pytest.approx(1)
    assert min(curves["speed/measurements_per_second"].values()) > 0
    assert {"median/quick", "median/standard", "archive/cells"} <= curves.keys()
