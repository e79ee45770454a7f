"""`python -m bench.command_fuzz`: whatever the command line, it ends soon with status 0, 1 or 2, and what is wrong is one message."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer

from bench.command_lines import commands, draw, make_files
from gp.cli import main as gp
from gp.cli.plain import say

_SECONDS: Final = 30  # that a command line may take
_PROCESS_EVERY: Final = 20  # one line in so many is given to a process
_ROOT: Final = Path(__file__).parents[1]
_STATUS: Final = (0, 1, 2)
_CONTROLS: Final = "\x1b\r\u202e"

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


class _Late(BaseException):
    """The time of a command line is over."""


@dataclass(frozen=True, slots=True)
class Found:
    """How many command lines ended with which status, and a message for each fault, whose last line is the command line."""

    statuses: Counter[int]
    faults: tuple[str, ...]


def fuzz(lines: int, *, seed: int) -> Found:
    """Give that many command lines, the same ones for the same seed: most in this process, one in 20 to a process of its own."""
    rng = random.Random(seed)
    statuses: Counter[int] = Counter()
    faults = []
    known = commands()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        files = make_files(Path(place))
        for k in range(lines):
            words = draw(rng, known, files)
            status, errors = _process(words) if k % _PROCESS_EVERY == _PROCESS_EVERY - 1 else _here(words)
            statuses[status] += 1
            if reason := _wrong(status, errors, words):
                faults.append(f"{reason}\n  gp {shlex.join(words)[:600]!a}")
    return Found(statuses, tuple(faults))


def _here(words: Sequence[str]) -> tuple[int, str]:
    """The status that the command ends with, and what it writes to standard error."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO())
    try:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]), _limited():
            status = gp(words)
    except _Late:
        return -signal.SIGALRM, ""
    except BaseException:  # whatever is raised to the entry point is what is looked for here
        return -1, traceback.format_exc()
    finally:
        sys.stdin = before
    streams[1].flush()
    buffer = streams[1].buffer
    return status, buffer.getvalue().decode() if isinstance(buffer, io.BytesIO) else ""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _process(words: Sequence[str]) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-m", "gp", *(word.replace("\0", "") for word in words)]
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return -signal.SIGALRM, ""
    return done.returncode, done.stderr.decode(errors="replace")


def _wrong(status: int, errors: str, words: Sequence[str]) -> str:
    """What is wrong with an end; empty where nothing is."""
    told = [line for line in errors.splitlines() if line.startswith("gp: ")]
    if status == -signal.SIGALRM:
        return f"takes more than {_SECONDS} seconds"
    if "Traceback (most recent call last)" in errors:
        return f"a traceback: {errors.strip().splitlines()[-1][:300]}"
    if status not in _STATUS:
        return f"status {status}: {errors[:300]}"
    if status == 2 and not told and "check" not in words and errors.strip():
        return f"status 2 without a message: {errors[:300]!r}"
    if len(told) > 1 + errors.count("is compared once"):
        return f"{len(told)} messages: {told}"
    if any(character in errors for character in _CONTROLS):
        return f"control characters in what is said: {errors[:300]!r}"
    if len(errors) > 2000 + 4 * sum(map(len, words)):
        return f"{len(errors)} characters of messages: {errors[:300]!r}"
    return ""


@app.command()
def main(
    lines: Annotated[int, typer.Option(min=1, help="How many.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same command lines.")] = 0,
) -> None:
    """Give `gp` random command lines. Every fault is printed with its line; status 1 if there is any."""
    found = fuzz(lines, seed=seed)
    for fault in found.faults:
        say(fault + "\n")
    ends = ", ".join(f"{count:,} with status {status}" for status, count in sorted(found.statuses.items()))
    say(f"{lines:,} command lines, {ends}; {len(found.faults):,} faults")
    raise typer.Exit(1 if found.faults else 0)


if __name__ == "__main__":
    app(prog_name="python -m bench.command_fuzz")
