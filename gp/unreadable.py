"""What is said of a user's file that cannot be read."""

from __future__ import annotations

from pathlib import Path


def unreadable(path: Path, error: OSError | UnicodeDecodeError) -> str:
    """Why, in a sentence that names the file."""
    if isinstance(error, UnicodeDecodeError):
        return f"{path} is not text in UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
    return f"cannot read {path}: {error.strerror}"
