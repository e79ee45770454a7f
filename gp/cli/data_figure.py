"""`gp data show --plot`: the points of a data set as a picture, a panel for each input."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Final

from gp.cli.errors import CommandError
from gp.lab.data import Dataset, Instance

_BESIDE: Final = 3  # panels in a row
_CHARACTERS: Final = 11  # of the title, in an inch


def save_figure(instance: Instance, data: Dataset, path: Path) -> None:
    """Write the picture. Raises CommandError where matplotlib is missing or the file cannot be written."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise CommandError("--plot needs matplotlib, which is not installed: pip install 'actgp[plot]'") from error
    columns = 2 if instance.inputs == 4 else min(instance.inputs, _BESIDE)
    rows = math.ceil(instance.inputs / columns)
    width = max(6.4, 3.6 * columns)
    figure = Figure(figsize=(width, 1.2 + 2.9 * rows), dpi=150, layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    sets = (
        (data.raw.train, "training", "#9aa7b5", "o"),
        (data.raw.inside, "in distribution (ID)", "#1f5fa8", "o"),
        (data.raw.outside, "out of distribution (OOD)", "#d1691f", "^"),
    )
    for k, axes in enumerate(panels.flat):
        if k >= instance.inputs:
            axes.set_visible(False)
            continue
        for split, label, colour, marker in sets:
            axes.plot(split.x[:, k], split.y, marker, color=colour, markersize=3.0, markeredgewidth=0, alpha=0.75, label=label)
        axes.set_xlabel(instance.input_names[k].replace("$", r"\$"))
        axes.grid(color="0.9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if k % columns == 0:
            axes.set_ylabel("target")
    texts = (instance.name, instance.formula, instance.ranges)
    title = "\n".join(textwrap.fill(text, int(_CHARACTERS * width)) for text in texts)
    figure.suptitle(title.replace("$", r"\$"), fontsize=10)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, markerscale=2.0)
    try:
        figure.savefig(path)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
