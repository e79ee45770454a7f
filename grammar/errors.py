"""The one exception that a program text can raise."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

_LONG = 40  # characters of a name that are compared
_WINDOW = 100  # columns of the offending line that a message shows around the caret


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a program text; both numbers count from 1."""

    line: int
    column: int


class DSLError(ValueError):
    """A mistake in a program text.

    `.line`, `.column` (from 1) say where, `.hint` what to do (it may be empty), `.reason` what is wrong. The message holds all
    of these and the line itself with a caret below the place.
    """

    def __init__(self, reason: str, text: str, position: Position, hint: str = "") -> None:
        self.reason = reason
        self.text = text
        self.line = position.line
        self.column = position.column
        self.hint = hint
        super().__init__(self._message())

    def __reduce__(self) -> tuple[type[DSLError], tuple[str, str, Position, str]]:
        return DSLError, (self.reason, self.text, Position(self.line, self.column), self.hint)

    def _message(self) -> str:
        lines = self.text.split("\n")
        line = lines[self.line - 1] if self.line <= len(lines) else ""
        first = max(0, self.column - 1 - _WINDOW // 2)
        shown = "".join(c if c.isprintable() else " " for c in line[first : first + _WINDOW])
        caret = " " * (self.column - 1 - first) + "^"
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return f"line {self.line}, column {self.column}: {self.reason}\n  {shown}\n  {caret}{hint}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that `name` is most likely a misspelling of, whatever the case, or an empty string."""
    by_lower = {other.lower(): other for other in sorted(known)}
    found = difflib.get_close_matches(name[:_LONG].lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""
