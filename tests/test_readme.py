"""What README.md tells a reader to type works: shell commands, the Python example, the program in the language."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from typer.main import get_command

import gp
from gp.cli import app, main

ROOT = Path(__file__).resolve().parent.parent
# Blocks as (language, text).
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
LINES = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
COMMANDS = [words for words in (shlex.split(line, comments=True) for line in LINES) if words]
# Subcommands of gp that take long, or need a run that did: their arguments are parsed, no more. They have tests of their own.
LONG = ("compare", "lab", "resume", "run", "runs", "top")
TINY = {"bench": ["--no-compile", "--sizes", "64", "--rounds", "3"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the commands name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.act").write_text("x*sigmoid(x)\n")
    return tmp_path


def test_there_are_blocks() -> None:
    assert {"sh", "python", ""} <= {language for language, _ in BLOCKS}
    assert {words[0] for words in COMMANDS} == {"make", "gp", "python"}
    commands = cast(Any, get_command(app)).commands
    assert {words[1] for words in COMMANDS if words[0] == "gp"} <= set(commands)


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] == "gp"], ids=" ".join)
def test_gp(folder: Path, capfd: pytest.CaptureFixture[str], words: list[str]) -> None:
    name, *arguments = words[1:]
    if name in LONG:
        parse(get_command(app), words[1:])
        return
    assert main([name, *arguments, *TINY.get(name, [])]) == 0
    output, message = capfd.readouterr()
    assert output
    assert not message


def parse(command: Any, words: list[str], parent: Any = None) -> None:
    """Read the arguments of a command, or of the subcommand that they begin with. Raises what the command line turns into a message."""
    context = command.make_context("gp", list(words), parent=parent)
    if hasattr(command, "commands"):
        parse(command.commands[words[0]], words[1:], context)


def test_parsing_refuses() -> None:
    with pytest.raises(Exception, match="No such option: --fidelty"):
        parse(get_command(app), ["lab", "gelu", "--fidelty", "full"])


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] == "python"], ids=" ".join)
def test_python(words: list[str]) -> None:
    options = ["--collect-only"] if "pytest" in words else [] if "--help" in words else ["--help"]
    done = subprocess.run([sys.executable, *words[1:], *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] == "make"], ids=" ".join)
def test_make(words: list[str]) -> None:
    done = subprocess.run([words[0], "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if language == "python"])
def test_example(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(text, "README.md", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if not language])
def test_program(text: str) -> None:
    """The kernels compute what plain torch operations do, and the gradient has numbers."""
    x = torch.randn(16, 8, requires_grad=True)
    y = gp.activation(text)(x)
    torch.testing.assert_close(y, gp.activation(text, backend="eager")(x))
    y.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
