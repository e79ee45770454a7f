"""Printing for people: colours and cut lines on a terminal, plain and whole lines in a pipe, ASCII where the locale has no more.

Text may come from a file that somebody else wrote: nothing in it reaches a terminal as a control sequence.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from gp.cli.plain import escaped

_LABEL: Final = 12  # columns
_BRAILLE: Final = 0x2800
_TOP, _BOTTOM = 0x01 | 0x08 | 0x02 | 0x10, 0x04 | 0x20 | 0x40 | 0x80  # dots of the upper and of the lower half of a cell
_CURVES: Final = {chr(_BRAILLE + b): " .'|"[2 * bool(b & _TOP) + bool(b & _BOTTOM)] for b in range(256)}
_LINES: Final = dict(zip("▁▂▃▄▅▆▇█│┤└┬─┄━…→·±²", "_.,-=+*#|+++--=~>.~2", strict=True))
_ASCII: Final = str.maketrans(_CURVES | _LINES)


class SafeConsole(Console):
    """A console that prints what it is given as text: no markup, no control characters, and ASCII where there is nothing else."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The parts of what is printed."""
        plain = not self.encoding.startswith("utf")
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                text = escaped(segment.text)
                yield Segment(text.translate(_ASCII) if plain else text, segment.style)


@functools.cache
def console() -> Console:
    """The console of standard output; rich leaves colours out in a pipe and where NO_COLOR is set."""
    return SafeConsole()


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
