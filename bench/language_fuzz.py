"""`python -m bench.language_fuzz`: whatever the text, the one exception is DSLError, it has a place, and it comes within a second.

What is accepted is also printed and read back.
"""

from __future__ import annotations

import random
import shlex
import time
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from bench.language_texts import draw
from codegen.build import build
from grammar import DSLError, format_program, parse

SECONDS: Final = 1.0  # of the processor, that a text may take

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@dataclass(frozen=True, slots=True)
class Found:
    """How many texts were accepted, and a message for each fault, whose last line is a command that shows it."""

    accepted: int
    faults: tuple[str, ...]


def fuzz(texts: int, *, seed: int) -> Found:
    """Read that many texts, the same ones for the same seed."""
    r = random.Random(seed)
    accepted = 0
    faults = []
    for _ in range(texts):
        text = draw(r)
        start = time.process_time()
        try:
            error = _read(text)
            reason = "" if error is None else _misplaced(error)
            accepted += error is None
        except Exception as exception:  # any other than DSLError is what is looked for here
            reason = f"{type(exception).__name__}: {str(exception)[:200]}"
        taken = time.process_time() - start
        if not reason and taken > SECONDS:
            reason = f"takes {taken:.1f} seconds"
        if reason:
            faults.append(f"{reason}\n{_reproduction(text)}")
    return Found(accepted, tuple(faults))


def _read(text: str) -> DSLError | None:
    """The error of a text, None when it is accepted."""
    try:
        program = parse(text)
        build(program)
    except DSLError as error:
        return error
    assert parse(format_program(program)) == program, "the printed text is another program"
    return None


def _misplaced(error: DSLError) -> str:
    """What is wrong with an error itself."""
    lines = error.text.split("\n")
    if not (1 <= error.line <= len(lines) and 1 <= error.column <= len(lines[error.line - 1]) + 1):
        return f"line {error.line}, column {error.column} is outside of the text"
    return "" if error.reason else "the error says nothing"


def _reproduction(text: str) -> str:
    code = f"from bench.language_fuzz import _read; print(_read({text!a}))"
    return f"python -c {shlex.quote(code)}"


@app.command()
def main(
    texts: Annotated[int, typer.Option(min=1, help="How many.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same texts.")] = 0,
) -> None:
    """Read random texts. Every fault is printed with a command that shows it; status 1 if there is any."""
    found = fuzz(texts, seed=seed)
    for fault in found.faults:
        typer.echo(fault + "\n")
    typer.echo(f"{texts:,} texts, {found.accepted:,} accepted, {len(found.faults):,} faults")
    raise typer.Exit(1 if found.faults else 0)


if __name__ == "__main__":
    app()
