"""A terminal that is drawn on is left as it was: also when the process is asked to end (SIGTERM), or stopped for a while (Ctrl-Z)."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

from rich.console import Console

# What terminals since the VT220 and xterm understand.
_HIDE_CURSOR, _SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"
_SCREEN, _NO_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
_SIGNALLED: Final = 128  # what shells add to the number of a signal


@contextlib.contextmanager
def restoring(console: Console, *, screen: bool) -> Iterator[None]:
    """A context for the time that something is drawn with a hidden cursor, on a `screen` of its own or not."""
    try:
        descriptor = console.file.fileno()
    except io.UnsupportedOperation:  # no terminal, but what a test draws on
        yield
        return

    def suspend(number: int, frame: FrameType | None) -> None:
        # Written past the console, whose lock the thread that draws may hold.
        os.write(descriptor, (_NO_SCREEN if screen else b"") + _SHOW_CURSOR)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # the process stops here until it is continued
        signal.signal(number, suspend)
        os.write(descriptor, (_SCREEN if screen else b"") + _HIDE_CURSOR)

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(_SIGNALLED + number)

    before = {number: signal.signal(number, handler) for number, handler in ((signal.SIGTSTP, suspend), (signal.SIGTERM, end))}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
