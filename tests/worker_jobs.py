"""What tests of `gp.workers` have workers do."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any


def echo(value: Any) -> Any:
    return value


def process() -> int:
    return os.getpid()


def environment(name: str) -> str | None:
    return os.environ.get(name)


def imported(*modules: str) -> list[str]:
    """Which of the modules the worker has imported."""
    return [m for m in modules if m in sys.modules]


def fail(message: str) -> None:
    raise KeyError(message)


def leave(status: int) -> None:
    os._exit(status)


def crash() -> None:
    ctypes.string_at(0)


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def note_process_and_sleep(file: Path, seconds: float) -> None:
    file.write_text(str(os.getpid()))
    time.sleep(seconds)


def make_function() -> Any:
    return lambda: None


class Unreadable:
    """What can be pickled, but not read again, as a function of the script that was started."""

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return int, ("no number",)


def prepare_slowly() -> None:
    time.sleep(1.0)
    os.environ["PREPARED"] = "yes"


def prepare_wrongly() -> None:
    raise SystemExit(7)
