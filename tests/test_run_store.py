"""A run's record: it survives being killed, refuses a second writer, and says in one sentence what is wrong with it."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gp.cli import main
from gp.evolution.config import Config
from gp.run_store import FILE, RunDirectoryError, RunStore, read_about, read_best, read_progress

ROOT = Path(__file__).parents[1]
SMALL = ["--population", "6", "--generations", "3", "--steps", "20", "--seed", "11", "--workers", "2", "--quiet"]
CONFIG = Config(population=6, generations=2)


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


def test_killed_again_and_again_it_ends_the_same(whole: Path, tmp_path: Path) -> None:
    """kill -9 at random moments; the hall of fame is that of the uninterrupted run, byte for byte."""
    rng = random.Random(2)
    arguments = ("run", *SMALL, "--out", "run")
    kills = 0
    for _ in range(4):
        process = command(*arguments, cwd=tmp_path)
        try:
            process.wait(rng.uniform(0.8, 3.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        if (tmp_path / "run" / FILE).exists() and _has_format(tmp_path / "run"):
            arguments = ("resume", "run", "--quiet")
        else:
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
    assert kills > 1
    process = command(*arguments, cwd=tmp_path)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Hall of fame" in output
    assert (tmp_path / "run" / "hall_of_fame.json").read_bytes() == (whole / "hall_of_fame.json").read_bytes()
    assert candidates(tmp_path / "run") == candidates(whole)


def _has_format(folder: Path) -> bool:
    try:
        return bool(read_about(folder))
    except RunDirectoryError:
        return False


def candidates(folder: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / FILE) as connection:
        return connection.execute("SELECT * FROM candidates ORDER BY number").fetchall()


def test_a_finished_run_trains_nothing_more(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    before = (tmp_path / "run" / "hall_of_fame.json").read_bytes()
    process = command("resume", "run", "--json", "--quiet", cwd=tmp_path)
    start = time.monotonic()
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert json.loads(output)["entries"] == json.loads(before)["entries"]
    assert (tmp_path / "run" / "hall_of_fame.json").read_bytes() == before
    assert time.monotonic() - start < 30


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "run", CONFIG):
        process = command("resume", "run", cwd=tmp_path)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 2
        assert errors == "gp: another process is writing the run in run; wait for it, or stop it\n"
        assert main(["top", str(tmp_path / "run")]) == 0  # reading is always possible
    with RunStore.resume(tmp_path / "run") as store:
        assert store.config == CONFIG


def test_a_full_disk_is_one_message_and_the_file_stays_valid(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "run", CONFIG) as store:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(RunDirectoryError, match=r"cannot write .*run\.sqlite: database or disk is full; what is there is kept"):
            fill(store)
    with sqlite3.connect(tmp_path / "run" / FILE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM scores").fetchone()[0] > 0


def fill(store: RunStore) -> None:
    for k in range(2000):
        store.remember(f"x + {k}", CONFIG.search, "failed: a reason that is long enough to fill a page before long")


def test_what_was_measured_is_recalled(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "run", CONFIG) as store:
        assert store.recall("tanh(x)", CONFIG.search) is None
        store.remember("tanh(x)", CONFIG.search, "failed: took longer than 3 s")
        assert store.recall("tanh(x)", CONFIG.search) == "failed: took longer than 3 s"
        assert store.recall("tanh(x)", CONFIG.final) is None
        assert store.recall("tanh(2*x)", CONFIG.search) is None


def test_records_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / FILE).write_bytes(b"SQLite format 3\x00 and then nothing of the kind" * 40)
    (tmp_path / "half").mkdir()
    sqlite3.connect(tmp_path / "half" / FILE).close()
    with RunStore.create(tmp_path / "old", CONFIG) as store:
        store._connection.execute("UPDATE about SET value = 'run/0' WHERE name = 'format'")
    with RunStore.create(tmp_path / "other", CONFIG) as store:
        store._connection.execute("UPDATE about SET value = 'another' WHERE name = 'code'")
    expected = {
        "empty": "there is no run in",
        "damaged": "cannot read",
        "half": "cannot read",
        "old": "has the format 'run/0'; this version reads 'run/1'",
        "other": "was begun by another version of the program",
        "missing": "there is no run in",
    }
    for name, message in expected.items():
        assert main(["resume", str(tmp_path / name), "--quiet"]) == 2, name
        errors = capsys.readouterr().err
        assert message in errors
        assert len(errors.splitlines()) == 1


def test_top_and_runs(whole: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    hall = json.loads((whole / "hall_of_fame.json").read_text())
    assert main(["top", str(whole), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["finished"]
    assert [e["formula"] for e in printed["entries"]] == [e["formula"] for e in hall["entries"]]
    assert main(["top", str(whole), "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("rank,score,difference,difference_low,difference_high,unseen_score,unseen_difference,")
    assert len(lines) == 1 + len(hall["entries"])
    assert main(["top", str(whole)]) == 0
    assert "Hall of fame" in capsys.readouterr().out
    with RunStore.create(tmp_path / "begun", CONFIG):
        pass
    shutil.copytree(whole, tmp_path / "done")
    assert main(["runs", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "unfinished" in table
    assert "finished" in table
    assert main(["top", str(tmp_path / "begun")]) == 0
    assert "No function has been found" in capsys.readouterr().out
    assert main(["runs", str(tmp_path / "nowhere")]) == 2
    assert main(["top", str(whole), "--json", "--csv"]) == 2
    assert read_progress(whole)[0] == 3
    assert read_best(whole, 1)[0].score < 0
