"""Liger's kernels of functions that are measured, where its package is installed."""

from __future__ import annotations

import importlib.util

from gp.timing import Activate


def liger_function(name: str) -> Activate | None:
    """The function of that name, None where there is none. Of functions of one tensor Liger has squared_relu alone."""
    if name != "squared_relu" or importlib.util.find_spec("liger_kernel") is None:
        return None
    from liger_kernel.ops.relu_squared import LigerReLUSquaredFunction  # type: ignore[import-not-found]  # noqa: PLC0415

    function: Activate = LigerReLUSquaredFunction.apply
    return function
