"""Files that a command writes after long work: tried before it, and put in their place in one step after it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gp.cli.errors import CommandError

PICTURES: Final = (".png", ".svg")


def check_output(option: str, path: Path, pictures: Sequence[str] = ()) -> None:
    """Refuse a file that cannot be written. `pictures`: the suffixes that its name may have, any if there are none."""
    if pictures and path.suffix.lower() not in pictures:
        raise CommandError(f"{option} {path}: the name of a picture ends in {' or '.join(pictures)}")
    if not path.parent.is_dir():
        raise CommandError(f"{option} {path}: there is no directory {path.parent}")
    if path.exists() and not path.is_file():
        raise CommandError(f"{option} {path}: this is {'a directory' if path.is_dir() else 'not a file'}; choose another name")
    if path.exists() and not os.access(path, os.W_OK):
        raise CommandError(f"{option} {path}: this file is write-protected; choose another name")
    draft = _draft(path)
    try:
        draft.touch()
        draft.unlink()
    except OSError as error:
        raise CommandError(f"{option} {path}: cannot be written: {error.strerror}") from error


def write_output(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a draft beside the file, and move it there. Raises CommandError; a file that is there then stays as it is."""
    draft = _draft(path)
    try:
        write(draft)
        os.replace(draft, path.resolve())
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def _draft(path: Path) -> Path:
    """A name of this process's own in the folder of the file, or of what it is a link to, with the same suffix."""
    target = path.resolve()
    return target.with_name(f".{os.getpid()}-{target.name}")
