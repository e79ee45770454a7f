"""A run's record: it survives being killed, refuses a second writer, and says in one sentence what is wrong with it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from fake_search import FakeScorer, Recorder

from gp.cli import main
from gp.evolution.cascade import Batch, Result
from gp.evolution.config import Config
from gp.evolution.engine import Engine, drive
from gp.evolution.hall import Hall, Measured, text_by_name
from gp.evolution.recall import RecallingScorer
from gp.lab.measure import SeedResult
from gp.run_file import FILE, RunDirectoryError, put
from gp.run_reading import read_about, read_best, read_hall, read_progress
from gp.run_store import RunStore
from gp.workers import Failure

ROOT = Path(__file__).parents[1]
SMALL = ["--population", "8", "--generations", "3", "--steps", "20", "--seed", "11", "--workers", "2", "--quiet"]
SMALL += [word for setting in ("islands=2", "finalists=2", "hall=2", "tuned=1", "gate=2") for word in ("--set", setting)]
CONFIG = Config(population=8, islands=2, generations=2)


def command(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "gp", *arguments], cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    process = command("run", *SMALL, "--out", "run", cwd=folder)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    return folder / "run"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.create(tmp_path / "run", CONFIG) as store:
        yield store


def rows(folder: Path, query: str = "SELECT * FROM candidates ORDER BY number") -> list[tuple[object, ...]]:
    connection = sqlite3.connect(folder / FILE)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def measured(folder: Path) -> int:
    """How many results are on record; none while the record is being set up."""
    try:
        read_about(folder)
    except RunDirectoryError:
        return 0
    return int(str(rows(folder, "SELECT count(*) FROM results")[0][0]))


# Real runs


def test_killed_again_and_again_it_ends_the_same(whole: Path, tmp_path: Path) -> None:
    """kill -9 at random moments; the hall of fame is that of the uninterrupted run, byte for byte."""
    rng, total = random.Random(2), measured(whole)
    arguments = ("run", *SMALL, "--out", "run")
    for target in sorted(rng.sample(range(1, total - 5), 3)):
        process = command(*arguments, cwd=tmp_path)
        limit = time.monotonic() + 120  # on a busy machine
        while measured(tmp_path / "run") < target and process.poll() is None and time.monotonic() < limit:
            time.sleep(rng.uniform(0.0, 0.05))
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert target <= measured(tmp_path / "run") < total
        arguments = ("resume", "run", "--quiet")
    process = command(*arguments, cwd=tmp_path)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Hall of fame" in output
    assert (tmp_path / "run" / "hall_of_fame.json").read_bytes() == (whole / "hall_of_fame.json").read_bytes()
    assert rows(tmp_path / "run") == rows(whole)
    query = "SELECT measurement, text, seed, inside, outside, failure FROM results ORDER BY measurement, text, seed"
    assert rows(tmp_path / "run", query) == rows(whole, query)


def children(process: int) -> list[int]:
    """The workers of a run."""
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="the children of a process are read from /proc")
def test_workers_killed_one_after_another_change_nothing(whole: Path, tmp_path: Path) -> None:
    """From the first, while gelu is measured, to the finals."""
    process = command("run", *SMALL, "--out", "run", cwd=tmp_path)
    total = measured(whole)
    killed = 0
    for least in (0, 2, total // 2, total - 12):
        while measured(tmp_path / "run") < least or not (workers := children(process.pid)):
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(workers[-1], signal.SIGKILL)
        killed += 1
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors, killed) == (0, "", 4)
    assert (tmp_path / "run" / "hall_of_fame.json").read_bytes() == (whole / "hall_of_fame.json").read_bytes()


def test_a_finished_run_trains_nothing_more(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    before = (tmp_path / "run" / "hall_of_fame.json").read_bytes()
    before_seconds = rows(tmp_path / "run", "SELECT seconds FROM results")
    (tmp_path / "run" / "hall_of_fame.json").unlink()
    process = command("resume", "run", "--json", "--quiet", cwd=tmp_path)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert json.loads(output) == {**json.loads(before), "directory": "run"}
    assert (tmp_path / "run" / "hall_of_fame.json").read_bytes() == before  # files that were lost are there again
    assert rows(tmp_path / "run", "SELECT seconds FROM results") == before_seconds
    assert rows(tmp_path / "run") == rows(whole)


def test_what_is_read_of_a_finished_run(whole: Path) -> None:
    folder = whole
    hall = read_hall(folder)
    assert hall is not None
    assert hall.to_json()["entries"][0]["formula"] == json.loads((folder / "hall_of_fame.json").read_text())["entries"][0]["formula"]
    assert read_progress(folder) == (3, 24)
    found = read_best(folder, 3)
    assert [(c.stages, c.difference) for c in found] == sorted(((c.stages, c.difference) for c in found), key=lambda p: (-p[0], p[1]))
    numbers = {row[0] for row in rows(folder)}
    assert {e.candidate for e in hall.entries} <= numbers


def test_a_second_writer_is_refused(store: RunStore, tmp_path: Path) -> None:
    process = command("resume", "run", cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors == "gp: another process is writing the run in run; wait for it, or stop it\n"
    assert read_progress(tmp_path / "run") == (0, 0)  # reading is always possible
    store.close()
    with RunStore.resume(tmp_path / "run") as again:
        assert again.config == CONFIG


# The record itself


def fill(store: RunStore) -> None:
    for k in range(1000):
        store.remember(f"{'x + ' * 1000}{k}", CONFIG.tuning, 0, Failure("no"))


def test_a_full_disk_is_one_message_and_the_file_stays_valid(store: RunStore, tmp_path: Path) -> None:
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(RunDirectoryError, match=r"cannot write .*run\.sqlite: database or disk is full; what is there is kept"):
        fill(store)
    store.close()
    assert rows(tmp_path / "run", "PRAGMA integrity_check") == [("ok",)]
    assert len(rows(tmp_path / "run", "SELECT text FROM results")) > 0


def test_a_record_that_cannot_be_made_leaves_nothing_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as failing:
        failing.setattr("gp.run_file.put", full)
        with pytest.raises(RunDirectoryError, match=r"cannot write to .*: database or disk is full; choose another directory with --out"):
            RunStore.create(tmp_path / "run", CONFIG)
    assert list((tmp_path / "run").iterdir()) == []
    RunStore.create(tmp_path / "run", CONFIG).close()


def test_who_loses_the_write_ahead_log_keeps_the_last_generation(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "run", CONFIG) as store:
        engine = Engine(CONFIG)
        store.attach(engine)
        drive(engine, RecallingScorer(FakeScorer(), store))
        (tmp_path / "copy").mkdir()
        shutil.copy(tmp_path / "run" / FILE, tmp_path / "copy" / FILE)
    with RunStore.resume(tmp_path / "copy") as again:
        engine = Engine(CONFIG)
        again.attach(engine)
        assert engine.state()["generation"] == CONFIG.generations


def test_what_was_measured_is_recalled(store: RunStore, tmp_path: Path) -> None:
    what, count = CONFIG.tuning, len(CONFIG.tuning.instances)
    numbers = (0.1 + 0.2, math.nan, math.inf, 1e-300, *[1.0] * (count - 4))
    found = SeedResult(numbers, numbers[::-1], (0.5,) * count, (2.0,) * count, 1.5, 0.25)
    assert store.recall("tanh(x)", what, 0) is None
    store.remember("tanh(x)", what, 0, found)
    store.remember("sin(x)", what, 0, Failure("took longer than 3 s"))
    store.close()
    with RunStore.resume(tmp_path / "run") as again:
        assert repr(again.recall("tanh(x)", what, 0)) == repr(found)  # in which NaN is NaN
        assert again.recall("sin(x)", what, 0) == Failure("took longer than 3 s")
        assert again.recall("tanh(x)", what, 1) is None
        assert again.recall("tanh(x)", CONFIG.final, 0) is None
        assert again.recall("tanh(2*x)", what, 0) is None


def test_a_scorer_is_asked_for_what_is_not_on_record_alone(store: RunStore) -> None:
    scorer = FakeScorer()
    recalling = RecallingScorer(scorer, store)
    texts = ["sin(x)", "erf(x)", "tanh(x)", "cos(x)"]
    first = list(recalling.measure(Batch("quick", CONFIG.tuning, ((texts[0], 0), (texts[1], 0)))))
    assert [task[1] for task in scorer.tasks] == texts[:2]
    batch = Batch("quick", CONFIG.tuning, tuple((text, 0) for text in (texts[2], texts[0], texts[3], texts[1])))
    second = list(recalling.measure(batch))
    assert [task[1] for task in scorer.tasks] == texts
    assert [second[1], second[3]] == first
    assert second == list(FakeScorer().measure(batch))
    list(recalling.measure(Batch("quick", CONFIG.tuning, ((texts[0], 1),))))
    assert scorer.tasks[-1] == ("quick", "sin(x)", 1)


def test_a_failure_of_a_baseline_is_not_on_record(store: RunStore) -> None:
    gelu = text_by_name("gelu")
    batch = Batch("quick", CONFIG.tuning, ((gelu, 0), ("sin(x)", 0)))

    class Killed(FakeScorer):
        def measure(self, batch: Batch) -> Generator[Result]:
            yield from (Failure("the worker crashed (SIGKILL)") for _ in batch.tasks)

    assert [type(r) for r in RecallingScorer(Killed(), store).measure(batch)] == [Failure, Failure]
    again = FakeScorer()
    assert [type(r) for r in RecallingScorer(again, store).measure(batch)] == [SeedResult, Failure]
    assert again.texts("quick") == [gelu]


def test_a_hall_without_a_baseline_is_not_the_end(store: RunStore, tmp_path: Path) -> None:
    hall = Hall((), (), True, 0, Measured((100,), 20, 0.1), {"gelu": "the worker crashed (SIGKILL)"})
    store.save_hall(hall)
    assert read_hall(tmp_path / "run") is None
    store.save_hall(dataclasses.replace(hall, missing={}))
    assert read_hall(tmp_path / "run") is not None


def test_an_interrupted_batch_keeps_what_came(store: RunStore) -> None:
    batch = Batch("quick", CONFIG.tuning, tuple((f"sin({k}*x)", 0) for k in range(2, 8)))
    arriving = RecallingScorer(FakeScorer(), store).measure(batch)
    for _ in range(3):
        next(arriving)
    arriving.close()
    scorer = FakeScorer()
    assert len(list(RecallingScorer(scorer, store).measure(batch))) == 6
    assert [task[1] for task in scorer.tasks] == ["sin(5*x)", "sin(6*x)", "sin(7*x)"]


def test_a_candidate_that_is_missing_is_noticed(store: RunStore, tmp_path: Path) -> None:
    engine = Engine(CONFIG)
    store.attach(engine)
    engine.observers.append(Recorder(engine, 30))
    drive(engine, RecallingScorer(FakeScorer(), store))
    store._connection.execute("DELETE FROM candidates WHERE number = 1")
    store.close()
    with RunStore.resume(tmp_path / "run") as again, pytest.raises(RunDirectoryError, match="is damaged: 1 candidates are missing"):
        again.attach(Engine(CONFIG))


def test_links_in_a_run_are_replaced_and_not_followed(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("mine")
    (tmp_path / "programs").mkdir()
    (tmp_path / "run" / "hall_of_fame.json").symlink_to(tmp_path / "mine.json")
    (tmp_path / "run" / "hall_of_fame").symlink_to(tmp_path / "programs")
    engine = Engine(CONFIG)
    store.save_hall(drive(engine, FakeScorer()))
    assert (tmp_path / "mine.json").read_text() == "mine"
    assert list((tmp_path / "programs").iterdir()) == []
    assert json.loads((tmp_path / "run" / "hall_of_fame.json").read_text())["complete"]
    assert (tmp_path / "run" / "hall_of_fame" / "01.act").exists()


def test_a_record_that_is_deleted_is_said_to_be_lost(store: RunStore, tmp_path: Path) -> None:
    engine = Engine(CONFIG)
    store.attach(engine)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(RunDirectoryError, match="was deleted while the run went on; what was found is lost"):
        drive(engine, RecallingScorer(FakeScorer(), store))
    with pytest.raises(RunDirectoryError, match="what was found is lost"):
        store.save_hall(drive(Engine(CONFIG), FakeScorer()))


def test_records_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / FILE).write_bytes(b"SQLite format 3\x00 and then nothing of the kind" * 40)
    (tmp_path / "half").mkdir()
    sqlite3.connect(tmp_path / "half" / FILE).close()
    with RunStore.create(tmp_path / "old", CONFIG) as store:
        put(store._connection, "about", [("format", "run/0")])
    (tmp_path / "older").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "older" / FILE)) as earlier:
        earlier.executescript("CREATE TABLE about (name TEXT, value TEXT); INSERT INTO about VALUES ('format', 'run/2')")
    with RunStore.create(tmp_path / "other", CONFIG) as store:
        put(store._connection, "about", [("code", "another")])
    expected = {
        "empty": "there is no run in",
        "damaged": "cannot read",
        "half": "cannot read",
        "old": "has the format 'run/0'; this version reads 'run/3'",
        "older": "has the format 'run/2'; this version reads 'run/3'",
        "other": "was begun by another version of the program",
        "missing": "there is no run in",
    }
    for name, message in expected.items():
        assert main(["resume", str(tmp_path / name), "--quiet"]) == 2, name
        errors = capsys.readouterr().err
        assert message in errors
        assert len(errors.splitlines()) == 1
