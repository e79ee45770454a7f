"""Digests of the project's own source: what was computed by other code is not taken for what this code would compute."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from typing import Final

_SUFFIXES: Final = (".py", ".lark", ".act", ".csv")


@functools.cache
def fingerprint(*folders: str) -> str:
    """A digest of the source and data files in packages and folders of packages, such as "grammar" and "grammar/catalog"."""
    digest = hashlib.sha256()
    for folder in folders:
        package, *below = folder.split("/")
        for file in sorted(resources.files(package).joinpath(*below).iterdir(), key=lambda f: f.name):
            if file.name.endswith(_SUFFIXES):
                digest.update(file.read_bytes())
    return digest.hexdigest()
