"""`gp show --plot`: value and derivative as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from gp.cli.errors import CommandError
from gp.cli.plots import limits
from gp.cli.sampling import Curve

_TITLE: Final = 90  # characters


def save_figure(curve: Curve, title: str, path: Path) -> None:
    """Write the picture. Raises CommandError where matplotlib is missing or the file cannot be written."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise CommandError("--plot needs matplotlib, which is not installed: pip install 'actgp[plot]'") from error
    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0.0, color="0.6", linewidth=0.8)
    axes.axvline(0.0, color="0.6", linewidth=0.8)
    axes.plot(curve.x, curve.value, color="#1f5fa8", linewidth=2.0, label="f(x)")
    axes.plot(curve.x, curve.slope, color="#d1691f", linewidth=1.6, linestyle="--", label="df/dx")
    low, high = np.min([limits(curve.value), limits(curve.slope)], axis=0)[0], np.max([limits(curve.value), limits(curve.slope)], axis=0)[1]
    axes.set_xlim(curve.x[0], curve.x[-1])
    axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set_xlabel("x" + (f"  (with {curve.assumption})" if curve.assumption else ""))
    shown = title if len(title) <= _TITLE else title[: _TITLE - 1] + "…"
    axes.set_title(shown.replace("$", r"\$"), fontsize=10)
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    try:
        figure.savefig(path)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
