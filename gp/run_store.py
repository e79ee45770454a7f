"""A run's directory: what was asked, every candidate, and the hall of fame.

config.json         the settings, and the versions of what ran them
candidates.jsonl    a line for each candidate: its text, lineage, and score or reason
hall_of_fame.json   the best, measured again; the same for the same seed, byte for byte
hall_of_fame/NN.act the best as files that `gp show` and `gp.activation` read
"""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from gp.search.candidate import Candidate
from gp.search.config import Config
from gp.search.engine import Observer
from gp.search.hall import Entry, Hall


class RunDirectoryError(OSError):
    """The directory cannot be used; the message says why and what to do."""


class RunStore(Observer):
    """Writes a run into a new or empty directory, line by line as it goes, so that a run that ends early leaves what it had.

    Raises RunDirectoryError where the directory holds something or cannot be written.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise RunDirectoryError(f"{folder} is not empty; choose another directory with --out")
            versions = {"python": platform.python_version()} | {name: metadata.version(name) for name in ("numpy", "numba", "llvmlite")}
            _write(folder / "config.json", {"config": config.to_json(), "versions": versions})
            self._file = (folder / "candidates.jsonl").open("w", encoding="utf-8")
        except RunDirectoryError:
            raise
        except OSError as error:
            raise RunDirectoryError(f"cannot write to {folder}: {error.strerror}; choose another directory with --out") from error

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def rejected(self, candidate: Candidate) -> None:
        self._add(candidate)

    def evaluated(self, candidate: Candidate) -> None:
        self._add(candidate)

    def _add(self, candidate: Candidate) -> None:
        self._file.write(json.dumps(candidate.to_json(), allow_nan=False) + "\n")
        self._file.flush()

    def save_hall(self, hall: Hall) -> None:
        """Write the hall of fame."""
        _write(self.folder / "hall_of_fame.json", hall.to_json())
        programs = self.folder / "hall_of_fame"
        programs.mkdir(exist_ok=True)
        for rank, entry in enumerate(hall.entries, 1):
            (programs / f"{rank:02}.act").write_text(_program(entry, hall), encoding="utf-8")


def _program(entry: Entry, hall: Hall) -> str:
    known = f", known as {entry.name}" if entry.name else ""
    return f"# Found by `gp run --seed {hall.seed}`{known}.\n# Score out of distribution {entry.score.score:.4f}.\n{entry.formula}\n"


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
