"""`gp data`: what it prints, what it refuses, and its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from gp.cli import main
from gp.cli.scatter import Points, scatter
from gp.lab.data import SetName, instances

ROOT = Path(__file__).resolve().parent.parent
FAMILY = """
import numpy as np
from gp.lab.data import BoxSampling, Instance, Range

def member(name):
    sampling = BoxSampling((Range(0, 2),), (Range(2, 3),), lambda x: np.sin(x[:, 0]))
    return Instance("waves", "up", name, ("t",), "sin(t)", "[0, 2] -> [2, 3]", sampling)

FAMILY = [member("wave-1"), member("wave-2")]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a few files."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{k},{k * k},{split}" for split, count in (("train", 70), ("id", 16), ("ood", 16)) for k in range(count)]
    (tmp_path / "good.csv").write_text("\n".join(["dose,y,split", *rows]))
    (tmp_path / "bad.csv").write_text("\n".join(["dose,y,split", "1,low,train", *rows]))
    (tmp_path / "waves.py").write_text(FAMILY)
    (tmp_path / "wrong.py").write_text("FAMILY = 1/0\n")
    (tmp_path / "taken.png").mkdir()
    return tmp_path


# Arguments, what the message must hold.
BAD_INPUT = [
    (["data"], ""),
    (["data", "frobnicate"], "No such command 'frobnicate'"),
    (["data", "list", "--set", "test"], "'test' is not one of 'search', 'selection', 'validation', 'all'"),
    (["data", "show"], "Missing argument 'NAME'"),
    (["data", "show", "chaos-hennon"], "did you mean 'chaos-henon'?"),
    (["data", "show", "zzz"], "there is no data set called 'zzz' (see gp data list)"),
    (["data", "show", "none.csv"], "cannot read none.csv: No such file or directory"),
    (["data", "show", "bad.csv"], "bad.csv: line 2, column 'y': 'low' is not a number"),
    (["data", "show", "wrong.py"], "wrong.py: line 1: ZeroDivisionError"),
    (["data", "show", "waves.py:wave-3"], "waves.py has no data set called 'wave-3'; it has wave-1, wave-2"),
    (["data", "show", "waves.txt:wave-1"], "ends in .csv or .py"),
    (["data", "show", "waves.py", "--plot", "a.png"], "2 data sets; --plot draws one, as in: gp data show waves.py:wave-1"),
    (["data", "show", "chaos-henon", "--seed", "-1"], "Invalid value for '--seed'"),
    (["data", "show", "chaos-henon", "--seed", "one"], "Invalid value for '--seed'"),
    (["data", "show", "chaos-henon", "--plot", "a.jpg"], "ends in .png or .svg"),
    (["data", "show", "chaos-henon", "--plot", "nowhere/a.png"], "there is no directory nowhere"),
    (["data", "show", "chaos-henon", "--plot", "taken.png"], "--plot taken.png: this is a directory; choose another name"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD_INPUT, ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "")
@pytest.mark.usefixtures("folder")
def test_bad_input(capfd: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    assert main(arguments) == 2
    output, message = capfd.readouterr()
    assert expected in message
    assert "Traceback" not in message
    assert not output or not expected
    assert message.count("\n") <= 1


def test_the_process(folder: Path) -> None:
    """The real entry point: its exit status, and a table in a pipe."""

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, "-m", "gp", "data", *arguments]
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)

    listed = start("list", "--set", "search")
    assert listed.returncode == 0
    assert "search: 42 data sets" in listed.stdout
    assert "validation" not in listed.stdout
    failed = start("show", "bad.csv")
    assert failed.returncode == 2
    assert failed.stderr == "gp: bad.csv: line 2, column 'y': 'low' is not a number; remove the row or fill in a number\n"


def test_list_has_every_name(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    output = capfd.readouterr().out
    sets: dict[SetName, int] = {"search": 42, "selection": 126, "validation": 142}
    for name, count in sets.items():
        for member in instances(name):
            assert f" {member.name} " in output
        assert main(["data", "list", "--set", name]) == 0
        listed = capfd.readouterr().out
        assert f"{name}: {count} data sets" in listed
        assert [other for other in sets if f"{other}: " in listed] == [name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("polynomial-down-1-3", ["all 4 monomials of degree <= 3", "[1, 2] -> [0, 1]", "512", "256"]),
        ("chaos-lorenz-x", ["x' = 10 (y - x)", "x < 0 -> [0, 8], on the attractor", "x after 0.15"]),
        ("feynman-up-III.15.12", ["2*U*(1-cos(k*d))", "U, k, d in [1, 3] -> [3, 4]"]),
        ("good.csv", ["custom-good", "y of good.csv", "dose", "70", "16"]),
        ("waves.py", ["wave-1", "wave-2", "sin(t)"]),
        ("waves.py:wave-2", ["wave-2", "[0, 2] -> [2, 3]"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_show(capfd: pytest.CaptureFixture[str], name: str, expected: list[str]) -> None:
    assert main(["data", "show", name]) == 0
    output = capfd.readouterr().out
    for text in expected:
        assert text in output
    plot = output[output.index("target against each input") :].partition("\n")[2]
    assert "#" in plot
    assert ("wave-1" in output) == (name == "waves.py")


def test_show_depends_on_the_seed(capfd: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for seed in ("0", "1", "0"):
        assert main(["data", "show", "chaos-henon", "--seed", seed]) == 0
        outputs.append(capfd.readouterr().out)
    assert outputs[0] == outputs[2] != outputs[1]


def test_pictures(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "chaos-double-pendulum", "--plot", "a.svg"]) == 0
    assert main(["data", "show", "good.csv", "--plot", "b.png"]) == 0
    assert capfd.readouterr().out == "wrote a.svg\nwrote b.png\n"
    assert ElementTree.parse(folder / "a.svg").getroot().tag.endswith("svg")
    assert (folder / "b.png").read_bytes().startswith(b"\x89PNG")


def test_picture_without_matplotlib(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["data", "show", "chaos-henon", "--plot", "a.png"]) == 2
    assert "pip install 'actgp[plot]'" in capfd.readouterr().err
    assert not (folder / "a.png").exists()


def test_a_scatter_is_a_rectangle_with_points_in_their_places() -> None:
    corners = np.array([0.0, 1.0])
    lines = scatter("t", [Points("·", corners, corners), Points("#", np.array([1.0]), np.array([0.0]))], 40, 10)
    assert len(lines) == 13
    assert {len(line) for line in lines} == {40}
    assert lines[1].endswith("·")
    assert lines[10].rstrip().endswith("#")
    assert lines[10].partition("┤")[2][0] == "·"
    # Equal values have a place too, and later sets cover earlier ones.
    flat = scatter("t", [Points("·", corners, np.zeros(2)), Points("#", corners, np.zeros(2))], 40, 10)
    assert "".join(flat).count("#") == 2
    assert "·" not in "".join(flat)
