"""The file of a run's record: SQLite tables whose rows each carry a checksum, so that what a disk or a program has changed is noticed."""

from __future__ import annotations

import contextlib
import hashlib
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

FILE: Final = "run.sqlite"
FORMAT: Final = "run/3"
_SCHEMA: Final = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum BLOB NOT NULL) STRICT;
CREATE TABLE candidates (
    number INTEGER PRIMARY KEY, generation INTEGER NOT NULL, island INTEGER NOT NULL, origin TEXT NOT NULL, parents TEXT NOT NULL,
    text TEXT NOT NULL, structure INTEGER NOT NULL, keys BLOB NOT NULL, cost INTEGER NOT NULL, size INTEGER NOT NULL,
    stages INTEGER NOT NULL, difference REAL, differences TEXT NOT NULL, score TEXT, stopped TEXT, reason TEXT, checksum BLOB NOT NULL
) STRICT;
CREATE TABLE results (
    measurement TEXT NOT NULL, text TEXT NOT NULL, seed INTEGER NOT NULL, inside BLOB, outside BLOB, seconds REAL, compiled REAL,
    failure TEXT, checksum BLOB NOT NULL, PRIMARY KEY (measurement, text, seed)
) STRICT, WITHOUT ROWID;
CREATE TABLE networks (
    measurement TEXT NOT NULL, seed INTEGER NOT NULL, variance BLOB NOT NULL, constant_error BLOB NOT NULL, checksum BLOB NOT NULL,
    PRIMARY KEY (measurement, seed)
) STRICT, WITHOUT ROWID;
"""
_TABLES: Final = ("about", "candidates", "results", "networks")
_CHECKSUM: Final = 8  # bytes
_EXACT: Final = 2.0**53  # whole numbers below are the same as integer and as float64
_UNREADABLE: Final = (sqlite3.Error, UnicodeDecodeError)  # the latter: names in a schema that is damaged

Row = tuple[Any, ...]


class RunDirectoryError(OSError):
    """The directory cannot be used; the message says why and what to do."""


def writable(path: Path) -> sqlite3.Connection:
    """The file, to be written; made if it is not there. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.text_factory = _text
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")  # a commit survives the process, though not a failure of power
    return connection


def fill(connection: sqlite3.Connection, about: Mapping[str, str]) -> None:
    """Make the tables of a new file and say what it is of, all at once: there is a whole record or none. Raises sqlite3.Error."""
    connection.executescript(f"BEGIN; {_SCHEMA}")
    put(connection, "about", about.items())
    connection.execute("COMMIT")
    settle(connection)


def close(connection: sqlite3.Connection) -> None:
    """Close a file that was written, so that one file is all there is of it: to read others need not write beside it."""
    with contextlib.suppress(sqlite3.Error):  # somebody reads it just now, or it cannot be written any more
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


def settle(connection: sqlite3.Connection) -> None:
    """Bring what stands in the write-ahead log into the file, so that who loses the log does not lose the run. Raises sqlite3.Error."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def put(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    """Write rows with their checksums; they replace those with the same key."""
    signed = [(*row, _checksum(table, row)) for row in rows]
    if signed:
        connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(signed[0]))})", signed)


def get(connection: sqlite3.Connection, path: Path, table: str, condition: str = "", values: Row = ()) -> Iterator[Row]:
    """The rows that a condition ("WHERE ...") selects, or all. Raises RunDirectoryError where one is not what was written."""
    try:
        for *row, checksum in connection.execute(f"SELECT * FROM {table} {condition}", values):
            if checksum != _checksum(table, tuple(row)):
                raise _damaged(path, f"a row of its table {table} is not what was written")
            yield tuple(row)
    except _UNREADABLE as error:
        raise RunDirectoryError(f"cannot read {path}: {error}") from error


def read(path: Path, table: str) -> list[Row]:
    """All rows of a table, read without writing anything. Raises RunDirectoryError."""
    if not path.is_file():
        raise RunDirectoryError(f"there is no run in {path.parent}: no file {FILE} there")
    try:
        connection = sqlite3.connect(path.resolve().as_uri() + "?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise RunDirectoryError(f"cannot read {path}: {error}") from error
    with contextlib.closing(connection):
        connection.text_factory = _text
        _check_format(connection, path)
        return list(get(connection, path, table))


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    """Raise RunDirectoryError unless the file has the tables of this version; those of earlier ones have no checksums."""
    try:
        found = connection.execute("SELECT value FROM about WHERE name = 'format'").fetchone()
    except _UNREADABLE as error:
        raise RunDirectoryError(f"cannot read {path}: {error}") from error
    if found != (FORMAT,):
        raise RunDirectoryError(f"{path} has the format {found and found[0]!r}; this version reads {FORMAT!r}")


def verify(connection: sqlite3.Connection, path: Path) -> None:
    """Read everything once. Raises RunDirectoryError where something is not what was written."""
    try:
        found = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except _UNREADABLE as error:
        raise RunDirectoryError(f"cannot read {path}: {error}") from error
    if found != [("ok",)]:
        raise _damaged(path, str(found[0][0]).splitlines()[-1])  # the first is a heading
    for table in _TABLES:
        for _ in get(connection, path, table):
            pass


def _damaged(path: Path, what: str) -> RunDirectoryError:
    return RunDirectoryError(f"{path} is damaged: {what}; take it from a copy, or begin a new run")


def _checksum(table: str, row: Row) -> bytes:
    return hashlib.blake2b(repr((table, *map(_plain, row))).encode(errors="backslashreplace"), digest_size=_CHECKSUM).digest()


def _plain(value: Any) -> Any:
    """A value as it comes back: SQLite keeps whole numbers as integers where it can, and NaN as NULL."""
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else int(value) if value.is_integer() and abs(value) < _EXACT else value


def _text(stored: bytes) -> str:
    """A text; what is not UTF-8 is not what was written, as the checksum tells."""
    return stored.decode(errors="replace")
