"""What a user may say and mean: names, files with a mark, settings that are misspelt, outputs that are full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gp.cli import main
from gp.cli.errors import explain
from gp.evolution.config import Config
from gp.lab import evaluation
from gp.lab.data import DataError, load, make_dataset
from gp.lab.data.csv_table import read_table
from gp.run_store import RunStore

ROOT = Path(__file__).parents[1]
BOM = "\ufeff"


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    act, toml = tmp_path / "a.act", tmp_path / "a.toml"
    act.write_text(BOM + "x*tanh(x)\n", encoding="utf-8")
    toml.write_text(BOM + "steps = 7\n", encoding="utf-8")
    assert main(["check", str(act)]) == 0
    assert main(["show", str(act), "--emit", "numpy"]) == 0
    assert main(["run", "--config", str(toml), "--print-config"]) == 0
    assert "steps = 7" in capsys.readouterr().out


def test_check_takes_a_name_of_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "gelu"]) == 0
    assert capsys.readouterr().out == "gelu: ok\n"
    (tmp_path / "gelu").write_text("x +")
    assert main(["check", "gelu"]) == 2  # a file of that name is what is meant
    assert main(["check", "gellu"]) == 2


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("actgp")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("popluation=9", "gp: --set: there is no setting 'popluation', did you mean 'population'? (gp run --print-config lists all)\n"),
        ("weights.sinn=9", "gp: weights: there is no production 'sinn', did you mean 'sin'? (gp run --print-config lists all)\n"),
    ],
)
def test_a_misspelt_setting_names_the_nearest_and_the_list(setting: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--set", setting]) == 2
    assert capsys.readouterr().err == message
    assert main(["run", "--print-config"]) == 0
    words = capsys.readouterr().out.replace("#", " ").split()
    assert "population" in words
    assert "sin," in words


def test_workers_are_bounded_when_a_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunStore.create(tmp_path / "run", Config()).close()
    for command in (["resume", str(tmp_path / "run")], ["run"]):
        assert main([*command, "--workers", "100000"]) == 2
        assert capsys.readouterr().err == "gp: workers must be a whole number from 1 to 256, not 100000\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments", [["list"], ["list", "--json"], ["show", "gelu"], ["run", "--print-config"], ["--version"]], ids=" ".join
)
def test_output_to_a_full_disk_is_one_message(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gp", *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "gp: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("package", ["kernels", "grammar", "codegen"])
def test_a_folder_beside_a_script_that_is_called_like_ours_is_explained(package: str, tmp_path: Path) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    script = tmp_path / "script.py"
    script.write_text("import sys, gp\nprint(gp.DSLError.__name__)\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    advice = f"{tmp_path / package}, beside your script or where you are; rename it, start Python with -P (python -P ...), uninstall"
    assert advice in done.stderr.splitlines()[-1]
    helped = subprocess.run([sys.executable, "-P", str(script)], env=environment, capture_output=True, text=True, check=False)
    assert helped.stdout == "DSLError\n"


def rows(cell: str) -> str:
    """A table with one cell in its last training row."""
    lines = [f"{k},{k * k},train" for k in range(63)] + [f"{cell},1,train"]
    lines += [f"{k + 0.5},{k},{split}" for split in ("id", "ood") for k in range(16)]
    return "\n".join(["height,y,split", *lines])


def test_a_million_columns_are_one_message_at_once() -> None:
    names = ",".join(f"c{k}" for k in range(1_000_000))
    with pytest.raises(DataError, match="the first row names 1,000,002 columns; at most 1,002 can be used, so leave some out"):
        read_table(f"{names},y,split\n" + "1," * 1_000_000 + "1,train\n")


@pytest.mark.parametrize("cell", ["1e308", "-1e308", "1.7e308", "1e200"])
@pytest.mark.filterwarnings("error")
def test_values_too_large_name_their_column(cell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(rows(cell))
    assert main(["lab", "x", "--data", str(file)]) == 2
    printed = capsys.readouterr().err
    assert "column 'height' has values too large, too small or too far from those of training for float32" in printed
    assert len(printed.splitlines()) == 1
    file.write_text(rows("70"))
    (instance,) = load(file)
    make_dataset(instance, 0)  # negative control


@pytest.mark.parametrize("failing", [2, 1])
def test_where_nothing_has_a_score_the_status_is_1(
    failing: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = evaluation.outcomes

    def outcomes(texts: list[str], *more: Any, **options: Any) -> Iterator[tuple[int, Any]]:
        for k, found in real(texts, *more, **options):
            yield k, "took longer than 3 s" if k < failing else found

    monkeypatch.setattr(evaluation, "outcomes", outcomes)
    status = main(["lab", "x*tanh(x)", "x*sin(x)", "--fidelity", "quick", "--workers", "1"])
    assert status == (1 if failing == 2 else 0)
    assert capsys.readouterr().out.count("no score: took longer than 3 s") == failing


def test_a_device_without_an_end_is_a_file_too_large(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("gp.user_files._MOST", 1000)
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for arguments in (
        ["check", "/dev/zero"],
        ["run", "--config", "/dev/zero", "--print-config"],
        ["data", "show", str(tmp_path / "zero.csv")],
    ):
        assert main(arguments) == 2
        assert "File too large" in capsys.readouterr().err
    (tmp_path / "long.act").write_text("x" + " " * 999)
    assert main(["check", str(tmp_path / "long.act")]) == 0  # negative control


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_closed_leads_nowhere_and_no_file_takes_its_number(closed: str, tmp_path: Path) -> None:
    code = "import os; from gp.cli import main; status = main(['check', 'gelu', '-']); "
    code += f"open({str(tmp_path / 'said')!r}, 'w').write(f'{{status}} {{os.open(os.devnull, os.O_RDONLY) > 2}}')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", code], env=environment, input="x", text=True, check=False
    )
    assert (done.returncode, (tmp_path / "said").read_text()) == (0, "2 True" if "<" in closed else "0 True")


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (OSError(28, "No space left on device", "file"), False),
    ],
)
def test_want_of_memory_is_one_message(error: Exception, is_memory: bool) -> None:
    around = RuntimeError("could not be loaded")
    around.__context__ = error
    assert ("there is not enough memory" in (explain(error) or "")) == is_memory
    assert ("there is not enough memory" in (explain(around) or "")) == is_memory
