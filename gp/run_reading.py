"""What others read in a run's record while it is written or afterwards. Nothing is written, and all that is read was checked."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gp.evolution.config import Config, ConfigError
from gp.evolution.hall import Hall
from gp.run_file import FILE, RunDirectoryError, read

LOCK: Final = "run.lock"
_NEEDED: Final = ("config", "versions", "code")
_AFTERWARDS: Final = ("tuning", "snapping")  # the origins of candidates that the search did not make


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate on record: its number, its text, how many stages it completed, its score in the last of them and how much that is
    better than gelu's, its cost and its size."""

    number: int
    text: str
    stages: int
    difference: float
    score: float
    cost: int
    size: int


def read_about(folder: Path) -> dict[str, str]:
    """What a run's record says of itself. Raises RunDirectoryError where there is no record that can be read."""
    path = folder / FILE
    about: dict[str, str] = dict(read(path, "about"))
    if missing := [name for name in _NEEDED if name not in about]:
        raise RunDirectoryError(f"{path} is damaged: {missing[0]} is missing; take it from a copy, or begin a new run")
    return about


def read_config(folder: Path) -> Config:
    """The settings that a run was begun with. Raises RunDirectoryError."""
    try:
        return Config(**json.loads(read_about(folder)["config"]))
    except (ConfigError, TypeError) as error:
        raise RunDirectoryError(f"{folder / FILE} has settings that this version does not know: {error}") from error


def read_hall(folder: Path) -> Hall | None:
    """The hall of fame of a finished run."""
    about = read_about(folder)
    return Hall.from_json(json.loads(about["hall"])) if "hall" in about else None


def read_best(folder: Path, count: int) -> list[Found]:
    """The best candidates on record that fit: those that completed more stages first."""
    return sorted(_fitting(folder), key=lambda f: (-f.stages, f.difference, len(f.text), f.text))[:count]


def read_judged(folder: Path, stages: int) -> list[Found]:
    """All candidates on record that fit and completed so many stages."""
    return [f for f in _fitting(folder) if f.stages >= stages]


def read_progress(folder: Path) -> tuple[int, int]:
    """How many generations have begun, and how many candidates were trained."""
    rows = read(folder / FILE, "candidates")
    begun = max((row[1] + 1 for row in rows if row[3] not in _AFTERWARDS), default=0)
    return begun, sum(row[13] is not None for row in rows)


def is_running(folder: Path) -> bool:
    """Whether a process writes the record now."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _fitting(folder: Path) -> list[Found]:
    """The candidates on record that fit, by number."""
    return [_found(row) for row in read(folder / FILE, "candidates") if row[15] is None and row[13] is not None]


def _found(row: tuple[Any, ...]) -> Found:
    return Found(row[0], row[5], row[10], row[11], json.loads(row[13])["score"], row[8], row[9])
