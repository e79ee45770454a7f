"""The hall of fame as files beside a run's record: hall_of_fame.json, and a program for each entry that `gp show` reads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from gp.evolution.hall import Entry, Hall

_NAME: Final = "hall_of_fame"


def hall_text(hall: Hall) -> str:
    """The hall of fame as JSON."""
    return json.dumps(hall.to_json(), indent=2, allow_nan=False) + "\n"


def write_hall(folder: Path, hall: Hall) -> None:
    """Write the files, in place of what is there under their names: a link is replaced, and what it points to stays. Raises OSError."""
    _put(folder / f"{_NAME}.json", hall_text(hall))
    programs = folder / _NAME
    if programs.is_symlink():
        programs.unlink()
    programs.mkdir(exist_ok=True)
    for rank, entry in enumerate(hall.entries, 1):
        _put(programs / f"{rank:02}.act", _program(entry, hall))


def _put(path: Path, text: str) -> None:
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with draft.open("x", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _program(entry: Entry, hall: Hall) -> str:
    known = f", known as {entry.name}" if entry.name else ""
    return f"# Found by `gp run --seed {hall.seed}`{known}.\n# Score out of distribution {entry.score:.4f}.\n{entry.formula}\n"
