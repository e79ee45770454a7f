"""Reading a user's files, and what is said of one that cannot be read."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO, Final

_MOST: Final = 1 << 28  # bytes: no file of a user is larger, and a device such as /dev/zero has no end


def read_text(path: Path) -> str:
    """The text of a file, with a byte-order mark or without. Raises OSError, also for more than 256 MiB, and UnicodeDecodeError."""
    with path.open("rb") as file:
        return decoded(file, str(path))


def decoded(file: BinaryIO, name: str) -> str:
    """`read_text` of a file that is open."""
    content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), name)
    return content.decode("utf-8-sig")


def unreadable(path: Path, error: OSError | UnicodeDecodeError) -> str:
    """Why, in a sentence that names the file."""
    if isinstance(error, UnicodeDecodeError):
        return f"{path} is not text in UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
    return f"cannot read {path}: {error.strerror}"
