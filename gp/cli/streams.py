"""The streams that a process begins with: some may be closed, know no more than ASCII, or lead to a disk that is full."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Final

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def prepare_streams() -> None:
    """Let all three be written or read without an error.

    One that is closed leads nowhere: else the next file that is opened, such as a run's record, would have its number, and get what a
    library writes there. A character that a stream cannot encode is a question mark.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - it is open as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def drop_output() -> None:
    """Send what is still to be written to standard output nowhere: Python would try again as it ends, and fail again."""
    with contextlib.suppress(io.UnsupportedOperation):  # it is no file, as in tests
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
