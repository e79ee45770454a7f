"""Text that may come from a file, on its way to a terminal: none of it is a control sequence."""

from __future__ import annotations

import unicodedata
from typing import Final

import typer

_CONTROLS: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")  # of Unicode's categories: also what turns the direction of writing around


def escaped(text: str) -> str:
    """The text with every control character but line breaks and tabs spelled out, as in \\x1b."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _CONTROLS else ascii(c)[1:-1] for c in text)


def say(message: str, *, error: bool = False) -> None:
    """Print a message; to standard error if it is none of the results."""
    typer.echo(escaped(message), err=error)
