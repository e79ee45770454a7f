"""`gp compare`: what it prints and writes, what it refuses, and that it shares its measurements with `gp lab`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gp.cli import console as console_module
from gp.cli import main
from gp.cli.compare_table import print_pair, print_ranking
from gp.cli.lab_report import Report
from gp.lab.comparison import Effect, Pair, compare
from gp.lab.evaluation import canonical, known, row
from gp.lab.measure import measure_seed, outcome
from gp.lab.protocol import measurement
from gp.lab.score import Outcome, difference

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a few files."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{k},{k * k % 50},{split}" for split, count in (("train", 64), ("id", 16), ("ood", 16)) for k in range(count)]
    (tmp_path / "good.csv").write_text("\n".join(["dose,y,split", *rows]))
    (tmp_path / "half.act").write_text("param a = 0.5\nx*sigmoid(a*x)\n")
    (tmp_path / "other.act").write_text("param a = 2\nx*sigmoid(a*x)\n")
    (tmp_path / "wrong.act").write_text("x*sigmoi(x)\n")
    return tmp_path


TINY = ["--fidelity", "quick", "--data", "good.csv", "--workers", "1"]
# Arguments, what the message must hold.
BAD_INPUT = [
    ([], "Missing argument 'EXPR...'"),
    (["gelu"], "give at least two activations, as in: gp compare gelu silu"),
    (["silu", "x*sigmoid(x)"], "x*sigmoid(x) is the same function as silu; give another one to compare silu with"),
    (["silu", "silu"], "silu is there twice; give another one"),
    (["silu", "1*x*sigmoid(x)", "silu"], "1*x*sigmoid(x) is the same function as silu; silu is there twice; give another one"),
    (["gelu", "geluu"], "there is no activation called 'geluu' (see gp list); did you mean 'gelu'?"),
    (["gelu", "wrong.act"], "wrong.act: line 1, column 3: unknown function 'sigmoi'"),
    (["gelu", "none.act"], "there is no file none.act"),
    (["gelu", "x +"], "the program ends too early"),
    (["gelu", "-x"], 'goes last, after --, as in: gp compare -- "-x"'),
    (["gelu", "silu", "--fidelity", "fast"], "'fast' is not one of 'quick', 'standard', 'full'"),
    (["gelu", "silu", "--seeds", "0,0"], "a seed is given twice"),
    (["gelu", "silu", "--data", "none.csv"], "cannot read none.csv: No such file or directory"),
    (["gelu", "silu", "--data", "good.csv", "--set", "search"], "leave one of them out"),
    (["gelu", "silu", "--workers", "0"], "Invalid value for '--workers'"),
    (["gelu", "silu", "--json", "nowhere/a.json"], "--json nowhere/a.json: there is no directory nowhere"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD_INPUT, ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "")
def test_bad_input(folder: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    before = sorted(folder.iterdir())
    assert main(["compare", *arguments]) == 2
    output, message = capfd.readouterr()
    assert expected in message
    assert "Traceback" not in message
    assert not output
    assert message.count("\n") == 1 or "column" in message
    assert sorted(folder.iterdir()) == before


def test_two(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The numbers are those of the lab, whose measurements are not made again."""
    what = measurement("quick", seeds=(3,))
    assert main(["lab", "silu", "--fidelity", "quick", "--seeds", "3", "--workers", "1"]) == 0
    assert known([canonical("silu"), canonical("relu")], what) == 1
    capfd.readouterr()
    assert main(["compare", "silu", "relu", "--fidelity", "quick", "--seeds", "3", "--workers", "1", "--json", "a.json"]) == 0
    output, progress = capfd.readouterr()
    assert progress == "2/2 relu\n"
    assert known([canonical("silu"), canonical("relu")], what) == 2
    lines = [line.split() for line in output.splitlines()]
    assert lines[:2] == [["A:", "silu"], ["B:", "relu"]]
    assert [line[0] for line in lines[5:] if line][:5] == ["polynomial", "harmonic", "feynman", "chaos", "all"]
    assert "lab-v1, quick fidelity; search set, 42 data sets; seed 3; lower is better" in output
    assert output.endswith("wrote a.json\n")

    silu, relu = (outcome([measure_seed(canonical(name), what, 3)]) for name in ("silu", "relu"))
    change, low, high = difference(silu, relu, what)
    assert f"{change:+.3f} [{low:+.3f}, {high:+.3f}]" in output
    found = json.loads((folder / "a.json").read_text(encoding="utf-8"))
    assert (found["protocol"], found["seeds"], found["set"]) == ("lab-v1", [3], "search")
    assert {r["expression"]: r["score"] for r in found["rows"]}.keys() == {"silu", "relu"}
    (pair,) = found["pairs"]
    assert (pair["first"], pair["second"]) == ("silu", "relu")
    assert [pair["total"][key] for key in ("difference", "low", "high")] == [change, low, high]
    assert set(pair["families"]) == {"polynomial", "harmonic", "feynman", "chaos"}


def test_more_with_a_repeated_one_and_one_that_diverges(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    expressions = ["half.act", "other.act", "relu", "log(x)", "where(x <= 0, 0, x)"]
    assert main(["compare", *expressions, *TINY, "--seeds", "0:6", "--json", "a.json"]) == 0
    output, message = capfd.readouterr()
    assert message.startswith("gp: where(x <= 0, 0, x) is the same function as relu; it is compared once\n")
    lines = [line.split() for line in output.splitlines() if line.strip()]
    ranking = [line for line in lines if line[0] in ("1", "2", "3", "4")]
    assert [line[0] for line in ranking] == ["1", "2", "3", "4"]
    assert ranking[3][1] == "log(x)"
    assert "worse" in ranking[3]
    assert "all 6 networks diverged" in output
    found = json.loads((folder / "a.json").read_text(encoding="utf-8"))
    assert [r["expression"] for r in found["rows"]] == [line[1] for line in ranking]
    assert {(p["first"], p["second"]) for p in found["pairs"]} == {
        ("half.act", "other.act"), ("half.act", "relu"), ("half.act", "log(x)"),
        ("other.act", "relu"), ("other.act", "log(x)"), ("relu", "log(x)"),
    }  # fmt: skip


def test_too_few_to_tell(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One data set with two seeds: an interval between two numbers."""
    assert main(["compare", "relu", "log(x)", *TINY, "--seeds", "0:2"]) == 0
    output = capfd.readouterr().out
    assert "There are too few data sets and seeds to tell relu from log(x); --seeds 0:8 are enough." in output
    assert "B: log(x); all 2 networks diverged" in output
    assert "better than" not in output.replace("that are better than with", "")


def test_without_two_scores_there_is_nothing_to_compare(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gp.lab.evaluation.outcomes", lambda *_, **__: iter([(1, "took longer than 10 s"), (0, "ran out of memory")]))
    assert main(["compare", "relu", "tanh", *TINY]) == 2
    output, message = capfd.readouterr()
    assert not output
    reasons = "relu has no score: ran out of memory; tanh has no score: took longer than 10 s"
    assert message == f"gp: there are no two activations to compare, since {reasons}\n"


def made(count: int, seeds: int = 2) -> tuple[Report, list[Pair], dict[str, Outcome]]:
    """A comparison made by hand: f0 is the best, each next one is a little worse."""
    what = measurement("quick", seeds=tuple(range(seeds)))
    rng = np.random.default_rng(0)
    shape = (seeds, len(what.instances))
    found = {}
    for k in range(count):
        ones = np.ones(shape)
        found[f"f{k}"] = Outcome(ones * 0.01, np.exp(rng.normal(0.3 * k - 2, 0.1, shape)), ones, ones, (1.0,) * seeds)
    rows = [{"expression": name, "program": name, **row(found[name], found["f0"], what)} for name in reversed(found)]
    return Report(what, "quick", "search", "compiled", tuple(found), rows), compare(found, what), found


def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    """What a terminal of that width shows of four activations."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    console_module.console.cache_clear()
    report, pairs, _ = made(4)
    print_ranking(report, pairs)
    console_module.console.cache_clear()
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


@pytest.mark.parametrize(("width", "parts"), [(80, 3), (120, 2), (200, 1)])
def test_a_ranking_fits_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, parts: int) -> None:
    lines = printed(capsys, monkeypatch, width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.startswith(" rank") for line in lines) == parts


def test_a_ranking_has_every_difference(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    output = printed(capsys, monkeypatch, 240)
    report, _, found = made(4)
    cells = [line.split() for line in output.splitlines() if re.match(r" +\d  f", line)]
    assert [line[1] for line in cells] == ["f0", "f1", "f2", "f3"]
    for rank, line in enumerate(cells):
        others = [f"f{k}" for k in range(4) if k != rank]
        assert line[-3:] == [f"{difference(found[line[1]], found[other], report.what)[0]:+.3f}*" for other in others]
    change, low, high = difference(found["f2"], found["f3"], report.what)
    assert f"{change:+.3f} [{low:+.3f}, {high:+.3f}]" in output  # to the next
    assert [("worse" in line) for line in cells] == [False, True, True, True]
    assert "for all 6 pairs together" in output


def test_what_cannot_be_told_apart_has_no_mark(capsys: pytest.CaptureFixture[str]) -> None:
    console_module.console.cache_clear()
    report, pairs, _ = made(3)
    vague = [Pair(p.first, p.second, Effect(-0.0001, -0.2, 0.2, 0.5, "no difference"), p.families) for p in pairs]
    print_ranking(report, vague)
    rows = [line for line in capsys.readouterr().out.splitlines() if re.match(r" +\d  f", line)]
    assert rows[1].split()[-2:] == ["+0.000", "+0.000"]  # and none is -0.000
    assert "no difference" in rows[1]


@pytest.mark.parametrize(
    ("effect", "sentence"),
    [
        (Effect(-0.5, -0.7, -0.3, 0.9, "better"), "f0 is better than f1."),
        (Effect(0.5, 0.3, 0.7, 0.1, "worse"), "f0 is worse than f1."),
        (Effect(-0.1, -0.3, 0.1, 0.6, "no difference"), "No difference between f0 and f1 could be seen."),
        (Effect(0.0, 0.0, 0.0, 0.5, "equal"), "f0 and f1 are equal on every network."),
    ],
)
def test_a_pair_ends_in_a_sentence(capsys: pytest.CaptureFixture[str], effect: Effect, sentence: str) -> None:
    console_module.console.cache_clear()
    report, (pair,), _ = made(2)
    print_pair(report, Pair("f0", "f1", effect, pair.families))
    output = capsys.readouterr().out
    assert f"\n{sentence}\n" in output
    assert f"  {effect.wins:.0%}  {effect.verdict}" in output


def test_help_loads_no_lab() -> None:
    code = "import sys; from gp.cli import main; main(['compare', '--help']); assert not {'torch', 'numba', 'numpy'} & set(sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False).returncode == 0
