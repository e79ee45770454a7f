"""Compiled code on disk, filed by content, shared by any number of processes.

One entry is one file, named by the SHA-256 of its key:

    magic (8 bytes) | SHA-256 of all that follows (32) | length of the key (8, little endian) | key | payload

The whole key is kept and compared, so a file in the wrong place is not mistaken for another entry. A file is written beside its
place and moved there in one step, so a reader sees an old entry, a new one or none. What cannot be read back in full is no entry.

A checksum tells what a disk has changed, not what a person has: who may write to the folder runs code as its user. So a folder is not
used that belongs to somebody else, or that others may write to.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import random
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Final

from kernels.cache_folder import CacheWarning, cache_folder, mistrust

_MAGIC: Final = b"actgp\x00\x00\x01"
_DIGEST: Final = hashlib.sha256().digest_size
_LENGTH: Final = 8
_ENTRY: Final = ".entry"
_DRAFT: Final = ".draft"
_NOT_KEPT: Final = "compiled kernels are not kept on disk"
_PROBE: Final = 65536  # bytes that there must be room for


class DiskCache:
    """A bounded folder of entries; the one used longest ago leaves first. Any failure of the disk is a miss, never an error."""

    def __init__(self, folder: Path, limit_bytes: int = 256 << 20, check_every: int = 64) -> None:
        """The size is checked after one `put` in `check_every`, drawn by chance: many short processes check as often as one long one."""
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.hits = 0
        self.misses = 0
        self._check_every = check_every
        self._writable = True
        self._trusted = False
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The payload that was put under `key`, or None."""
        path = self._path(key)
        try:
            payload = _unpack(path.read_bytes(), key) if self._is_trusted() else None
        except OSError:
            payload = None
        with self._lock:
            self.hits += payload is not None
            self.misses += payload is None
        if payload is not None:
            with contextlib.suppress(OSError):  # another user's folder, or the entry has just been removed
                os.utime(path)  # the time of last use, for `_trim`
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Keep `payload` under `key`; an entry that is already there is replaced."""
        if not self._writable:
            return
        try:
            self._make_folder()
            self._write(self._path(key), _pack(key, payload))
            if random.randrange(self._check_every) == 0:
                self._trim()
        except OSError as error:
            self._writable = False
            warnings.warn(f"{_NOT_KEPT}: {error}", CacheWarning, stacklevel=2)

    def problem(self) -> str:
        """Why nothing can be kept, and what to do; empty where it can. Who has been told so is not warned again."""
        try:
            self._make_folder()
            with tempfile.TemporaryFile(dir=self.folder, buffering=0) as file:
                if file.write(bytes(_PROBE)) < _PROBE:  # a disk that is nearly full takes a part, and does not call that an error
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))
        except OSError as error:
            self._writable = False
            return f"{_NOT_KEPT}: {error}"
        return ""

    def damaged(self) -> list[Path]:
        """The files of entries that are not whole; they are replaced when they are needed."""
        return [path for path in self.folder.glob(f"*{_ENTRY}") if not _is_whole(path)]

    def _is_trusted(self) -> bool:
        """Whether what is in the folder may be run; no longer asked once it is so."""
        if not self._trusted and self.folder.exists():
            self._trusted = not mistrust(self.folder)
        return self._trusted

    def _make_folder(self) -> None:
        """Make the folder if it is not there. Raises OSError where it cannot be, or is not to be trusted."""
        if reason := mistrust(self.folder):
            raise OSError(reason)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._is_trusted():
            raise OSError(mistrust(self.folder))

    def _path(self, key: str) -> Path:
        return self.folder / (hashlib.sha256(key.encode()).hexdigest() + _ENTRY)

    def _write(self, path: Path, content: bytes) -> None:
        descriptor, draft = tempfile.mkstemp(suffix=_DRAFT, dir=self.folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(draft, path)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise

    def _trim(self) -> None:
        """Remove the entries used longest ago until a tenth of the room is free again. Drafts left by a crash age out likewise."""
        files: list[tuple[float, int, str]] = []
        with os.scandir(self.folder) as found:
            for file in found:
                if file.name.endswith((_ENTRY, _DRAFT)):
                    try:
                        status = file.stat()
                    except FileNotFoundError:
                        continue  # another process removed it
                    files.append((status.st_mtime, status.st_size, file.path))
        size = sum(f[1] for f in files)
        if size <= self.limit_bytes:
            return
        for _, bytes_, path in sorted(files):
            if size <= 0.9 * self.limit_bytes:
                break
            Path(path).unlink(missing_ok=True)
            size -= bytes_


@functools.cache
def default_cache() -> DiskCache:
    """The cache in `kernels.cache_folder.cache_folder`."""
    return DiskCache(cache_folder())


def numba_entries() -> DiskCache:
    """Where the machine code of numba's functions is: apart from kernels, of which there are so many that it would leave first."""
    return DiskCache(default_cache().folder / "numba")


def _pack(key: str, payload: bytes) -> bytes:
    name = key.encode()
    content = len(name).to_bytes(_LENGTH, "little") + name + payload
    return _MAGIC + hashlib.sha256(content).digest() + content


def _is_whole(path: Path) -> bool:
    start = len(_MAGIC) + _DIGEST
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return data[:start] == _MAGIC + hashlib.sha256(data[start:]).digest()


def _unpack(data: bytes, key: str) -> bytes | None:
    start = len(_MAGIC) + _DIGEST
    content, name = data[start:], key.encode()
    prefix = len(name).to_bytes(_LENGTH, "little") + name
    if data[:start] != _MAGIC + hashlib.sha256(content).digest() or not content.startswith(prefix):
        return None
    return content[len(prefix) :]
