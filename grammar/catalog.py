"""The catalogue: named activations, one program a file in `grammar/catalog/`, whose comments name formula and source."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from grammar.parser import parse
from grammar.tree import Program


@dataclass(frozen=True, slots=True)
class Entry:
    """A named activation: its text, and the comment lines at the top of its file."""

    name: str
    text: str
    notes: tuple[str, ...]
    program: Program


@functools.cache
def names() -> tuple[str, ...]:
    """The names of all activations of the catalogue, sorted."""
    folder = resources.files("grammar").joinpath("catalog")
    return tuple(sorted(file.name.removesuffix(".act") for file in folder.iterdir() if file.name.endswith(".act")))


@functools.cache
def entry(name: str) -> Entry:
    """The activation of that name. Raises KeyError where there is none."""
    if name not in names():
        raise KeyError(name)
    text = resources.files("grammar").joinpath("catalog", f"{name}.act").read_text(encoding="utf-8")
    notes = tuple(line.lstrip("# ").rstrip() for line in text.splitlines() if line.startswith("#"))
    return Entry(name, text, notes, parse(text))


def load_text(text_or_name_or_path: str | Path) -> str:
    """The program text that the argument means: an `.act` file, a name of the catalogue, or the text itself.

    Raises FileNotFoundError for a path to nothing, TypeError for what is neither text nor path.
    """
    if not isinstance(text_or_name_or_path, str | Path):
        raise TypeError(f"an activation is a program's text, a name or a path, not {text_or_name_or_path!r}")
    if isinstance(text_or_name_or_path, Path) or text_or_name_or_path.strip().endswith(".act"):
        path = Path(text_or_name_or_path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        return path.read_text(encoding="utf-8-sig")  # with a byte-order mark or without
    name = text_or_name_or_path.strip()
    return entry(name).text if name in names() else text_or_name_or_path
