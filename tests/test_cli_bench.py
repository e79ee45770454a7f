"""`gp bench`: what it measures, prints and writes, what it refuses, and how it is interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

import gp
from gp.cli import console as console_module
from gp.cli import main
from gp.cli.bench import Devices, Dtypes, parse_sizes
from gp.cli.bench_cold import Untranslatable, first_call
from gp.cli.bench_measure import COLD, COMPILED, EAGER, KEPT, OURS, OWN, PASSES, TORCH_NAMES, Result, Row
from gp.cli.bench_table import duration, print_result
from gp.timing import Spread
from grammar import catalog

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
COMMAND = [sys.executable, "-m", "gp", "bench"]
TINY = ["--no-compile", "--rounds", "3"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a few files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.act").write_text(
        "param a = 0.5  # a slope\nparam b[channel] = 1; x*sigmoid(a*x)*b + shift(x, 1)*std(x, over=features)\n"
    )
    (tmp_path / "wrong.act").write_text("x*sigmoi(x)\n")
    (tmp_path / "folder.json").mkdir()
    return tmp_path


# Arguments, what the message must hold.
BAD_INPUT = [
    ([], "Missing argument 'EXPR...'"),
    (["geluu"], "there is no activation called 'geluu' (see gp list); did you mean 'gelu'?"),
    (["gelu", "wrong.act"], "wrong.act: line 1, column 3: unknown function 'sigmoi'"),
    (["none.act"], "there is no file none.act"),
    (["gelu", "x +"], "the program ends too early"),
    (["-x"], 'goes last, after --, as in: gp bench -- "-x"'),
    (["gelu", "--sizes", ""], "--sizes : give a number of elements such as 65536"),
    (["gelu", "--sizes", "4k"], "--sizes 4k: give a number of elements such as 65536"),
    (["gelu", "--sizes", "1,,2"], "give a number of elements"),
    (["gelu", "--sizes", "-5"], "give a number of elements"),
    (["gelu", "--sizes", "9" * 5000], "give a number of elements"),
    (["gelu", "--sizes", "64,0"], "a size is a number of elements from 1 to 268435456"),
    (["gelu", "--sizes", "268435457"], "a size is a number of elements from 1 to 268435456"),
    (["gelu", "--sizes", "64,128,64"], "a size is given twice"),
    (["gelu", "--dtype", "int8"], "'int8' is not one of 'float32', 'float64', 'bfloat16', 'float16'"),
    (["gelu", "--rounds", "2"], "Invalid value for '--rounds'"),
    (["gelu", "--rounds", "many"], "Invalid value for '--rounds'"),
    (["gelu", "--threads", "0"], "Invalid value for '--threads'"),
    (["gelu", "--device", "tpu"], "'tpu' is not one of 'auto', 'cpu', 'cuda'"),
    (["gelu", "--json", "nowhere/a.json"], "--json nowhere/a.json: there is no directory nowhere"),
    (["gelu", "--json", "folder.json"], "this is a directory"),
    (["gelu", "--compiled"], "No such option: --compiled"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD_INPUT, ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "")
def test_bad_input(folder: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    before = sorted(folder.iterdir())
    assert main(["bench", *arguments]) == 2
    output, message = capfd.readouterr()
    assert expected in message
    assert "Traceback" not in message
    assert not output
    assert message.count("\n") == 1 or "column" in message
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("usable", "arguments", "expected"),
    [
        (False, ["--device", "cuda"], "--device cuda: there is no GPU that torch can use; gp doctor says why"),
        (True, ["--threads", "2"], "--threads is for the CPU; give --device cpu with it"),
        (True, ["--threads", "2", "--device", "cuda"], "--threads is for the CPU"),
    ],
)
def test_device(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], usable: bool, arguments: list[str], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    assert main(["bench", "relu", *arguments]) == 2
    assert expected in capfd.readouterr().err


def test_words_of_options() -> None:
    assert parse_sizes("4096") == (4096,)
    assert parse_sizes("1,268435456,7") == (1, 1 << 28, 7)
    assert all(getattr(torch, dtype).is_floating_point for dtype in Dtypes)
    assert all(torch.device(device) for device in Devices if device is not Devices.AUTO)


@pytest.mark.parametrize("name", sorted(TORCH_NAMES))
def test_torch_computes_the_same(name: str) -> None:
    x = torch.linspace(-9, 9, 1001)
    torch.testing.assert_close(gp.activation(name)(x), getattr(functional, name)(x), rtol=1e-5, atol=2e-6)
    assert name in catalog.names()


def rows_of(path: Path) -> dict[tuple[str, str, str, int], dict[str, Any]]:
    """The rows in a file of `--json` by expression, contender, measure and size."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return {(row["expression"], row["contender"], row["measure"], row["elements"]): row for row in rows}


def test_table_and_file(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All kinds of functions at once: of torch.nn, learnable with statistics and neighbours, without gradient, given twice."""
    step = "where(x > 0, 1, 0)"
    assert main(["bench", "relu", "half.act", step, "relu", *TINY, "--sizes", "512,7", "--json", "a.json"]) == 0
    output, message = capfd.readouterr()
    assert message == ""
    lines = output.splitlines()
    assert lines[0].startswith("processor ")
    assert lines[0].endswith("dtype float32, device cpu")
    assert output.count("relu: ") == 1
    assert "half.act: param a = 0.5; param b[channel] = 1; " in output
    assert output.count("there is no backward pass to measure") == 1
    assert output.endswith("wrote a.json\n")

    found = json.loads((folder / "a.json").read_text(encoding="utf-8"))
    assert found["rounds"] == 3
    assert found["machine"]["torch"] == torch.__version__
    rows = rows_of(folder / "a.json")
    assert len(rows) == len(found["rows"])
    for expression in ("relu", "half.act", step):
        kinds = PASSES[:1] if expression == step else (*PASSES, KEPT)
        names = (OURS, OWN, EAGER) if expression == "relu" else (OURS, EAGER)
        expected = {(expression, name, kind, size) for name in names for kind in kinds for size in (512, 7)}
        assert {key for key in rows if key[0] == expression} == expected | {(expression, OURS, COLD, 512)}
    for (expression, contender, measure, _), row in rows.items():
        assert row["value_low"] <= row["value"] <= row["value_high"]
        assert row["value"] > 0
        assert row["unit"] == ("tensors" if measure == KEPT else "seconds")
        assert (row["ratio"] is None) == (contender == OURS), expression
    assert rows["relu", OURS, KEPT, 512]["value"] == 1
    assert rows["half.act", OURS, KEPT, 512]["value"] == 1 + (1 + 256) / 512  # x and the parameters
    assert rows["half.act", EAGER, KEPT, 512]["ratio"] > 2


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_types(folder: Path, capfd: pytest.CaptureFixture[str], dtype: str) -> None:
    assert main(["bench", "half.act", *TINY, "--sizes", "256", "--dtype", dtype, "--json", "a.json"]) == 0
    size = torch.empty((), dtype=getattr(torch, dtype)).element_size()
    kept = rows_of(folder / "a.json")["half.act", OURS, KEPT, 256]["value"]
    assert kept == 1 + 4 * (1 + 256) / (size * 256)  # the parameters stay float32
    assert f"dtype {dtype}" in capfd.readouterr().out


def test_threads_and_no_compiler(folder: Path) -> None:
    """Without a C++ compiler torch.compile is left out with a word; the process writes for a pipe."""
    environment = ENVIRONMENT | {"CXX": str(folder / "no-compiler")}
    arguments = ["--rounds", "3", "--sizes", "64", "--threads", "1", "--", "-x"]
    done = subprocess.run([*COMMAND, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"gp: torch.compile cannot be used here and is left out: .*No working C\+\+ compiler.*\n", done.stderr)
    assert ", threads 1," in done.stdout
    assert EAGER in done.stdout
    assert "\x1b" not in done.stdout


def test_what_torch_cannot_compile_is_one_line() -> None:
    def refuse(x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x

    with pytest.raises(Untranslatable, match="ata-dependent") as caught:
        first_call(refuse, torch.ones(4), ())
    assert "\n" not in str(caught.value)


def test_memory_runs_out(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes")

    monkeypatch.setattr("gp.cli.bench_measure.measure", fail)
    assert main(["bench", "relu", *TINY]) == 2
    assert capfd.readouterr().err == "gp: there is not enough memory for 4,194,304 elements; give smaller --sizes\n"


def test_a_narrow_terminal_has_the_whole_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    one, three = Spread(1.0, 1.0, 1.0), Spread(2.5e-3, 3.25e-3, 412.0)
    rows = [
        Row("relu", "max(x, 0)", name, measure, 4096, one if measure == KEPT else three, None if name == OURS else three)
        for measure in (*PASSES, KEPT, COLD)
        for name in (OURS, OWN, EAGER, COMPILED)
    ]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    console_module.console.cache_clear()
    print_result("relu", Result(rows, ["a note"]))
    console_module.console.cache_clear()
    output = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)
    assert max(map(len, output.splitlines())) <= 80
    assert "…" not in output
    assert "4,096" in output
    assert all(measure in output for measure in (*PASSES, KEPT, COLD))
    assert output.count("412]") == 3 * 5
    assert "a note" in output


def test_durations() -> None:
    assert [duration(s) for s in (3.25e-6, 0.1234e-3, 0.01, 0.9999, 28.31, 1234.5)] == [
        "3.25 us",
        "123 us",
        "10 ms",
        "1000 ms",
        "28.3 s",
        "1234 s",
    ]


def test_help_loads_no_torch() -> None:
    code = "import sys; from gp.cli import main; main(['bench', '--help']); assert not {'torch', 'numba', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, check=False).returncode == 0


def test_interrupted(folder: Path) -> None:
    """Ctrl-C on a terminal, to the command and its helpers: status 130, nothing written, no traceback."""
    arguments = ["relu", "gelusine", "--no-compile", "--rounds", "1000", "--sizes", "65536", "--json", "a.json"]
    terminal, end = os.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "200"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=end, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(end)
        shown = ""
        while "65,536 elements" not in shown:
            shown += os.read(terminal, 4096).decode()
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout is not None
        output = process.stdout.read().decode()
        assert process.wait() == 130
    shown += os.read(terminal, 65536).decode()
    os.close(terminal)
    assert "compiling from nothing" in shown
    assert "Traceback" not in shown + output
    assert output.startswith("processor ")
    assert sorted(path.name for path in folder.iterdir()) == ["folder.json", "half.act", "wrong.act"]
