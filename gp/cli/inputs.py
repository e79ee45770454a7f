"""What a user names on the command line, an expression, a catalogue name or a file, and what is said when it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from codegen.acceptance import accepted
from codegen.function import Activation
from gp.cli.errors import CommandError
from gp.user_files import read_text, unreadable
from grammar import DSLError, catalog, nearest, parse

_SUFFIX: Final = ".act"


@dataclass(frozen=True, slots=True)
class Named:
    """An activation with the name it goes by (empty for an expression) and the notes of its catalogue file."""

    name: str
    notes: tuple[str, ...]
    function: Activation


def load(argument: str) -> Named:
    """The activation that EXPR means: a file if it ends in .act, else a name of the catalogue, else an expression.

    The same reading as `gp.activation` has (`grammar.catalog.load_text`), without torch. Raises DSLError, or CommandError for a
    file that cannot be read or a mistake inside one.
    """
    name = argument.strip()
    if name.endswith(_SUFFIX):
        path = Path(name)
        text = read_file(path)
        try:
            return Named(path.name, (), accepted(parse(text)))
        except DSLError as error:
            raise CommandError(f"{path}: {error}") from error
    if name in catalog.names():
        entry = catalog.entry(name)
        return Named(name, entry.notes, accepted(entry.program))
    try:
        return Named("", (), accepted(parse(argument)))
    except DSLError as error:
        if name and _exists(name):
            raise CommandError(f"{name} is not the name of an activation file, which ends in {_SUFFIX}") from error
        near = nearest(name, catalog.names()) if name.isidentifier() else ""
        if near:
            raise CommandError(f"there is no activation called '{name}' (see gp list); did you mean '{near}'?") from error
        raise


def read_file(path: Path) -> str:
    """The text of a file. Raises CommandError that names the file and says why it cannot be read."""
    try:
        return read_text(path)
    except FileNotFoundError as error:
        raise CommandError(f"there is no file {path}{_suggestion(path)}") from error
    except IsADirectoryError as error:
        raise CommandError(f"{path} is a directory") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(unreadable(path, error)) from error


def _suggestion(path: Path) -> str:
    if path.stem in catalog.names() and path.name == str(path):
        return f"; the catalogue's activation is called {path.stem}, without {_SUFFIX}"
    try:
        beside = [file.stem for file in path.parent.iterdir() if file.suffix == _SUFFIX]
    except OSError:
        return ""
    near = nearest(path.stem, beside)
    return f"; did you mean {path.parent / near}{_SUFFIX}?" if near else ""


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # too long for a name, or with a NUL in it
        return False
