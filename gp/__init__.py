"""Activation functions for neural networks: written in a small language, compiled to fused kernels, discovered by evolution.

The names below are imported when they are first used: torch takes more than a second, and `gp list` does without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from gp._packages import check_packages

check_packages()

__all__ = ["Activation", "Config", "DSLError", "Run", "activation", "lab", "resume", "search"]

if TYPE_CHECKING:
    from gp import lab
    from gp.evolution.config import Config
    from gp.run import Run, resume, search
    from grammar import DSLError
    from kernels.module import Activation, activation
else:
    _HOMES = {
        "DSLError": "grammar", "Activation": "kernels.module", "activation": "kernels.module", "Config": "gp.evolution.config",
        "Run": "gp.run", "resume": "gp.run", "search": "gp.run",
    }  # fmt: skip

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'gp' has no attribute {name!r}")
        value = importlib.import_module("gp.lab") if name == "lab" else getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
