"""The command line, `gp run` and `gp bench` apart: what it prints, what it refuses, and its exit status.

`main` is the entry point of the console script; where the process itself matters it is started as `python -m gp`.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from gp.cli import app, main
from gp.cli.choices import Emit, Target
from gp.cli.errors import explain
from gp.cli.plots import limits, nice_ticks, panel, sparkline
from gp.cli.sampling import sample
from grammar import catalog, parse
from kernels.programs import program
from kernels.triton_compiler import TARGETS

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
COMMAND = [sys.executable, "-m", "gp"]


def start(*arguments: str, cwd: Path, text: str | bytes = b"") -> subprocess.CompletedProcess[str]:
    """`gp` in a process of its own, with its output in pipes."""
    data = text.encode() if isinstance(text, str) else text
    done = subprocess.run([*COMMAND, *arguments], env=ENVIRONMENT, cwd=cwd, input=data, capture_output=True, check=False, timeout=120)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a few files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.act").write_text("param a = 0.5  # a slope\nx*sigmoid(a*x)\n")
    (tmp_path / "bad.act").write_text("x*sigmoi(x)\n")
    (tmp_path / "binary.act").write_bytes(b"x + \xff")
    (tmp_path / "empty.act").write_text("# nothing\n")
    (tmp_path / "folder.act").mkdir()
    (tmp_path / "notes.txt").write_text("x\n")
    return tmp_path


# Arguments, what the message must hold.
BAD_INPUT = [
    (["show"], "Missing argument 'EXPR'"),
    (["show", ""], "the program is empty"),
    (["show", "x +"], "line 1, column 4: the program ends too early"),
    (["show", "x*sigmoi(x)"], "did you mean 'sigmoid'?"),
    (["show", "geluu"], "did you mean 'gelu'?"),
    (["show", "x", "+", "1"], 'needs quotes, as in: gp show "x + 1"'),
    (["show", "-x"], 'goes last, after --, as in: gp show -- "-x"'),
    (["show", "-2*x"], 'goes last, after --, as in: gp show -- "-x"'),
    (["show", "x\0"], "unexpected character"),
    (["show", "x" * 300], "unknown name"),
    (["show", "nofile.act"], "there is no file nofile.act"),
    (["show", "goof.act"], "did you mean good.act?"),
    (["show", "nowhere/good.act"], "there is no file nowhere/good.act"),
    (["show", "gelu.act"], "the catalogue's activation is called gelu, without .act"),
    (["show", "bad.act"], "bad.act: line 1, column 3: unknown function 'sigmoi'"),
    (["show", "binary.act"], "binary.act is not text in UTF-8: byte 4 is 0xff"),
    (["show", "empty.act"], "empty.act: line 1, column 1: the program is empty"),
    (["show", "folder.act"], "folder.act is a directory"),
    (["show", "notes.txt"], "ends in .act"),
    (["show", "gelu", "--emit", "fortran"], "'fortran' is not one of 'triton'"),
    (["show", "gelu", "--emit", "ptx", "--target", "sm_75"], "'sm_75' is not one of 'sm_80'"),
    (["show", "gelu", "--emit", "ptx", "--target", "gfx942"], "--emit ptx is for the targets sm_80, sm_90, sm_100, not gfx942"),
    (["show", "gelu", "--emit", "amdgcn", "--target", "sm_90"], "--emit amdgcn is for the targets gfx942, not sm_90"),
    (["show", "gelu", "--emit", "numpy", "--target", "sm_90"], "--target has no meaning for --emit numpy"),
    (["show", "gelu", "--target", "sm_90"], "--target goes with"),
    (["show", "gelu", "--backward"], "--backward goes with --emit"),
    (["show", "gelu", "--emit", "numpy", "--report"], "leave out --report"),
    (["show", "gelu", "--emit", "numpy", "--plot", "a.png"], "leave out --plot"),
    (["show", "gelu", "--plot", "a.jpg"], "ends in .png or .svg"),
    (["show", "gelu", "--plot", "nowhere/a.png"], "there is no directory nowhere"),
    (["show", "gelu", "--plot", "taken.png"], "taken.png"),
    (["show", "gelu", "--plott", "a.png"], "No such option: --plott"),
    (["check"], "Missing argument 'FILE...'"),
    (["check", "gellu"], "there is no file gellu"),
    (["check", "bad.act"], "bad.act: line 1, column 3"),
    (["check", "folder.act"], "folder.act is a directory"),
    (["list", "zzz"], "no activation of the catalogue matches 'zzz'"),
    (["list", "gelusin3"], "did you mean 'gelusine'?"),
    (["list", "-x"], "No such option: -x"),
    (["doctor", "now"], "unexpected extra argument"),
    (["frobnicate"], "No such command 'frobnicate'"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD_INPUT, ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "")
def test_bad_input(folder: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    (folder / "taken.png").mkdir()
    assert main(arguments) == 2
    output, message = capfd.readouterr()
    assert expected in message
    assert "Traceback" not in message
    assert not output


@pytest.mark.parametrize("arguments", [["show", "x +"], ["show", "-x"], ["show", "nofile.act"], ["frobnicate"], []])
def test_bad_input_of_the_process(folder: Path, arguments: list[str]) -> None:
    result = start(*arguments, cwd=folder)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("gp: ") or not arguments


def test_file_without_permission(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(self: Path, *_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)  # the superuser may read everything
    assert main(["show", "good.act"]) == 2
    assert capfd.readouterr().err == "gp: cannot read good.act: Permission denied\n"


def test_errors_of_the_system_name_the_file() -> None:
    assert explain(PermissionError(13, "Permission denied", "/root/a")) == "/root/a: Permission denied"
    assert explain(RuntimeError("a bug")) is None


def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("gp.cli.inputs.load", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["show", "x"])


def test_debugging_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GP_DEBUG", "1")
    with pytest.raises(ValueError, match="ends too early"):
        main(["show", "x +"])


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_interrupt(folder: Path) -> None:
    with subprocess.Popen([*COMMAND, "check", "good.act", "-"], env=ENVIRONMENT, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "good.act: ok\n"  # from here on it waits for standard input
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in message


def test_closed_pipe(folder: Path) -> None:
    """`gp list | head -1` ends without a word."""
    with subprocess.Popen([*COMMAND, "list"], env=ENVIRONMENT, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_help(folder: Path) -> None:
    result = start("--help", cwd=folder)
    assert result.returncode == 0
    for command in ("list", "show", "check", "doctor"):
        assert re.search(rf"\b{command}\b", result.stdout)
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_quick_commands_need_no_torch(folder: Path) -> None:
    code = "import sys; from gp.cli import main; status = [main(['list', 'relu']), main(['check', 'good.act']), main(['show', 'gelu'])]"
    code += "; assert not {'torch', 'triton', 'numba', 'matplotlib'} & set(sys.modules) and status == [0, 0, 0]"
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, cwd=folder, check=True, capture_output=True)


# gp list


def test_list(folder: Path) -> None:
    result = start("list", cwd=folder)
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(catalog.names())
    assert "\x1b" not in result.stdout
    (swish,) = [line for line in lines if line.startswith("swish ")]
    assert swish.endswith("beta=1: x*sigmoid(beta*x)")


@pytest.mark.parametrize("pattern", ["gelu", "hard*", "GELU", "*_relu"])
def test_list_pattern(pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["list", pattern]) == 0
    names = [line.split()[0] for line in capfd.readouterr().out.splitlines()[1:]]
    assert 1 < len(names) < len(catalog.names())
    assert all(pattern.lower().strip("*") in name for name in names)


def test_list_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capfd.readouterr().out)}
    assert tuple(rows) == catalog.names()
    assert rows["prelu"]["parameters"] == [{"name": "slope", "per_channel": True, "initial": 0.25}]
    assert all(parse(row["formula"]) == catalog.entry(name).program and len(row["curve"]) == 12 for name, row in rows.items())


# gp show


def test_show(folder: Path) -> None:
    result = start("show", "gelu", cwd=folder)
    assert result.returncode == 0
    labels = re.findall(r"^(\w+) {2,}", result.stdout, flags=re.MULTILINE)
    assert labels == ["name", "notes", "formula", "derivative", "parameters", "cost", "LaTeX"]
    assert "Hendrycks" in result.stdout
    assert "\x1b" not in result.stdout
    plot = result.stdout.partition("f(x)")[2].splitlines()
    assert len(plot) == 13
    assert all(len(line) <= 80 for line in plot)
    assert any("\u2801" <= character <= "\u28ff" for character in result.stdout)


@pytest.mark.parametrize(
    "expression",
    ["x", "3", "x*0/0", "1/x", "log(x)", "exp(exp(x))", "1e308*x", "1e300", "1e-300*x", "good.act", "turbulent", "prelu", "sign(x)"],
)
@pytest.mark.parametrize("columns", ["80", "40", "200"])
def test_show_any_curve(folder: Path, monkeypatch: pytest.MonkeyPatch, expression: str, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = CliRunner().invoke(app, ["show", expression], catch_exceptions=False)
    assert result.exit_code == 0
    assert "df/dx" in result.output


def test_show_expression_with_a_minus(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--emit", "latex", "--", "-x"]) == 0
    assert capfd.readouterr().out == "-x\n"


MARKS = {
    Emit.TRITON: "@triton.jit", Emit.LLVM: "define void", Emit.ASM: ".p2align", Emit.PTX: ".entry", Emit.SASS: "EXIT",
    Emit.AMDGCN: "s_endpgm", Emit.TORCH: "def activation(x, beta", Emit.NUMPY: "def activation(x, beta", Emit.LATEX: r"\beta",
}  # fmt: skip


@pytest.mark.parametrize("what", Emit)
def test_emit(what: Emit, capfd: pytest.CaptureFixture[str]) -> None:
    """Forward and backward differ, and standard output holds the source and nothing else."""
    text = []
    for option in ([], ["--backward"]):
        assert main(["show", "swish", "--emit", what, *option]) == 0
        output, message = capfd.readouterr()
        assert not message
        assert output.endswith("\n")
        assert "\x1b" not in output
        assert MARKS[what] in output or what is Emit.LATEX
        text.append(output)
    assert text[0] != text[1]


@pytest.mark.parametrize(
    ("what", "target", "mark"), [("ptx", "sm_80", ".target sm_80"), ("ptx", "sm_100", ".target sm_100"), ("amdgcn", "gfx942", "gfx942")]
)
def test_emit_target(what: str, target: str, mark: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "relu", "--emit", what, "--target", target]) == 0
    assert mark in capfd.readouterr().out


def test_emitted_numpy_is_the_function(folder: Path) -> None:
    source = start("show", "mish", "--emit", "numpy", cwd=folder)
    slope = start("show", "mish", "--emit", "numpy", "--backward", cwd=folder)
    x = np.linspace(-4.0, 4.0, 9)
    value, derivative = (_execute(text.stdout)(x) for text in (source, slope))
    t = np.tanh(np.log1p(np.exp(x)))
    np.testing.assert_allclose(value, x * t, rtol=1e-12)
    np.testing.assert_allclose(derivative, t + x * (1 - t * t) / (1 + np.exp(-x)), rtol=1e-12)


def _execute(source: str):  # type: ignore[no-untyped-def]
    namespace: dict[str, object] = {}
    exec(source, namespace)
    return namespace["activation"]


def test_report(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "gelusine", "--report"]) == 0
    rows = [line.split() for line in capfd.readouterr().out.splitlines()]
    numbers = [row for row in rows if row and row[0] in TARGETS]
    assert [tuple(row[:2]) for row in numbers] == [(t, k) for t in TARGETS for k in ("forward", "backward")]
    assert all(row[3] == row[4] == "0" and float(row[8]) > 1 for row in numbers)  # no spills, no local memory


def test_targets_are_those_of_the_compiler() -> None:
    assert tuple(Target) == tuple(TARGETS)


@pytest.mark.parametrize("name", ["a.png", "b.svg", "C.PNG"])
def test_plot(folder: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main(["show", "x*exp(x)", "--plot", name]) == 0
    assert capfd.readouterr().out == f"wrote {name}\n"
    data = (folder / name).read_bytes()
    if name.endswith("svg"):
        assert ElementTree.fromstring(data).tag.endswith("svg")
    else:
        assert data.startswith(b"\x89PNG")


def test_plot_without_matplotlib(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["show", "x", "--plot", "a.png"]) == 2
    assert capfd.readouterr().err == "gp: --plot needs matplotlib, which is not installed: pip install 'actgp[plot]'\n"
    assert not (folder / "a.png").exists()


# gp check


def test_check(folder: Path) -> None:
    result = start("check", "good.act", "bad.act", "-", "folder.act", cwd=folder, text="x*tanh(x)")
    assert result.returncode == 2
    assert result.stdout == "good.act: ok\nstandard input: ok\n"
    assert result.stderr.startswith("bad.act: line 1, column 3: unknown function 'sigmoi'")
    assert result.stderr.endswith("gp check: folder.act is a directory\n")


def test_check_right(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [str(path) for path in sorted((ROOT / "grammar" / "catalog").glob("*.act"))]
    assert main(["check", *files]) == 0
    assert capfd.readouterr().out == "".join(f"{file}: ok\n" for file in files)


def test_check_standard_input(folder: Path) -> None:
    result = start("check", "-", cwd=folder, text=b"x + \xff\n")
    assert (result.returncode, result.stderr) == (2, "gp check: standard input is not text in UTF-8: byte 4 is 0xff\n")


# gp doctor


def test_doctor(folder: Path) -> None:
    result = start("doctor", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    for label in ("versions", "processor", "threads", "cache", "devices", "environment", "backends"):
        assert re.search(rf"^{label}\b", result.stdout, flags=re.MULTILINE)


def test_doctor_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["versions"]["torch"]
    assert found["cache"]["writable"] is True
    assert found["environment"]["GP_CACHE_DIR"] == found["cache"]["folder"]
    assert all(found["backends"][name]["usable"] for name in ("llvm", "eager"))
    assert found["backends"]["batched"]["usable"] == bool(found["devices"])
    assert all(state["detail"] for state in found["backends"].values())


def test_doctor_says_what_fails(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no such processor")

    monkeypatch.setattr("gp.cli.diagnosis.activation", fail)
    assert main(["doctor"]) == 1
    assert re.search(r"llvm +no +OSError: no such processor", capfd.readouterr().out)


# Curves


def test_sparkline() -> None:
    assert sparkline(np.array([0.0, 1.0, np.nan, 2.0])) == "▁▅ █"
    assert sparkline(np.array([-np.inf, 0.0, np.inf])) == "▁▅█"
    assert sparkline(np.full(3, 1e300)) == "▄▄▄"
    assert sparkline(np.full(3, np.nan)) == "   "


def test_panel_is_a_rectangle() -> None:
    x = np.linspace(-5.0, 5.0, 801)
    for y in (x, np.sin(x), np.full_like(x, np.nan), np.where(x == 0, np.inf, x)):
        lines = panel("f(x)", x, y, 38, 10)
        assert len(lines) == 13
        assert {len(line) for line in lines} == {38}


def test_panel_draws_the_identity() -> None:
    """The curve goes from the lower left to the upper right, a cell at a time."""
    x = np.linspace(-5.0, 5.0, 801)
    rows = panel("f(x)", x, x, 24, 10)[1:11]
    places = [[k for k, c in enumerate(row) if "\u2801" <= c <= "\u28ff"] for row in rows]
    assert all(min(upper) >= max(lower) for upper, lower in itertools.pairwise(places))
    assert places[0][-1] == 23


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(-5.0, 5.0, [-5, 0, 5]), (0.0, 1.0, [0, 0.5, 1]), (-0.28, 4.97, [0, 2, 4]), (0.0, 0.003, [0, 0.001, 0.002, 0.003])],
)
def test_nice_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high, 4) == pytest.approx(ticks)


@pytest.mark.parametrize(("low", "high"), [(1e-300, 2e-300), (-1e300, 1e300), (1e9, 1e9 + 1), (0.0, 1e-12), (-0.01, 0.0099)])
def test_nice_ticks_of_any_size(low: float, high: float) -> None:
    assert 1 <= len(set(nice_ticks(low, high, 4))) <= 4


def test_limits_leave_out_a_pole() -> None:
    x = np.linspace(-5.0, 5.0, 801)
    with np.errstate(divide="ignore"):
        low, high = limits(1 / x)
    assert -10 < low < -2
    assert 2 < high < 10
    assert limits(x**3) == (-125.0, 125.0)


def test_sampled_slope_is_the_slope() -> None:
    for name in ("gelu", "turbulent", "neighbour_coupled", "prelu"):
        curve = sample(program(catalog.entry(name).text))
        numeric = np.gradient(curve.value, curve.x)
        np.testing.assert_allclose(curve.slope[1:-1], numeric[1:-1], atol=0.51 if name == "prelu" else 5e-3)
        assert bool(curve.assumption) == (name in ("turbulent", "neighbour_coupled"))
