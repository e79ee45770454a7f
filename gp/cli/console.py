"""Printing for people: colours and cut lines on a terminal, plain and whole lines in a pipe."""

from __future__ import annotations

import functools
import textwrap
from typing import Final

from rich.console import Console
from rich.text import Text

_LABEL: Final = 12  # columns


@functools.cache
def console() -> Console:
    """The console of standard output; rich leaves colours out in a pipe and where NO_COLOR is set."""
    return Console(highlight=False, markup=False, emoji=False)


def width() -> int:
    """Columns of the terminal; 80 in a pipe, unless COLUMNS says otherwise."""
    return console().width


def print_line(text: Text) -> None:
    """One line: cut at the edge of a terminal, whole in a pipe."""
    if console().is_terminal:
        console().print(text, no_wrap=True, overflow="ellipsis", crop=True)
    else:
        console().print(text, soft_wrap=True)


def print_field(label: str, text: str) -> None:
    """A label and its text, of one or more lines; long ones go on below the text on a terminal, and stay whole in a pipe."""
    room = max(20, width() - _LABEL) if console().is_terminal else 0
    lines = [part for line in text.splitlines() for part in (textwrap.wrap(line, room) if room else [line])]
    for k, line in enumerate(lines or [""]):
        console().print(Text.assemble((f"{label if k == 0 else '':<{_LABEL}}", "bold"), line), soft_wrap=True)
