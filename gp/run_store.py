"""A run's record, which is also its checkpoint: one SQLite file, in a directory with the hall of fame as files beside it.

run.sqlite          settings and versions, and on which devices it was; every candidate with its lineage and fate; what each seed of
                    each of them measured, and the seconds it took; the state of the search after its last generation
hall_of_fame.json   the best, measured again; the same for the same seed, byte for byte
hall_of_fame/NN.act the best as files that `gp show` and `gp.activation` read

A search is a function of its settings and of the results that it is told. So a run goes on from the state after its last whole
generation, with the results on record in place of training: it makes the same candidates in the same order, and ends as it would
have without the interruption. Every result is committed as it comes (write-ahead log), so a process that is killed loses no more
than what was being measured.
"""

from __future__ import annotations

import contextlib
import json
import platform
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
from filelock import FileLock, Timeout

from gp.evolution.admission import behaviour
from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Result
from gp.evolution.config import Config
from gp.evolution.engine import Engine, Observer, named_in
from gp.evolution.genome import genome
from gp.evolution.hall import Hall
from gp.hall_files import hall_text, write_hall
from gp.lab.measure import SeedResult, lab_fingerprint
from gp.lab.protocol import Measurement
from gp.lab.score import Score
from gp.run_file import FILE, FORMAT, Row, RunDirectoryError, close, fill, get, put, settle, verify, writable
from gp.run_reading import LOCK, read_about, read_config
from gp.workers import Failure
from kernels.fingerprint import fingerprint

_SCORE: Final = tuple(f.name for f in fields(Score) if f.name not in ("seconds", "parts"))


class RunStore(Observer):
    """The record of one run, for its one writer. A context; made by `create` or `resume`."""

    def __init__(self, folder: Path, lock: FileLock, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._lock = lock
        self._connection = connection
        self.engine: Engine | None = None
        self._waiting: list[Candidate] = []
        self._keys: dict[int, tuple[Measurement, str]] = {}
        self._references: dict[tuple[str, int], tuple[tuple[float, ...], tuple[float, ...]]] = {}

    @classmethod
    def create(cls, folder: Path, config: Config) -> RunStore:
        """A new record in a new or empty directory. Raises RunDirectoryError where the directory holds something or cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                hint = f"; gp resume {folder} goes on with the run in it" if (folder / FILE).exists() else ""
                raise RunDirectoryError(f"{folder} is not empty; choose another directory with --out{hint}")
            store = cls(folder, _locked(folder), writable(folder / FILE))
            try:
                fill(
                    store._connection, {"format": FORMAT, "config": json.dumps(config.to_json()), "versions": _versions(), "code": _code()}
                )
            except sqlite3.Error:
                store.close()
                (folder / FILE).unlink(missing_ok=True)  # what was begun is no record, and would be in the way of the next one
                (folder / LOCK).unlink(missing_ok=True)
                raise
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, RunDirectoryError):
                raise
            reason = error.strerror if isinstance(error, OSError) else error
            raise RunDirectoryError(f"cannot write to {folder}: {reason}; choose another directory with --out") from error
        return store

    @classmethod
    def resume(cls, folder: Path) -> RunStore:
        """The record of a run that is to go on. Raises RunDirectoryError where there is none, another process writes it, it is damaged,
        or other code than now measured its scores."""
        about = read_about(folder)
        try:
            lock = _locked(folder)
        except RunDirectoryError:
            raise
        except OSError as error:
            raise RunDirectoryError(f"cannot write to {folder}: {error.strerror}; gp top {folder} shows what is there") from error
        try:
            store = cls(folder, lock, writable(folder / FILE))
        except sqlite3.Error as error:
            lock.release()
            raise RunDirectoryError(f"cannot write {folder / FILE}: {error}; gp top {folder} shows what is there") from error
        try:
            verify(store._connection, folder / FILE)
        except RunDirectoryError:
            store.close()
            raise
        if about["code"] != _code():
            store.close()
            raise RunDirectoryError(f"{folder} was begun by another version of the program, which would go on differently; begin a new run")
        return store

    @property
    def config(self) -> Config:
        """The settings that the run was begun with."""
        return read_config(self.folder)

    @property
    def device(self) -> str | None:
        """What measured last, as `note_device` was told."""
        found = read_about(self.folder).get("devices")
        return None if found is None else str(json.loads(found)[-1][0])

    def note_device(self, device: str, hardware: str) -> None:
        """Record what measures from now on: the name of the device (`gp.lab.devices`), and what that is."""
        devices = json.loads(read_about(self.folder).get("devices", "[]"))
        if [device, hardware] not in devices[-1:]:
            value = json.dumps([*devices, [device, hardware]])
            with self._writing():
                put(self._connection, "about", [("devices", value)])

    def close(self) -> None:
        """Close the file and let others write it."""
        close(self._connection)
        self._lock.release()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def rejected(self, candidate: Candidate) -> None:
        self._waiting.append(candidate)

    def judged(self, candidate: Candidate) -> None:
        self._waiting.append(candidate)

    def generation_started(self, generation: int, candidates: Sequence[Candidate]) -> None:
        self._waiting += candidates
        with self._writing():
            self._flush()

    def generation_finished(self, generation: int) -> None:
        self._check_there()
        with self._writing():
            self._connection.execute("BEGIN")
            self._flush()
            if self.engine is not None:
                put(self._connection, "about", [("state", json.dumps(self.engine.state()))])
            self._connection.execute("COMMIT")
            settle(self._connection)

    def _flush(self) -> None:
        """Write the candidates that wait; later rows of a candidate replace earlier ones."""
        put(self._connection, "candidates", map(_row, self._waiting))
        self._waiting = []

    def attach(self, engine: Engine) -> None:
        """Hear what the engine does, and bring it to where the record is."""
        self.engine = engine
        engine.observers.append(self)
        found = self._get("about", "WHERE name = 'state'")
        state = None if found is None else json.loads(found[1])
        with self._writing():  # what came after is done again
            self._connection.execute("DELETE FROM candidates WHERE generation >= ?", (0 if state is None else state["generation"],))
        if state is not None:
            ((count,),) = self._connection.execute("SELECT count(*) FROM candidates")
            if count != state["made"]:
                raise RunDirectoryError(f"{self.folder / FILE} is damaged: {state['made'] - count} candidates are missing; begin a new run")
            known = (int(key) for (keys,) in self._connection.execute("SELECT keys FROM candidates") for key in np.frombuffer(keys, "<i8"))
            engine.restore(state, {number: self._candidate(number) for number in sorted(named_in(state))}, known)

    def _candidate(self, number: int) -> Candidate:
        """A candidate on record."""
        row = self._get("candidates", "WHERE number = ?", number)
        if row is None:
            raise RunDirectoryError(f"{self.folder / FILE} is damaged: candidate {number} is missing; begin a new run")
        _, generation, island, origin, parents, text, structure, keys, cost, size, _, _, differences, score, stopped, reason = row
        program = genome(text)
        return Candidate(
            number, generation, island, origin, tuple(json.loads(parents)), program, text, structure,
            tuple(np.frombuffer(keys, "<i8").tolist()), cost, size, behaviour(program), tuple(json.loads(differences)),
            None if score is None else Score(**json.loads(score), seconds=0.0), stopped, reason,
        )  # fmt: skip

    def recall(self, text: str, what: Measurement, seed: int) -> Result | None:
        """What is on record of a measurement, if it is."""
        key = self._key(what)
        found = self._get("results", "WHERE measurement = ? AND text = ? AND seed = ?", key, text, seed)
        if found is None:
            return None
        *_, inside, outside, seconds, compiled, failure = found
        if failure is not None:
            return Failure(failure)
        networks = self._networks(key, seed)
        return None if networks is None else SeedResult(_numbers(inside), _numbers(outside), *networks, seconds, compiled)

    def remember(self, text: str, what: Measurement, seed: int, result: Result) -> None:
        """Record a measurement."""
        key = self._key(what)
        row: tuple[object, ...] = (key, text, seed, None, None, None, None, None)
        with self._writing():
            if isinstance(result, Failure):
                row = (*row[:7], result.reason)
            else:
                row = (*row[:3], _bytes(result.inside), _bytes(result.outside), result.seconds, result.compiled, None)
                if (key, seed) not in self._references:
                    self._references[key, seed] = result.variance, result.constant_error
                    reference = (key, seed, _bytes(result.variance), _bytes(result.constant_error))
                    put(self._connection, "networks", [reference])
            put(self._connection, "results", [row])

    def _networks(self, key: str, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """What the errors of networks with a seed are measured against, if it is on record; it is the same for all candidates."""
        if (key, seed) not in self._references:
            found = self._get("networks", "WHERE measurement = ? AND seed = ?", key, seed)
            if found is None:
                return None
            self._references[key, seed] = _numbers(found[2]), _numbers(found[3])
        return self._references[key, seed]

    def _get(self, table: str, condition: str, *values: str | int) -> Row | None:
        """The row that the condition selects, if it is there."""
        return next(get(self._connection, self.folder / FILE, table, condition, values), None)

    def _key(self, what: Measurement) -> str:
        """The measurement's key, remembered by identity: to hash 42 data sets takes longer than to read a result."""
        known = self._keys.get(id(what))
        if known is None:
            known = self._keys[id(what)] = (what, what.key)
        return known[1]

    def save_hall(self, hall: Hall) -> None:
        """Record the hall of fame, and write it as files. One without all baselines is not the end of the run, which can go on."""
        if hall.complete and not hall.lacks_baselines:
            with self._writing():
                self._flush()  # candidates that tuning made
                put(self._connection, "about", [("hall", hall_text(hall))])
        try:
            write_hall(self.folder, hall)
        except OSError as error:
            self._check_there()
            raise RunDirectoryError(f"cannot write the hall of fame to {self.folder}: {error.strerror}; it is in {FILE}") from error

    def _check_there(self) -> None:
        """Raise RunDirectoryError if the record was deleted."""
        if not (self.folder / FILE).exists():
            raise RunDirectoryError(f"{self.folder / FILE} was deleted while the run went on; what was found is lost")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._check_there()
            raise RunDirectoryError(
                f"cannot write {self.folder / FILE}: {error}; what is there is kept, and gp resume {self.folder} goes on from it"
            ) from error


def _row(candidate: Candidate) -> tuple[object, ...]:
    """The columns of a candidate; no times, so that a run that was interrupted has the same."""
    c, found = candidate, candidate.score
    return (
        c.number, c.generation, c.island, c.origin, json.dumps(c.parents), c.text, c.structure, np.array(c.keys, "<i8").tobytes(), c.cost,
        c.size, len(c.differences), c.differences[-1] if c.differences else None, json.dumps(c.differences),
        None if found is None else _plain(found), c.stopped, c.reason,
    )  # fmt: skip


def _plain(score: Score) -> str:
    """A score as JSON, without the time that it took; `asdict` would copy every part, which takes as long as to make a child."""
    return json.dumps({name: getattr(score, name) for name in _SCORE})


def _bytes(numbers: Sequence[float]) -> bytes:
    return np.array(numbers, "<f8").tobytes()


def _numbers(stored: bytes) -> tuple[float, ...]:
    return tuple(np.frombuffer(stored, "<f8").tolist())


def _code() -> str:
    """What the course of a run depends on besides its settings."""
    return lab_fingerprint() + fingerprint("gp.evolution", "gp.evolution.variation")


def _versions() -> str:
    """What the numbers of a run may depend on, for who looks into its record."""
    return json.dumps({"python": platform.python_version(), **{n: metadata.version(n) for n in ("numpy", "numba", "llvmlite")}})


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise RunDirectoryError(f"another process is writing the run in {folder}; wait for it, or stop it") from error
    return lock
