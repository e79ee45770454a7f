"""Numba functions whose machine code is kept in the folder where compiled kernels are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba
from numba import config

from kernels.cache import default_cache

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """The function, compiled without Python inside (`numba.njit`); it lets other threads run meanwhile.

    What numba keeps is keyed by the source file that the function stands in, so what it calls must stand there too.
    """
    before = config.CACHE_DIR
    config.CACHE_DIR = str(default_cache().folder / "numba")  # read when a function is decorated
    try:
        result: F = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before
    return result
