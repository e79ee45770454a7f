"""Bytes that a disk changes, files that are missing, and what stands in their place: in a record, in what was compiled, in settings."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.faults.kinds import End, Kind
from bench.faults.scene import HALL, Inject, Said, Scene
from gp.run_file import FILE
from gp.run_reading import LOCK

Change = Callable[[Path], object]  # what happens to a file


def _overwrite(path: Path, offset: int, count: int) -> None:
    """Turn the bits of so many bytes from an offset on, which is a share of the file where it is negative: -2 for a half."""
    content = bytearray(path.read_bytes())
    start = offset if offset >= 0 else len(content) // -offset
    content[start : start + count] = bytes(byte ^ 0x5A for byte in content[start : start + count])
    path.write_bytes(content)


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _link_elsewhere(path: Path) -> None:
    """A link to a whole file that belongs elsewhere."""
    moved = path.with_name(f"moved-{path.name}")
    path.rename(moved)
    path.symlink_to(moved)


CHANGES: Final[dict[str, Change]] = {
    "its first bytes changed": lambda path: _overwrite(path, 0, 16),
    "its checksum changed": lambda path: _overwrite(path, 12, 4),
    "bytes in its middle changed": lambda path: _overwrite(path, -2, 8192),
    "its second half cut off": lambda path: os.truncate(path, path.stat().st_size // 2),
    "nothing in it": lambda path: os.truncate(path, 0),
    "a folder in its place": lambda path: _replace(path, Path.mkdir),
    "a link to nowhere in its place": lambda path: _replace(path, lambda p: p.symlink_to("nowhere")),
}


def _entries(folder: str) -> Callable[[Change], Inject]:
    """What changes every entry of the cache, or of a folder in it."""

    def of(change: Change) -> Inject:
        def inject(scene: Scene) -> Said:
            for path in (scene.copy_cache() / folder).glob("*.entry"):
                change(path)
            return scene.begin().wait()

        return inject

    return of


def _swapped(folder: str) -> Inject:
    """Every entry of the cache in the place of another one."""

    def inject(scene: Scene) -> Said:
        paths = sorted((scene.copy_cache() / folder).glob("*.entry"))
        contents = [path.read_bytes() for path in paths]
        for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
            path.write_bytes(content)
        return scene.begin().wait()

    return inject


def _record(model: str, change: Change, *words: str) -> Inject:
    """A command on a run whose record is changed."""

    def inject(scene: Scene) -> Said:
        run = scene.copy_run(getattr(scene.base, model))
        if model == "half":
            with contextlib.closing(sqlite3.connect(run / FILE)) as connection:  # what stands in the write-ahead log comes into the file
                connection.execute("PRAGMA journal_mode=DELETE")
        change(run / FILE)
        return scene.gp(*(word.replace("RUN", str(run)) for word in words))

    return inject


def _beside(change: Callable[[Path], object], *, goes_on: bool = False) -> Inject:
    """Resume a run that was killed, after something happened to its folder."""

    def inject(scene: Scene) -> Said:
        run = scene.copy_run(scene.base.half)
        if goes_on:
            scene.note()
        change(run)
        return scene.resume()

    return inject


def _finished(change: Callable[[Path], object]) -> Inject:
    """Resume a run that is finished, which puts its files in order."""

    def inject(scene: Scene) -> Said:
        change(scene.copy_run(scene.base.whole))
        return scene.resume()

    return inject


def _without_log(run: Path) -> None:
    """The write-ahead log is lost, and with it what came after the last whole generation."""
    for name in (f"{FILE}-wal", f"{FILE}-shm"):
        (run / name).unlink(missing_ok=True)


def _older(run: Path) -> None:
    with contextlib.closing(sqlite3.connect(run / FILE)) as connection:
        connection.execute("UPDATE about SET value = 'run/2' WHERE name = 'format'")
        connection.commit()


def _one_text(run: Path) -> None:
    """Somebody improves a score by hand."""
    with contextlib.closing(sqlite3.connect(run / FILE)) as connection:
        connection.execute("UPDATE candidates SET score = replace(score, '-', '-9')")
        connection.commit()


def _config(content: bytes | None) -> Inject:
    def inject(scene: Scene) -> Said:
        path = scene.folder / "mine.toml"
        path.mkdir() if content is None else path.write_bytes(content)
        return scene.gp("run", "--config", str(path), "--out", str(scene.run))

    return inject


_UNREADABLE: Final = r"cannot read|is damaged|has the format|there is no run in|unreadable"

KINDS: Final = [
    *(Kind(f"all kernels in the cache with {name}", _entries("")(change), (0,), "Hall of fame", End.SAME)
      for name, change in CHANGES.items()),
    *(Kind(f"the compiled trainer in the cache with {name}", _entries("numba")(change), (0,), "Hall of fame", End.SAME)
      for name, change in CHANGES.items()),
    Kind("kernels in each other's place", _swapped(""), (0,), "Hall of fame", End.SAME),
    Kind("parts of the compiled trainer in each other's place", _swapped("numba"), (0,), "Hall of fame", End.SAME),
    Kind("links in place of kernels", _entries("")(_link_elsewhere), (0,), "Hall of fame", End.SAME),
    *(Kind(f"gp resume of a record with {name}", _record("half", change, "resume", "RUN", "--quiet"), (2,), _UNREADABLE)
      for name, change in CHANGES.items()),
    # What it reads was checked: where the damage is elsewhere, it shows what it did before.
    *(Kind(f"gp top of a record with {name}", _record("whole", change, "top", "RUN"), (0, 2), f"Hall of fame|{_UNREADABLE}")
      for name, change in CHANGES.items()),
    Kind("gp runs of a damaged record", _record("whole", CHANGES["bytes in its middle changed"], "runs", "RUN"), (0,), "."),
    Kind("--seed-from a damaged record",
         _record("whole", CHANGES["its second half cut off"], "run", "--seed-from", "RUN", "--print-config"), (2,), _UNREADABLE),
    Kind("the write-ahead log is left by kill -9", _beside(lambda run: None, goes_on=True), (0,), "Hall of fame", End.SAME),
    Kind("the write-ahead log is deleted", _beside(_without_log), (0,), "Hall of fame", End.SAME),
    Kind("the write-ahead log with its first bytes changed", _beside(lambda run: _overwrite(run / f"{FILE}-wal", 0, 16)), (0,),
         "Hall of fame", End.SAME),
    Kind("the write-ahead log with its middle changed", _beside(lambda run: _overwrite(run / f"{FILE}-wal", -2, 64)), (0,),
         "Hall of fame", End.SAME),
    Kind("a score that was changed by hand", _beside(_one_text), (2,), "is damaged: a row of its table candidates"),
    Kind("a record of an earlier version", _beside(_older), (2,), "has the format 'run/2'; this version reads 'run/3'"),
    Kind("the lock is deleted", _beside(lambda run: (run / LOCK).unlink(missing_ok=True), goes_on=True), (0,), "Hall of fame", End.SAME),
    Kind("a folder in place of the lock", _beside(lambda run: _replace(run / LOCK, Path.mkdir)), (2,), "cannot write to"),
    Kind("hall_of_fame.json is deleted", _finished(lambda run: (run / HALL).unlink()), (0,), "Hall of fame", End.SAME),
    Kind("hall_of_fame.json is damaged", _finished(lambda run: _overwrite(run / HALL, -2, 64)), (0,), "Hall of fame", End.SAME),
    Kind("hall_of_fame is deleted", _finished(lambda run: shutil.rmtree(run / "hall_of_fame")), (0,), "Hall of fame", End.SAME),
    Kind("a folder in place of hall_of_fame.json", _finished(lambda run: _replace(run / HALL, Path.mkdir)), (2,),
         "cannot write the hall of fame"),
    Kind("a file of settings with bytes that are no text", _config(b"seed = \xff\xfe"), (2,), "mine.toml"),
    Kind("a file of settings that is cut off", _config(b"seed = 1\nweights = {"), (2,), "mine.toml"),
    Kind("a file of settings with an older setting", _config(b"elitism = 3"), (2,), "mine.toml"),
    Kind("a file of settings that is empty but for zeros", _config(bytes(64)), (2,), "mine.toml"),
    Kind("a folder in place of a file of settings", _config(None), (2,), "mine.toml"),
]  # fmt: skip
