"""`gp lab`: what it prints and writes, what it refuses, and how it is interrupted and goes on."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import numpy as np
import pytest

import gp
from gp.cli import console as console_module
from gp.cli import main
from gp.cli.errors import CommandError
from gp.cli.lab_figure import save_figure
from gp.cli.lab_options import Backends, Fidelities, Protocols, Sets, parse_seeds
from gp.cli.lab_report import Report
from gp.cli.lab_table import print_table
from gp.cli.output import check_output, write_output
from gp.lab.data import SetName, instances, load
from gp.lab.evaluation import BASELINE, canonical, known
from gp.lab.measure import Backend, measure_seed, outcome
from gp.lab.protocol import FIDELITIES, PROTOCOLS, measurement
from gp.lab.score import score

ROOT = Path(__file__).resolve().parent.parent
FAMILY = """
import numpy as np
from gp.lab.data import BoxSampling, Instance, Range

def member(family, name):
    sampling = BoxSampling((Range(0, 2),), (Range(2, 3),), lambda x: np.sin(x[:, 0]))
    return Instance(family, "up", name, ("t",), "sin(t)", "[0, 2] -> [2, 3]", sampling)

FAMILY = [member("waves", "wave-1"), member("{}", "wave-2")]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a few files."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{k},{k * k % 50},{split}" for split, count in (("train", 64), ("id", 16), ("ood", 16)) for k in range(count)]
    (tmp_path / "good.csv").write_text("\n".join(["dose,y,split", *rows]))
    (tmp_path / "bad.csv").write_text("\n".join(["dose,y,split", "1,low,train", *rows]))
    (tmp_path / "waves.py").write_text(FAMILY.format("ripples"))
    (tmp_path / "taken.py").write_text(FAMILY.format("score"))
    (tmp_path / "flat.py").write_text(FAMILY.format("ripples").replace("np.sin(x[:, 0])", "0*x[:, 0]"))
    (tmp_path / "half.act").write_text("param a = 0.5  # a slope\nx*sigmoid(a*x)\n")
    (tmp_path / "wrong.act").write_text("x*sigmoi(x)\n")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


TINY = ["--fidelity", "quick", "--data", "good.csv"]
# Arguments, what the message must hold.
BAD_INPUT = [
    ([], "Missing argument 'EXPR...'"),
    (["geluu"], "there is no activation called 'geluu' (see gp list); did you mean 'gelu'?"),
    (["gelu", "wrong.act"], "wrong.act: line 1, column 3: unknown function 'sigmoi'"),
    (["none.act"], "there is no file none.act"),
    (["gelu", "x +"], "the program ends too early"),
    (["-x"], 'goes last, after --, as in: gp lab -- "-x"'),
    (["gelu", "--fidelity", "fast"], "'fast' is not one of 'quick', 'standard', 'full'"),
    (["gelu", "--set", "all"], "'all' is not one of 'search', 'selection', 'validation'"),
    (["gelu", "--protocol", "lab-v0"], "'lab-v0' is not one of 'lab-v1', 'paper'"),
    (["gelu", "--backend", "gpu"], "'gpu' is not one of 'compiled', 'eager'"),
    (["gelu", "--workers", "0"], "Invalid value for '--workers'"),
    (["gelu", "--seeds", "a"], "--seeds a: give a range such as 0:8"),
    (["gelu", "--seeds", ""], "give a range such as 0:8"),
    (["gelu", "--seeds", "-1"], "give a range such as 0:8"),
    (["gelu", "--seeds", "0:8:2"], "give a range such as 0:8"),
    (["gelu", "--seeds", "5:5"], "there is no seed in this range"),
    (["gelu", "--seeds", "0,2,0"], "a seed is given twice"),
    (["gelu", "--seeds", "0:1001"], "there may be 1000 seeds"),
    (["gelu", "--seeds", "99999999999"], "none above 4294967295"),
    (["gelu", "--seeds", "9" * 5000], "give a range such as 0:8"),
    (["gelu", "--data", "none.csv"], "cannot read none.csv: No such file or directory"),
    (["gelu", "--data", "bad.csv"], "bad.csv: line 2, column 'y': 'low' is not a number"),
    (["gelu", "--data", "half.act"], "a file with data sets ends in .csv or .py"),
    (["gelu", "--data", "good.csv", "--data", "good.csv"], "good.csv has a data set called 'custom-good' too; rename one"),
    (["gelu", "--data", "flat.py"], "wave-1: the target is 0 at every training point"),
    (["gelu", "--data", "taken.py"], "wave-2: a family cannot be called 'score'"),
    (["gelu", "--data", "good.csv", "--set", "search"], "leave one of them out"),
    (["gelu", "--json", "nowhere/a.json"], "--json nowhere/a.json: there is no directory nowhere"),
    (["gelu", "--json", "folder.png"], "this is a directory"),
    (["gelu", "--json", os.devnull], "this is not a file"),
    (["gelu", "--json", "a" * 300], "File name too long"),
    (["gelu", "--plot", "a.jpg"], "--plot a.jpg: the name of a picture ends in .png or .svg"),
    (["gelu", "--json", "a.png", "--plot", "a.png"], "--json and --plot name the same file"),
    (["gelu", "--plot", "folder.png"], "this is a directory"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD_INPUT, ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "")
def test_bad_input(folder: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    before = sorted(folder.iterdir())
    assert main(["lab", *arguments]) == 2
    output, message = capfd.readouterr()
    assert expected in message
    assert "Traceback" not in message
    assert not output
    assert message.count("\n") == 1 or "column" in message
    assert sorted(folder.iterdir()) == before


def test_seeds() -> None:
    assert parse_seeds("0:8") == tuple(range(8))
    assert parse_seeds("7:9") == (7, 8)
    assert parse_seeds("3") == (3,)
    assert parse_seeds("0,2,5") == (0, 2, 5)
    assert parse_seeds("4294967295") == (2**32 - 1,)


def test_options_take_what_the_lab_has() -> None:
    """The words stand in the command line too, so that `gp --help` does not load the lab."""
    assert list(Fidelities) == list(FIDELITIES)
    assert list(Protocols) == list(PROTOCOLS)
    assert tuple(Sets) == get_args(SetName)
    assert tuple(Backends) == get_args(Backend)


@pytest.mark.parametrize("name", get_args(SetName))
def test_networks_learn_every_set(name: SetName) -> None:
    what = measurement("standard", data=name, seeds=(0, 100))
    found = outcome([measure_seed(canonical("gelu"), what, seed) for seed in what.seeds])
    assert found.inside.shape == (2, len(instances(name)))
    assert np.isfinite(found.outside).all()
    # Nearly all of them, and all together well enough for the gate.
    assert np.mean(found.inside < 0.5 * found.variance) > 0.95
    assert score(found, what).fit < what.gate


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    """The rows in a file of `--json`, by name; the file has no NaN and no infinity."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return {row["expression"]: row for row in json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)["rows"]}


def test_table_and_files(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All kinds of functions at once: learnable, with statistics, constant, diverging, given twice."""
    expressions = ["half.act", "relu", "relu", "x/(rms(x) + 1)", "0", "log(x)"]
    assert main(["lab", *expressions, *TINY, "--workers", "1", "--seeds", "0,2", "--json", "a.json", "--plot", "a.png"]) == 0
    output, progress = capfd.readouterr()
    lines = [line.split() for line in output.splitlines() if line.strip()]
    assert lines[0] == ["rank", "expression", "score", "vs", "gelu", "custom", "ID", "fit", "seconds"]
    assert [line[0] for line in lines if line[0].isdigit()] == ["1", "2", "3", "4", "5"]
    assert output.count("relu") == 1
    assert "all 2 networks diverged" in output
    assert "does not fit: ID fit above -1.5" in output
    assert "lab-v1, quick fidelity; good.csv, 1 data set; seeds 0, 2; lower is better" in output
    assert output.endswith("wrote a.json\nwrote a.png\n")
    assert progress.splitlines()[-1].startswith("6/6 ")

    found = json.loads((folder / "a.json").read_text(encoding="utf-8"))
    assert (found["protocol"], found["fidelity"], found["seeds"], found["backend"]) == ("lab-v1", "quick", [0, 2], "compiled")
    assert (found["set"], found["instances"]) == (["good.csv"], ["custom-good"])
    assert found["versions"]["numpy"] == np.__version__
    rows = rows_of(folder / "a.json")
    assert set(rows) == {"half.act", "relu", "x/(rms(x) + 1)", "0", "log(x)", "gelu"}
    assert [row["score"] for row in rows.values()] == sorted(row["score"] for row in rows.values())
    assert rows["half.act"]["program"] == "param a = 0.5; x*sigmoid(a*x)"
    assert rows["log(x)"]["diverged"] == 2
    assert rows["log(x)"]["score"] == 2.0
    assert rows["log(x)"]["ood_loss"] is None
    assert rows["log(x)"]["inward"] is None
    assert abs(rows["0"]["score"]) < 0.1
    assert not rows["0"]["fits"]
    assert rows["gelu"]["difference"] == 0.0
    assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.glob(".*"))

    # The same numbers as in Python, in the order of the texts.
    again = gp.lab.evaluate(["relu", "half.act"], "quick", data=load("good.csv"), seeds=[0, 2])
    assert [row["expression"] for row in again] == ["relu", "half.act"]
    for row in again:
        assert {**row, "inward": None, "outward": None} == rows[row["expression"]]


def test_paper_on_families_of_a_file(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--data", "waves.py", "--data", "good.csv", "--protocol", "paper", "--seeds", "1", "--fidelity", "quick"]
    assert main(["lab", "exp(exp(exp(x)))", "tanh", *options, "--json", "a.json", "--plot", "a.svg"]) == 0
    output, progress = capfd.readouterr()
    header = output.splitlines()[1].split()
    assert header == ["rank", "expression", "mean", "loss", "vs", "gelu", "waves", "ripples", "custom", "median", "ID", "fit", "seconds"]
    assert "does not fit" not in output
    assert "Warning" not in progress
    rows = rows_of(folder / "a.json")
    assert rows["exp(exp(exp(x)))"]["score"] is None
    assert rows["tanh"]["score"] == pytest.approx(np.mean([rows["tanh"][family] for family in ("waves", "ripples", "custom")]))
    assert ElementTree.parse(folder / "a.svg").getroot().tag.endswith("svg")


def test_eager_backend(folder: Path) -> None:
    for backend in Backends:
        assert main(["lab", "silu", *TINY, "--workers", "1", "--backend", backend, "--json", f"{backend}.json"]) == 0
    compiled, eager = (rows_of(folder / f"{backend}.json") for backend in Backends)
    assert eager["silu"]["score"] == pytest.approx(compiled["silu"]["score"], abs=0.02)


def report(**changes: Any) -> Report:
    """A report made by hand: one row of every kind."""
    numbers = dict.fromkeys(("score", "difference", "low", "high", "inward", "outward", "polynomial", "harmonic", "feynman", "chaos"), -1.0)
    row = {**numbers, "fit": -4.0, "fits": True, "ood_loss": 1.0, "diverged": 0, "seconds": 1.0, "reason": None}
    none = dict.fromkeys(row)
    rows = [
        {"expression": "slow", "program": "slow", **none, "reason": "took longer than 10 s"},
        {"expression": "gelu", "program": canonical(BASELINE), **row, "difference": 0.0, "low": 0.0, "high": 0.0},
        {"expression": "a$b$" * 20, "program": "b", **row, "score": -2.0, "diverged": 3},
    ]
    what = measurement("quick", seeds=(0, 1, 2))
    return dataclasses.replace(Report(what, "quick", "search", "compiled", ("slow", "a$b$" * 20), rows), **changes)


def test_rows_without_score_come_last_with_a_reason(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    console_module.console.cache_clear()
    print_table(report())
    output = capsys.readouterr().out
    assert "no score: took longer than 10 s" in output
    assert output.index(" 1  a$b$") < output.index("      gelu ") < output.index("      slow ")
    assert "3 of 126 networks diverged" in output
    assert "seeds 0 to 2" in output
    # A narrow terminal has the table in parts, none wider than it.
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    console_module.console.cache_clear()
    print_table(report())
    console_module.console.cache_clear()
    output = capsys.readouterr().out
    lines = re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines()
    assert max(map(len, lines)) <= 60
    assert sum(line.startswith(" rank") for line in lines) == 4
    assert "\x1b[33" not in output  # no yellow


def test_pictures_of_odd_reports(folder: Path) -> None:
    few = report()
    more = dataclasses.replace(few, rows=[*few.rows, *({**few.rows[0], "expression": f"f{k}"} for k in range(100))])
    save_figure(more, folder / "more.png")
    assert (folder / "more.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(CommandError, match="nothing to draw"):
        save_figure(report(rows=few.rows[-1:]), folder / "none.png")


def test_picture_without_matplotlib(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["lab", "gelu", *TINY, "--plot", "a.png"]) == 2
    output, message = capfd.readouterr()
    assert message == "gp: --plot needs matplotlib, which is not installed: pip install 'actgp[plot]'\n"
    assert not output
    assert not (folder / "a.png").exists()


def test_a_file_is_replaced_as_a_whole(folder: Path) -> None:
    path = folder / "a.json"
    path.write_text("old")
    (folder / "link.json").symlink_to(path)
    check_output("--json", folder / "link.json")

    def half(draft: Path) -> None:
        draft.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(CommandError, match=r"cannot write .*: No space left on device"):
        write_output(folder / "link.json", half)
    assert path.read_text() == "old"
    write_output(folder / "link.json", lambda draft: draft.write_text("new"))
    assert path.read_text() == "new"
    assert (folder / "link.json").is_symlink()
    assert not list(folder.glob(".*"))


def test_help_loads_no_lab() -> None:
    code = "import sys; from gp.cli import main; main(['lab', '--help']); assert not {'torch', 'numba', 'numpy'} & set(sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False).returncode == 0


def test_interrupted_and_resumed(folder: Path) -> None:
    """Ctrl-C on a terminal keeps what was measured; the same command measures the rest, and the numbers are those of one run."""
    arguments = ["relu", "--fidelity", "quick", "--seeds", "0:9", "--device", "cpu", "--workers", "1", "--json", "a.json"]
    command = [sys.executable, "-m", "gp", "lab", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200"}
    terminal, end = os.openpty()
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end) as process:
        os.close(end)
        shown = ""
        while not any(int(done) >= 5 for done in re.findall(r"(\d+)/18 seeds", shown)):
            shown += os.read(terminal, 4096).decode()
        process.send_signal(signal.SIGINT)
        while "goes on from there" not in shown:
            shown += os.read(terminal, 4096).decode()
        assert process.wait() == 130
        assert process.stdout is not None
        assert process.stdout.read() == b""
    os.close(terminal)
    assert "relu" in shown
    assert " left" in shown
    assert "Traceback" not in shown
    message = re.search(r"gp: interrupted; (\d+) of 18 measurements .* are kept, and the same command goes on from there", shown)
    assert message is not None
    what = measurement("quick", seeds=tuple(range(9)))
    texts = [canonical("relu"), canonical("gelu")]
    kept = known(texts, what)
    assert 5 <= int(message[1]) <= kept < 18
    assert not (folder / "a.json").exists()

    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "2/2 gelu"
    assert known(texts, what) == 18
    whole = score(outcome([measure_seed(texts[0], what, seed) for seed in what.seeds]), what)
    assert rows_of(folder / "a.json")["relu"]["score"] == whole.score
