"""Points in a terminal: sets of them in one panel, each with a character of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gp.cli.plots import framed, nice_ticks

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Points:
    """Points x and y (count,), and the character that marks them."""

    mark: str
    x: Array
    y: Array


def scatter(title: str, sets: Sequence[Points], width: int, height: int) -> list[str]:
    """A plot of `height` + 3 lines, each exactly `width` characters. Later sets cover earlier ones."""
    x_low, x_high = _limits(np.concatenate([points.x for points in sets]))
    y_low, y_high = _limits(np.concatenate([points.y for points in sets]))
    labels = {_cell(y_high - tick, y_high - y_low, height): f"{tick:g}" for tick in nice_ticks(y_low, y_high, max(2, height // 3))}
    margin = max(len(label) for label in labels.values()) + 1
    columns = width - margin - 1
    cells = [[" "] * columns for _ in range(height)]
    for points in sets:
        for x, y in zip(points.x.tolist(), points.y.tolist(), strict=True):
            cells[_cell(y_high - y, y_high - y_low, height)][_cell(x - x_low, x_high - x_low, columns)] = points.mark
    places = {_cell(tick - x_low, x_high - x_low, columns): f"{tick:g}" for tick in nice_ticks(x_low, x_high, max(2, columns // 8))}
    return framed(title, ["".join(marks) for marks in cells], labels, places, width)


def _limits(values: Array) -> tuple[float, float]:
    """The least and the greatest value, apart even if they are equal."""
    low, high = float(values.min()), float(values.max())
    size = max(abs(low), abs(high), 1e-300)
    return (low, high) if high - low > 1e-9 * size else (low - size, high + size)


def _cell(distance: float, span: float, count: int) -> int:
    """Which of `count` cells over a span something at that distance from its beginning lies in."""
    return min(int(distance / span * count), count - 1)
