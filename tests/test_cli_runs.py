"""`gp top` and `gp runs`, and the table of the hall of fame: what they read from records, print and refuse."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import typer
from fake_search import FakeScorer, Recorder
from rich.console import Console

from gp.cli import hall_table, main
from gp.cli.hall_table import print_hall
from gp.cli.run import _report
from gp.evolution.config import Config
from gp.evolution.engine import Engine, drive
from gp.evolution.hall import Entry, Hall, Measured
from gp.evolution.recall import RecallingScorer
from gp.run import Run
from gp.run_file import FILE
from gp.run_reading import read_hall
from gp.run_store import RunStore

CONFIG = Config(population=24, generations=3, islands=2, stages=2, tuned=0, finalists=6, hall=5, seed=3)


def _run(folder: Path, stop_after: int = 10**9) -> Engine:
    with RunStore.create(folder, CONFIG) as store:
        engine = Engine(CONFIG)
        store.attach(engine)
        engine.observers.append(Recorder(engine, stop_after))
        store.save_hall(drive(engine, RecallingScorer(FakeScorer(), store)))
    return engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, one that was interrupted in its second generation, and one that has hardly begun."""
    folder = tmp_path_factory.mktemp("runs")
    _run(folder / "finished")
    assert _run(folder / "half", 60).generation == 1
    assert _run(folder / "new", 1).generation == 0
    return folder


def _printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(list(map(str, arguments))) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def _candidates(folder: Path, stages: int) -> list[tuple[Any, ...]]:
    """(difference, cost, size, text) of those that completed so many stages and fit."""
    with sqlite3.connect(folder / FILE) as connection:
        query = "SELECT difference, cost, size, text FROM candidates WHERE reason IS NULL AND stages >= ?"
        return connection.execute(query, (stages,)).fetchall()


def test_top_of_a_finished_run_is_its_hall(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hall = read_hall(folder / "finished")
    assert hall is not None
    assert len(hall.entries) == 5
    printed = _printed(capsys, "top", folder / "finished")
    assert printed.startswith("Hall of fame\n")
    for entry in hall.entries:
        assert entry.formula in printed
        assert f"{entry.score:+.3f}" in printed
    assert "(gelusine)" in printed
    rows = json.loads(_printed(capsys, "top", folder / "finished", "--json"))
    assert rows["finished"]
    for rank, (row, entry) in enumerate(zip(rows["entries"], hall.entries, strict=True), 1):
        for key in ("score", "selection_score", "unseen_score", "fit", "cost", "size", "formula"):
            assert row[key] == getattr(entry, key)
        assert row["rank"] == rank
        assert (row["difference"], row["difference_low"], row["difference_high"]) == entry.difference
        assert row["unseen_difference_high"] == (entry.unseen_difference or (None,))[-1]
    table = list(csv.DictReader(io.StringIO(_printed(capsys, "top", folder / "finished", "--csv"))))
    assert [row["formula"] for row in table] == [entry.formula for entry in hall.entries]
    assert float(table[0]["difference_low"]) == rows["entries"][0]["difference_low"]


def test_top_of_an_unfinished_run_is_the_best_so_far(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = _printed(capsys, "top", folder / "half")
    assert printed.startswith("Best so far, by the scores of the search (gp resume ")
    rows = json.loads(_printed(capsys, "top", folder / "half", "--json"))
    assert not rows["finished"]
    found = rows["entries"]
    assert len(found) == 10
    assert [row["stage"] for row in found] == sorted((row["stage"] for row in found), reverse=True)  # standard, quick
    best = min(_candidates(folder / "half", 2))
    assert (found[0]["difference"], found[0]["cost"], found[0]["size"], found[0]["formula"]) == best
    assert best[-1] in printed
    assert f"{found[0]['difference']:+.3f}" in printed


@pytest.mark.parametrize("run", ["finished", "half"])
@pytest.mark.parametrize("options", [[], ["--pareto"]], ids=str)
def test_count_bounds_every_list(run: str, options: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = json.loads(_printed(capsys, "top", folder / run, *options, "--json"))["entries"]
    assert len(whole) > 1
    assert json.loads(_printed(capsys, "top", folder / run, *options, "--json", "--count", 1))["entries"] == whole[:1]
    one = _printed(capsys, "top", folder / run, *options, "--count", 1)
    assert whole[0]["formula"] in one
    assert len(_printed(capsys, "top", folder / run, *options, "--csv", "--count", 1).splitlines()) == 2


@pytest.mark.parametrize("run", ["finished", "half"])
def test_the_pareto_front_is_of_those_that_none_surpasses(run: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = [point[:3] for point in _candidates(folder / run, 2)]
    expected = {p for p in points if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in points)}
    rows = json.loads(_printed(capsys, "top", folder / run, "--pareto", "--json"))["entries"]
    assert [(row["difference"], row["cost"], row["size"]) for row in rows] == sorted(expected)
    assert {row["stage"] for row in rows} == {"standard"}
    printed = _printed(capsys, "top", folder / run, "--pareto")
    assert printed.startswith("Pareto front of the search")
    assert all(row["formula"] in printed for row in rows)
    table = list(csv.DictReader(io.StringIO(_printed(capsys, "top", folder / run, "--pareto", "--csv"))))
    assert [row["formula"] for row in table] == [row["formula"] for row in rows]


def test_top_where_nothing_was_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--pareto"]):
        assert _printed(capsys, "top", folder / "new", *options) == "No function has been found that fits its training data.\n"
        header = "rank,candidate,stage,difference,score,cost,size,formula\n"
        assert _printed(capsys, "top", folder / "new", *options, "--csv") == header
        assert json.loads(_printed(capsys, "top", folder / "new", *options, "--json"))["entries"] == []


def test_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken").mkdir(exist_ok=True)
    (folder / "broken" / FILE).write_text("this is no database")
    lines = {line.split()[0]: line for line in _printed(capsys, "runs", folder).splitlines() if line.strip()}
    with sqlite3.connect(folder / "finished" / FILE) as connection:
        ((trained,),) = connection.execute("SELECT count(*) FROM candidates WHERE stages > 0").fetchall()
    assert lines["finished"].split()[1:5] == ["3", "finished", "3/3", str(trained)]
    assert lines["half"].split()[1:4] == ["3", "unfinished", "2/3"]
    assert lines["new"].split()[1:5] == ["3", "unfinished", "0/3", "0"]
    assert lines["broken"].split()[1] == "unreadable"
    hall = read_hall(folder / "finished")
    assert hall is not None
    first = hall.entries[0]
    assert lines["finished"].split()[5:] == [f"{first.score:+.3f}", *first.formula.split()]
    one = _printed(capsys, "runs", folder / "finished")
    assert lines["finished"].split() in [line.split() for line in one.splitlines()]
    assert "half" not in one


def test_a_run_may_be_named_by_its_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _printed(capsys, "top", folder / "finished" / FILE) == _printed(capsys, "top", folder / "finished")
    assert _printed(capsys, "runs", folder / "finished" / FILE) == _printed(capsys, "runs", folder / "finished")


def test_a_run_that_goes_on_is_said_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunStore.create(tmp_path / "run", CONFIG):
        assert _printed(capsys, "top", tmp_path / "run").startswith("Running, generation 0: ")
        assert _printed(capsys, "runs", tmp_path).splitlines()[-2].split()[:4] == ["run", "3", "running", "0/3"]
    assert "unning" not in _printed(capsys, "top", tmp_path / "run")  # negative control


def test_to_read_a_run_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in ("finished", "half"):
        files = {file: file.stat().st_mtime_ns for file in [folder / run, *(folder / run).rglob("*")]}
        assert (folder / run / FILE).read_bytes()[18:20] == b"\x01\x01"  # no write-ahead log, which a reader would make files for
        for arguments in (("top", folder / run), ("top", folder / run, "--pareto"), ("runs", folder / run)):
            _printed(capsys, *arguments)
        assert {file: file.stat().st_mtime_ns for file in [folder / run, *(folder / run).rglob("*")]} == files


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["top", "none"], "there is no run in none: no file run.sqlite there"),
        (["top", "."], "there is no run in .: no file run.sqlite there"),
        (["top", "none", "--json", "--csv"], "--json and --csv exclude each other"),
        (["top", "none", "--count", "0"], "--count"),
        (["runs", "none"], "there are no runs in none; gp run begins one"),
        (["runs", "."], "there are no runs in .; gp run begins one"),
    ],
)  # fmt: skip
def test_mistakes_are_one_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1


ENTRY = Entry(
    "tanh(x)*x", "name", -1.25, (-0.5, -0.7, -0.3), -1.1, None, -1.0, (-0.1, -0.3, 0.1), {}, -1.0, -1.0, -3.0, 0.1, 0,
    cost=123, size=45, candidate=6, generation=1, origin="seed",
)  # fmt: skip
HALL = Hall((ENTRY,), (dataclasses.replace(ENTRY, cost=None, size=None),), True, 1, Measured((100, 101), 300, 0.005))


def _terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    terminal = Console(file=stream, width=columns, force_terminal=True, color_system=None, highlight=False, markup=False)
    monkeypatch.setattr(hall_table, "console", lambda: terminal)
    return stream


@pytest.mark.parametrize("columns", [80, 100, 140, 200])
def test_a_table_has_what_there_is_room_for(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _terminal(columns, monkeypatch)
    print_hall(HALL, Path("there"))
    printed = stream.getvalue()
    table = printed[: printed.index("score: ")]
    assert re.search(r"-1\.250.* -1\.100 +-1\.000 +-0\.10 \[-0\.30, \+0\.10\].* tanh\(x\)\*x", table)
    assert bool(re.search(r"\[-0\.30, \+0\.10\] +123 +45 ", table)) is (columns >= 100)
    assert ("-0.50 [-0.70, -0.30]" in table) is (columns >= 140)
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= columns
    assert "2 seeds, 300 steps" in " ".join(printed.split())


def test_a_hall_so_far_has_no_empty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(ENTRY, difference=None, selection_score=None, unseen_score=None, unseen_difference=None)
    stream = _terminal(200, monkeypatch)
    print_hall(Hall((entry,), (), False, 1, HALL.measured), Path("there"))
    lines = [line.split() for line in stream.getvalue().splitlines() if line.strip()]
    assert [lines[1], lines[3]] == [
        ["rank", "score", "cost", "size", "formula"], ["1", "-1.250", "123", "45", "tanh(x)*x", "(name)"],
    ]  # fmt: skip


def test_a_win_on_the_data_of_the_search_alone_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    for unseen, warned in (((-0.1, -0.3, 0.1), True), ((-0.2, -0.3, -0.1), False), (None, False)):
        stream = _terminal(200, monkeypatch)
        print_hall(dataclasses.replace(HALL, entries=(dataclasses.replace(ENTRY, unseen_difference=unseen),)), None)
        assert ("! 1" in stream.getvalue()) is ("! better than gelu on the data of the search alone" in stream.getvalue()) is warned
        assert "Results are in" not in stream.getvalue()


def test_what_is_missing_is_said_and_the_status_is_not_0(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _terminal(200, monkeypatch)
    hall = dataclasses.replace(HALL, missing={"gelu": "took longer than 30 s", "sin(x)": "the worker crashed (SIGKILL)"})
    with pytest.raises(typer.Exit) as end:
        _report(Run(Config(), hall, Path("there"), stopped=False), as_json=False)
    assert end.value.exit_code == 1
    assert "Missing: gelu: took longer than 30 s\nMissing: sin(x): the worker crashed (SIGKILL)\ngp resume there" in stream.getvalue()
    _report(Run(Config(), HALL, Path("there"), stopped=False), as_json=False)  # negative control


def test_nothing_in_the_hall(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _terminal(80, monkeypatch)
    print_hall(dataclasses.replace(HALL, entries=()), Path("there"))
    assert stream.getvalue() == ("No function was found that passes the gate: none fits its training data.\nResults are in there\n")
    stream = _terminal(80, monkeypatch)
    print_hall(dataclasses.replace(HALL, entries=(), complete=False), Path("there"))
    expected = "Interrupted before any function was found that fits its training data. gp resume there goes on.\nResults are in there\n"
    assert stream.getvalue() == expected
