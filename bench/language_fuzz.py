"""`python -m bench.language_fuzz`: whatever the text, the one exception is DSLError, it has a place, and it comes within a second.

What is accepted is also printed and read back: the program itself, its derivative, its LaTeX.
"""

from __future__ import annotations

import random
import shlex
import time
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from bench.language_texts import draw
from codegen.acceptance import accepted
from codegen.build import build
from codegen.graph import topological
from codegen.text import declarations, to_latex, to_program
from grammar import DSLError, format_program, parse

SECONDS: Final = 1.0  # of the processor, that reading a text may take
LATEX: Final = 200  # characters of LaTeX for each operation, at most

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
        taken = 0.0
        try:
            error = read(text)
            taken = time.process_time() - start
            reason = "" if error is None else _misplaced(error)
            if error is None and go_on(text) is None:
                accepted += 1
        except Exception as exception:  # any other than DSLError is what is looked for here
            reason = f"{type(exception).__name__}: {str(exception)[:200]}"
        if not reason and taken > SECONDS:
            reason = f"takes {taken:.1f} seconds"
        if reason:
            faults.append(f"{reason}\n{_reproduction(text)}")
    return Found(accepted, tuple(faults))


def read(text: str) -> DSLError | None:
    """The error of a text, None when it can be read."""
    try:
        build(parse(text))
    except DSLError as error:
        return error
    return None


def go_on(text: str) -> DSLError | None:
    """The error of a text that can be read, None when it is accepted; then all that can be printed of it is printed and read back."""
    program = parse(text)
    try:
        function = accepted(program)
    except DSLError as error:
        return error
    printed = format_program(program)
    assert parse(printed) == program, "the printed text is another program"
    build(parse(format_program(to_program(function.slope, declarations(function.parameters)))))
    latex = len(to_latex(function.graph))
    assert latex < LATEX * (len(topological([function.graph])) + 10), f"{latex:,} characters of LaTeX"
    return None


def _misplaced(error: DSLError) -> str:
    """What is wrong with an error itself."""
    lines = error.text.split("\n")
    if not (1 <= error.line <= len(lines) and 1 <= error.column <= len(lines[error.line - 1]) + 1):
        return f"line {error.line}, column {error.column} is outside of the text"
    return "" if error.reason else "the error says nothing"


def _reproduction(text: str) -> str:
    code = f"from bench.language_fuzz import go_on, read; t = {text!a}; print(read(t) or go_on(t))"
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
