"""Where compiled code is kept, and whether what is there can be trusted: it is run."""

from __future__ import annotations

import functools
import os
import stat
import tempfile
import warnings
from pathlib import Path
from typing import Final

import platformdirs

_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class CacheWarning(RuntimeWarning):
    """Compiled code is not kept on disk, or not where one would look for it."""


def cache_folder() -> Path:
    """GP_CACHE_DIR, or else the user's own cache folder; one among the temporary files, with a warning, where there is no home."""
    named = os.environ.get("GP_CACHE_DIR")
    try:
        return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("actgp")).expanduser()
    except RuntimeError:  # neither HOME nor a line in /etc/passwd says where
        return _without_home()


@functools.cache
def _without_home() -> Path:
    folder = Path(tempfile.gettempdir()) / f"actgp-{os.getuid()}"
    warnings.warn(
        f"there is no home folder: compiled code is kept in {folder}; GP_CACHE_DIR may name another one", CacheWarning, stacklevel=3
    )
    return folder


def mistrust(folder: Path) -> str:
    """Why nothing in a folder is to be run, and what to do; empty where it is the user's alone, or not there yet."""
    try:
        status = folder.stat()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{folder}: {error.strerror}; name another folder in GP_CACHE_DIR"
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder; remove it, or name a folder in GP_CACHE_DIR"
    if status.st_uid != os.geteuid():
        return f"{folder} belongs to another user, whose code would be run; name a folder of your own in GP_CACHE_DIR"
    if status.st_mode & _OTHERS:
        return f"others can write to {folder}, and their code would be run; mend it with: chmod go-w {folder}"
    return ""
