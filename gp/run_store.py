"""A run's record, which is also its checkpoint: one SQLite file, in a directory with the hall of fame as files beside it.

run.sqlite          settings and versions, every candidate with its lineage and fate, every score that was measured
hall_of_fame.json   the best, measured again; the same for the same seed, byte for byte
hall_of_fame/NN.act the best as files that `gp show` and `gp.activation` read

A search is a function of its seed and of the scores that it is told. So a run goes on by doing again what it did, with the scores that
are on record in place of training: it makes the same candidates in the same order, and ends as it would have without the interruption.
Every score is committed as it comes (write-ahead log), so a process that is killed loses no more than what was being measured.
"""

from __future__ import annotations

import contextlib
import json
import platform
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from filelock import FileLock, Timeout

from gp.evolution.candidate import Candidate
from gp.evolution.config import Config
from gp.evolution.engine import Observer
from gp.evolution.hall import Entry, Hall
from gp.lab.measure import lab_fingerprint
from gp.lab.protocol import Measurement
from gp.lab.score import Score
from kernels.fingerprint import fingerprint

FILE: Final = "run.sqlite"
_FORMAT: Final = "run/1"
_SCHEMA: Final = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE candidates (
    number INTEGER PRIMARY KEY, generation INTEGER NOT NULL, origin TEXT NOT NULL, parents TEXT NOT NULL, text TEXT NOT NULL,
    reason TEXT, score REAL
) STRICT;
CREATE TABLE scores (
    measurement TEXT NOT NULL, text TEXT NOT NULL, result TEXT NOT NULL, PRIMARY KEY (measurement, text)
) STRICT, WITHOUT ROWID;
"""


class RunDirectoryError(OSError):
    """The directory cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate on record: its number, its text, and its score in the search."""

    number: int
    text: str
    score: float


class RunStore(Observer):
    """The record of one run, for its one writer. A context; made by `create` or `resume`."""

    def __init__(self, folder: Path, lock: FileLock, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._lock = lock
        self._connection = connection

    @classmethod
    def create(cls, folder: Path, config: Config) -> RunStore:
        """A new record in a new or empty directory. Raises RunDirectoryError where the directory holds something or cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                hint = f"; gp resume {folder} goes on with the run in it" if (folder / FILE).exists() else ""
                raise RunDirectoryError(f"{folder} is not empty; choose another directory with --out{hint}")
            store = cls(folder, _locked(folder), _connect(folder / FILE))
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, RunDirectoryError):
                raise
            reason = error.strerror if isinstance(error, OSError) else error
            raise RunDirectoryError(f"cannot write to {folder}: {reason}; choose another directory with --out") from error
        with store._writing():
            store._connection.executescript(_SCHEMA)
            about = {
                "format": _FORMAT,
                "config": json.dumps(config.to_json()),
                "versions": json.dumps(
                    {"python": platform.python_version(), **{n: metadata.version(n) for n in ("numpy", "numba", "llvmlite")}}
                ),
                "code": _code(),
            }
            store._connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        return store

    @classmethod
    def resume(cls, folder: Path) -> RunStore:
        """The record of a run that is to go on. Raises RunDirectoryError where there is none, another process writes it, or other
        code than now measured its scores."""
        about = read_about(folder)
        store = cls(folder, _locked(folder), _connect(folder / FILE))
        if about["code"] != _code():
            store.close()
            raise RunDirectoryError(f"{folder} was begun by another version of the program, which would go on differently; begin a new run")
        return store

    @property
    def config(self) -> Config:
        """The settings that the run was begun with."""
        return Config(**json.loads(read_about(self.folder)["config"]))

    def close(self) -> None:
        """Close the file and let others write it."""
        self._connection.close()
        self._lock.release()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def rejected(self, candidate: Candidate) -> None:
        self._add(candidate)

    def evaluated(self, candidate: Candidate) -> None:
        self._add(candidate)

    def _add(self, candidate: Candidate) -> None:
        score = None if candidate.score is None else candidate.score.score
        row = (
            candidate.number,
            candidate.generation,
            candidate.origin,
            json.dumps(candidate.parents),
            candidate.text,
            candidate.reason,
            score,
        )
        with self._writing():
            self._connection.execute("INSERT OR REPLACE INTO candidates VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def recall(self, text: str, what: Measurement) -> Score | str | None:
        """What is on record of a measurement: a score, why there is none, or nothing."""
        found = self._connection.execute("SELECT result FROM scores WHERE measurement = ? AND text = ?", (what.key, text)).fetchone()
        if found is None:
            return None
        result = json.loads(found[0])
        return result if isinstance(result, str) else Score(**result)

    def remember(self, text: str, what: Measurement, result: Score | str) -> None:
        """Record a measurement."""
        value = json.dumps(result if isinstance(result, str) else asdict(result))
        with self._writing():
            self._connection.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", (what.key, text, value))

    def save_hall(self, hall: Hall) -> None:
        """Record the hall of fame, and write it as files."""
        value = json.dumps(hall.to_json(), indent=2, allow_nan=False) + "\n"
        if hall.complete:
            with self._writing():
                self._connection.execute("INSERT OR REPLACE INTO about VALUES ('hall', ?)", (value,))
        try:
            (self.folder / "hall_of_fame.json").write_text(value, encoding="utf-8")
            programs = self.folder / "hall_of_fame"
            programs.mkdir(exist_ok=True)
            for rank, entry in enumerate(hall.entries, 1):
                (programs / f"{rank:02}.act").write_text(_program(entry, hall), encoding="utf-8")
        except OSError as error:
            raise RunDirectoryError(f"cannot write the hall of fame to {self.folder}: {error.strerror}; it is in {FILE}") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RunDirectoryError(
                f"cannot write {self.folder / FILE}: {error}; what is there is kept, and gp resume {self.folder} goes on from it"
            ) from error


def read_about(folder: Path) -> dict[str, str]:
    """What a run's record says of itself. Raises RunDirectoryError where there is no record that can be read."""
    rows: list[tuple[str, str]] = _read(folder, "SELECT name, value FROM about")
    about = dict(rows)
    if about.get("format") != _FORMAT:
        raise RunDirectoryError(f"{folder / FILE} has the format {about.get('format')!r}; this version reads {_FORMAT!r}")
    return about


def read_best(folder: Path, count: int) -> list[Found]:
    """The best candidates on record that fit, by their score in the search."""
    rows = _read(
        folder, f"SELECT number, text, score FROM candidates WHERE reason IS NULL ORDER BY score, length(text), text LIMIT {count:d}"
    )
    return [Found(*row) for row in rows]


def read_progress(folder: Path) -> tuple[int, int]:
    """How many generations have begun, and how many candidates were trained."""
    ((generations, trained),) = _read(
        folder, "SELECT coalesce(max(generation) + 1, 0), (SELECT count(*) FROM candidates WHERE score IS NOT NULL) FROM candidates"
    )
    return generations, trained


def _read(folder: Path, query: str) -> list[Any]:
    path = folder / FILE
    if not path.is_file():
        raise RunDirectoryError(f"there is no run in {folder}: no file {FILE} there")
    try:
        with contextlib.closing(sqlite3.connect(path.resolve().as_uri() + "?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.Error as error:
        raise RunDirectoryError(f"cannot read {path}: {error}") from error


def _code() -> str:
    """What the course of a run depends on besides its settings."""
    return lab_fingerprint() + fingerprint("gp.evolution", "gp.evolution.variation")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")  # a commit survives the process, though not a failure of power
    return connection


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / "run.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise RunDirectoryError(f"another process is writing the run in {folder}; wait for it, or stop it") from error
    return lock


def _program(entry: Entry, hall: Hall) -> str:
    known = f", known as {entry.name}" if entry.name else ""
    return f"# Found by `gp run --seed {hall.seed}`{known}.\n# Score out of distribution {entry.score.score:.4f}.\n{entry.formula}\n"
