"""`gp lab --plot`: differences to gelu with their intervals, and the score in every family, as a picture."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from gp.cli.errors import CommandError
from gp.cli.lab_report import Report, Row
from gp.lab.evaluation import BASELINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST: Final = 60  # rows of a picture
_NAME: Final = 36  # characters
_CHARACTERS: Final = 12  # of the title, in an inch


def check_matplotlib() -> None:
    """Raise CommandError where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - an optional dependency
    except ImportError as error:
        raise CommandError("--plot needs matplotlib, which is not installed: pip install 'actgp[plot]'") from error


def save_figure(report: Report, path: Path) -> None:
    """Write the picture. Raises CommandError where there is nothing to draw."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    finite = [row for row in report.rows if row["score"] is not None and math.isfinite(row["score"])]
    if not finite:
        raise CommandError("--plot: no activation has a finite score, so there is nothing to draw")
    rows = finite[:_MOST]
    width = 9.0 + 0.6 * max(0, len(report.families) - 4)
    figure = Figure(figsize=(width, 1.6 + 0.28 * len(rows)), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.0, 0.25 * max(2, len(report.families))))
    _draw_differences(left, report, rows)
    _draw_families(right, report, rows)
    left.set_yticks(range(len(rows)), [_short(row["expression"]) for row in rows])
    left.set_ylim(len(rows) - 0.5, -0.5)
    for label, row in zip(left.get_yticklabels(), rows, strict=True):
        label.set_color("black" if row["expression"] in report.asked else "0.5")
    for axes in (left, right):
        axes.tick_params(labelsize=9)
        axes.xaxis.label.set_size(9)
    omitted = len(report.rows) - len(rows)
    title = f"{report.title}; lower is better" + (f"; {omitted} not shown" if omitted else "")
    figure.suptitle(textwrap.fill(title, int(_CHARACTERS * width)).replace("$", r"\$"), fontsize=10)
    figure.savefig(path)


def _draw_differences(axes: Axes, report: Report, rows: list[Row]) -> None:
    """A dot for each difference to gelu, on its 95% interval; coloured where the interval leaves out zero."""
    axes.axvline(0.0, color="0.6", linewidth=0.8)
    for y, row in enumerate(rows):
        if row["difference"] is None:
            continue
        colour = "#1f5fa8" if row["high"] < 0 else "#d1691f" if row["low"] > 0 else "0.45"
        axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([row["difference"]], [y], "o", color=colour, markersize=5.0)
    if report.raw:
        axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlabel(f"{'mean loss' if report.raw else 'score'} less that of {BASELINE}, 95% interval")
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _draw_families(axes: Axes, report: Report, rows: list[Row]) -> None:
    """A field for each family. All that is no better than a constant has one colour, and so have raw errors of ten times the lowest."""
    values = np.array([[row[family] for family in report.families] for row in rows])
    shades = np.minimum(np.log10(values / values.min(axis=0)), 1.0) if report.raw else np.minimum(values, 0.0)
    dark = shades.min() + 0.6 * np.ptp(shades)
    axes.imshow(shades, cmap="viridis", aspect="auto")
    for y, x in np.ndindex(values.shape):
        text = f"{values[y, x]:.3g}" if report.raw else f"{values[y, x]:+.2f}"
        axes.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if shades[y, x] <= dark else "black")
    axes.set_xticks(range(len(report.families)), [_short(family) for family in report.families])
    axes.set_xlabel(f"{'mean loss' if report.raw else 'score'} in each family")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _short(text: str) -> str:
    """A name as it fits beside the panel, with nothing that matplotlib takes for a formula."""
    cut = text if len(text) <= _NAME else text[: _NAME - 1] + "…"
    return cut.replace("$", r"\$")
