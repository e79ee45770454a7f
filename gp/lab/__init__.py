"""The lab: what an activation is worth, measured by training small networks that use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["evaluate"]

if TYPE_CHECKING:
    from gp.lab.evaluation import evaluate
else:

    def __getattr__(name: str) -> object:
        """`evaluate`, imported when it is first used: `gp data` does without workers and compilers."""
        if name not in __all__:
            raise AttributeError(f"module 'gp.lab' has no attribute {name!r}")
        from gp.lab.evaluation import evaluate  # noqa: PLC0415

        globals()[name] = evaluate
        return evaluate

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
