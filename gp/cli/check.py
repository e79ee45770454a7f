"""`gp check`: are these programs right?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gp.cli.errors import CommandError
from gp.cli.plain import say


def register(app: typer.Typer) -> None:
    app.command("check")(check)


def check(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files with a program each, or names of `gp list`; - is standard input.")
    ],
) -> None:
    """Check activation files: a line for each one that is right, and a message on standard error for each one that is not.

    The exit status is 2 if any is wrong.
    """
    from codegen.acceptance import accepted  # noqa: PLC0415 - `gp --help` does without what these import
    from grammar import DSLError, parse  # noqa: PLC0415

    wrong = 0
    for file in files:
        name = "standard input" if file == "-" else file
        try:
            accepted(parse(_read(file)))
        except DSLError as error:
            say(f"{name}: {error}", error=True)
            wrong += 1
        except CommandError as error:
            say(f"gp check: {error}", error=True)
            wrong += 1
        else:
            say(f"{name}: ok")
    if wrong:
        raise typer.Exit(2)


def _read(file: str) -> str:
    """The program in a file, on standard input, or of the catalogue where there is no such file."""
    from gp.cli.inputs import read_file  # noqa: PLC0415
    from grammar import catalog  # noqa: PLC0415

    if file == "-":
        return _read_standard_input()
    return catalog.load_text(file) if file in catalog.names() and not Path(file).exists() else read_file(Path(file))


def _read_standard_input() -> str:
    from gp.user_files import decoded, unreadable  # noqa: PLC0415

    name = "standard input"
    try:
        return decoded(sys.stdin.buffer, name)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(unreadable(Path(name), error)) from error
