"""What `gp data show` prints: what a data set is, statistics of its points, and the target against each input."""

from __future__ import annotations

import re
from typing import Final

from rich.table import Table
from rich.text import Text

from gp.cli.console import console, print_field, width
from gp.cli.scatter import Array, Points, scatter
from gp.lab.data import Dataset, Instance, Split

_MARKS: Final = {"·": "blue", "+": "green", "#": "red"}  # training, in and out of distribution
_LABELS: Final = ("training", "in distribution (ID)", "out of distribution (OOD)")
_HEIGHT: Final = 12  # lines of a plot
_GAP: Final = 2  # columns between two plots
_NARROWEST: Final = 38  # columns of a plot with others beside it
_WIDEST: Final = 120  # columns; wider plots show no more


def print_data(instance: Instance, data: Dataset) -> None:
    """Formula, ranges, statistics and plots of the points, in the units of the formula."""
    splits = (data.raw.train, data.raw.inside, data.raw.outside)
    print_field("name", instance.name)
    print_field("family", f"{instance.family}, variant {instance.variant}")
    print_field("formula", instance.formula)
    print_field("ranges", instance.ranges)
    console().print()
    console().print(_statistics(instance, splits))
    console().print()
    legend = "   ".join(f"{mark} {label}" for mark, label in zip(_MARKS, _LABELS, strict=True))
    console().print(_coloured(f"target against each input:   {legend}"), soft_wrap=True)
    _print_plots(instance, splits)


def _statistics(instance: Instance, splits: tuple[Split, ...]) -> Table:
    """A line for each column, with its range in every split; the target has mean and deviation too."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for label in _LABELS:
        table.add_column(label)
    table.add_row("points", *(str(len(split.y)) for split in splits))
    for k, name in enumerate(instance.input_names):
        table.add_row(name, *(_interval(split.x[:, k]) for split in splits))
    table.add_row("target", *(_interval(split.y) for split in splits))
    table.add_row("mean ± deviation", *(f"{split.y.mean():.4g} ± {split.y.std():.4g}" for split in splits))
    return table


def _interval(values: Array) -> str:
    return f"{values.min():.4g} to {values.max():.4g}"


def _print_plots(instance: Instance, splits: tuple[Split, ...]) -> None:
    """A plot for each input, as many in a row as there is room for."""
    columns = min(width(), _WIDEST)
    inputs = range(instance.inputs)
    beside = max(1, min(len(inputs), (columns + _GAP) // (_NARROWEST + _GAP)))
    each = (columns + _GAP) // beside - _GAP
    for first in range(0, len(inputs), beside):
        plots = [
            scatter(instance.input_names[k], [Points(m, s.x[:, k], s.y) for m, s in zip(_MARKS, splits, strict=True)], each, _HEIGHT)
            for k in inputs[first : first + beside]
        ]
        for parts in zip(*plots, strict=True):
            console().print(_coloured((" " * _GAP).join(parts).rstrip()), soft_wrap=True)


def _coloured(line: str) -> Text:
    text = Text(line)
    for mark, colour in _MARKS.items():
        text.highlight_regex(re.escape(mark), colour)
    return text
