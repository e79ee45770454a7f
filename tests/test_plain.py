"""What is printed is text: no control sequence from a file reaches a terminal, and a curve is a curve where there is ASCII alone."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from gp.cli import main
from gp.cli.console import SafeConsole
from gp.cli.plain import escaped
from gp.evolution.config import Config
from gp.run_file import FILE, put
from gp.run_store import RunStore

HOSTILE = "\x1b]0;owned\x07\x1b[2Jx\x9b31m\u202eabc\r"
ROOT = Path(__file__).parents[1]


def is_harmless(text: str) -> bool:
    return not any(c in text for c in "\x1b\x07\x9b\u202e\r")


def test_control_characters_are_spelled_out() -> None:
    assert escaped(HOSTILE) == r"\x1b]0;owned\x07\x1b[2Jx\x9b31m\u202eabc\r"
    assert escaped("a\tb\n\u03c3 \u2581\u28ff") == "a\tb\n\u03c3 \u2581\u28ff"
    assert escaped(escaped(HOSTILE)) == escaped(HOSTILE)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_prints_no_control_character_that_it_is_given(terminal: bool) -> None:
    stream = io.StringIO()
    out = SafeConsole(file=stream, force_terminal=terminal, color_system=None, width=200)
    table = Table("formula")
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE))
    out.print(HOSTILE, Text(HOSTILE), table)
    assert is_harmless(stream.getvalue())
    assert stream.getvalue().count(r"\x1b]0;owned") == 4


def test_a_record_a_file_name_and_a_column_with_control_sequences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunStore.create(tmp_path / "run", Config(population=8)) as store:
        scored = ("[-0.5]", '{"score": -1.0}', None, None)
        put(store._connection, "candidates", [(0, 0, 0, "seed", "[]", HOSTILE, 1, b"", 9, 3, 1, -0.5, *scored)])
    act = tmp_path / "\x1b[2J.act"
    act.write_text("x +")
    table = tmp_path / "\x1b[2J.csv"
    table.write_text("\x1b[2J,y,split\n" + "1,1,elsewhere\n")
    for arguments in (
        ["top", tmp_path / "run"], ["top", tmp_path / "run", "--csv"], ["top", tmp_path / "run", "--json"], ["runs", tmp_path],
        ["runs", tmp_path / "run" / FILE], ["check", act], ["show", act], ["data", "show", table], ["lab", "x", "--data", table],
    ):  # fmt: skip
        main(list(map(str, arguments)))
        printed = capsys.readouterr()
        assert is_harmless(printed.out + printed.err), arguments
        assert "x1b" in printed.out + printed.err or "u001b" in printed.out


def test_a_curve_in_an_ascii_locale() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    shown = subprocess.run([sys.executable, "-m", "gp", "show", "sin(3*x)"], env=environment, capture_output=True, text=True, check=True)
    assert "?" not in shown.stdout
    assert shown.stdout.isascii()
    assert shown.stdout.count("|") + shown.stdout.count("'") > 40
    listed = subprocess.run([sys.executable, "-m", "gp", "list"], env=environment, capture_output=True, text=True, check=True)
    assert "??" not in listed.stdout
