"""`gp run`: what it prints and writes, the same hall of fame from the same seed, what it refuses, and how it is interrupted."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gp.cli import main
from gp.evolution.cascade import Batch
from gp.evolution.config import Config
from gp.evolution.evaluator import Evaluator
from gp.evolution.genome import canonical_key
from gp.evolution.hall import Hall
from gp.lab.data import instances
from gp.lab.measure import SeedResult
from gp.lab.protocol import Measurement
from gp.lab.training import Training
from gp.run_file import FILE, RunDirectoryError
from gp.run_reading import read_about, read_best, read_progress
from gp.workers import Failure

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "gp", "run", "--device", "cpu"]
SMALL = ["--population", "8", "--generations", "2", "--steps", "20", "--seed", "5"]
SMALL += [word for setting in ("islands=2", "finalists=2", "hall=2", "tuned=0", "gate=2") for word in ("--set", setting)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("run")
    return folder / "a", command(*SMALL, "--workers", "1", "--out", "a", cwd=folder)


def test_a_run_writes_a_record_files_and_a_table(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = finished
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith("generation 1/2: 8 trained, best ")
    assert lines[-1] == "Results are in a"
    assert "\x1b" not in done.stdout
    hall = json.loads((folder / "hall_of_fame.json").read_text())
    assert Hall.from_json(hall).complete
    assert [b["name"] for b in hall["baselines"]] == ["relu", "gelu", "gelusine"]
    assert hall["measured"] == {"seeds": [100, 101], "steps": 60, "learning_rate": 0.005}
    assert [e["rank"] for e in hall["entries"]] == [1, 2]
    for entry in hall["entries"]:
        assert f"{entry['score']:+.3f}" in done.stdout
        text = (folder / "hall_of_fame" / f"{entry['rank']:02}.act").read_text()
        assert text.startswith("# Found by `gp run --seed 5`")
        assert canonical_key(text) == canonical_key(entry["formula"])
    assert json.loads(read_about(folder)["config"]) == {
        **Config().to_json(), "seed": 5, "population": 8, "generations": 2, "steps": 20, "islands": 2, "finalists": 2, "hall": 2,
        "tuned": 0, "gate": 2, "workers": 1,
    }  # fmt: skip
    assert read_progress(folder) == (2, 16)
    assert len(read_best(folder, 3)) == 3


@pytest.mark.parametrize("workers", [2, 4])
def test_same_seed_same_hall_of_fame_with_more_workers(
    workers: int, finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = command(*SMALL, "--workers", str(workers), "--json", "--out", "b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    hall = (tmp_path / "b" / "hall_of_fame.json").read_bytes()
    assert hall == (finished[0] / "hall_of_fame.json").read_bytes()
    assert json.loads(done.stdout) == {**json.loads(hall), "directory": "b"}
    assert done.stderr.startswith("generation 1/2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--population", "1"], "population must be a whole number from 4 to 100000, not 1"),
        (["--population", "4"], "population must be at least 4 for each of the 2 islands, not 4"),
        (["--generations", "0"], "generations must be"),
        (["--steps", "-3"], "steps must be"),
        (["--workers", "0"], "workers must be"),
        (["--seed", "-1"], "seed must be"),
        (["--seed", "one"], "seed"),
        (["--out", "full"], "full is not empty"),
        (["--out", "full/file"], "cannot write to full/file"),
        (["--speed", "9"], "--speed"),
        (["--parameters", "many"], "'many' is not one of"),
    ],
)  # fmt: skip
def test_bad_options_are_one_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("something")
    monkeypatch.chdir(tmp_path)
    assert main(["run", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


# Interrupts


def trained(folder: Path) -> int:
    """How many candidates are on record; none while the record is being set up."""
    try:
        return read_progress(folder)[1]
    except RunDirectoryError:
        return 0


LONG = [
    "--population",
    "8",
    "--set",
    "islands=2",
    "--steps",
    "20",
    "--set",
    "gate=2",
    "--generations",
    "9999",
    "--workers",
    "2",
    "--out",
    "c",
]


def on_terminal(folder: Path, signals: int) -> tuple[int, str, float]:
    """The status and the output of a long run at whose terminal Ctrl-C is typed so many times, and the seconds since the last."""
    master, slave = pty.openpty()
    terminal = {**environment(), "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([*COMMAND, *LONG], cwd=folder, env=terminal, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    sent, output, limit, last = 0, b"", time.monotonic() + 90, 0.0
    while time.monotonic() < limit:
        if select.select([master], [], [], 0.05)[0]:
            try:
                output += os.read(master, 65536)
            except OSError:  # the other end is closed
                break
        if sent < signals and (sent > 0 or trained(folder / "c") > 8):
            os.killpg(process.pid, signal.SIGINT)
            sent, last = sent + 1, time.monotonic()
    os.close(master)
    try:
        return process.wait(20), output.decode(), time.monotonic() - last
    finally:
        process.kill()


def test_ctrl_c_keeps_what_was_found(tmp_path: Path) -> None:
    """Typed at a terminal it reaches the workers as well; the hall of fame so far is shown, with status 130."""
    status, text, _ = on_terminal(tmp_path, 1)
    assert status == 130
    assert "Hall of fame so far" in text
    assert "Results are in c" in text
    assert "Traceback" not in text
    hall = Hall.from_json(json.loads((tmp_path / "c" / "hall_of_fame.json").read_text()))
    assert hall.entries
    assert not hall.complete
    assert main(["top", str(tmp_path / "c")]) == 0


def test_a_second_ctrl_c_ends_at_once_and_the_record_is_kept(tmp_path: Path) -> None:
    status, text, seconds = on_terminal(tmp_path, 2)
    assert status == 130
    assert "Traceback" not in text
    assert seconds < 15
    assert trained(tmp_path / "c") > 8
    assert (tmp_path / "c" / FILE).exists()


def test_ctrl_c_while_workers_are_ended_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an interpreter that throws a generator away: whatever is raised meanwhile goes nowhere."""

    def measure(tasks: object, what: object) -> Iterator[tuple[int, Failure]]:
        try:
            yield 0, Failure("")
        finally:
            raise KeyboardInterrupt

    evaluator = Evaluator(1)
    monkeypatch.setattr(evaluator.pool, "measure", measure)
    what = Measurement(instances("search")[:1], (0,), Training(10, 1e-2))
    arriving = evaluator.measure(Batch("quick", what, (("x", 0), ("sin(x)", 0))))
    next(arriving)
    with pytest.raises(KeyboardInterrupt):
        arriving.close()


# Workers that are lost


def test_a_candidate_that_cannot_be_trained_costs_nothing_but_itself() -> None:
    what = Measurement(instances("search")[:3], (0,), Training(10, 1e-2))
    with Evaluator(2) as evaluator:
        found = list(evaluator.measure(Batch("quick", what, (("tanh(x)", 0), ("tanh(", 0), ("x*sigmoid(x)", 0)))))
        assert [type(r) for r in found] == [SeedResult, Failure, SeedResult]
        assert "DSLError: line 1" in found[1].reason  # type: ignore[union-attr]
        endless = dataclasses.replace(what, training=Training(100_000, 1e-2), instances=instances("search"), limit=0.5)
        late = list(evaluator.measure(Batch("quick", endless, (("x*sigmoid(x)", 0),))))
        assert late == [Failure("took longer than 0.5 s")]
        again = list(evaluator.measure(Batch("quick", what, (("x*sigmoid(x)", 0), ("tanh(x)", 0)))))
        assert [(r.inside, r.outside) for r in again if isinstance(r, SeedResult)] == [  # the others are as good as before
            (r.inside, r.outside) for r in (found[2], found[0]) if isinstance(r, SeedResult)
        ]
