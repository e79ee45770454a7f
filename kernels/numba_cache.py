"""Numba functions whose machine code is kept where compiled kernels are kept.

Numba's own files are pickles that it loads unchecked; here they are entries of our cache, which are whole or not there.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import caching, compiler, serialize

from kernels.cache import DiskCache, numba_entries

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """The function, compiled without Python inside (`numba.njit`); it lets other threads run meanwhile.

    What is kept is keyed by the source file that the function stands in, so what it calls must stand there too.
    """
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    dispatcher._cache = _Kept(function)  # as `cache=True` does with a cache of numba's own
    result: F = dispatcher
    return result


class _Kept(caching._Cache):  # type: ignore[misc]
    """What numba asks for machine code, by signature."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._source = Path(function.__code__.co_filename)
        self._name = function.__qualname__

    @functools.cached_property
    def _entries(self) -> DiskCache:
        return numba_entries()

    @functools.cached_property
    def _head(self) -> str:
        source = hashlib.sha256(self._source.read_bytes()).hexdigest()
        return f"numba {numba.__version__}\npython {sys.version_info[:3]}\n{self._name}\n{source}"

    @property
    def cache_path(self) -> str:
        """Where it is kept."""
        return str(self._entries.folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for a signature, or None."""
        target_context.refresh()  # numba's own does so first
        found = self._entries.get(self._key(sig, target_context.codegen()))
        return None if found is None else compiler.CompileResult._rebuild(target_context, *pickle.loads(found))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code, unless it has addresses in it that are those of this process."""
        if not data.library.has_dynamic_globals:
            self._entries.put(self._key(sig, data.codegen), serialize.dumps(data._reduce()))

    def _key(self, sig: Any, codegen: Any) -> str:
        return f"{self._head}\n{codegen.magic_tuple()}\n{sig}"

    def enable(self) -> None:
        """It always is."""

    def disable(self) -> None:
        """It cannot be."""

    def flush(self) -> None:
        """Nothing is kept in memory."""
