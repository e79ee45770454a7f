"""Curves in a terminal, in Unicode: one line of blocks, or a panel of Braille dots with axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_BRAILLE: Final = 0x2800
_LARGEST: Final = 1e300  # a range of twice this is still a float64
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # bits of a cell's 4 x 2 dots (Unicode 15, Braille Patterns)


def sparkline(values: Array, cut: float = 5.0) -> str:
    """A character for each value, from the lowest to the highest one within [-cut, cut]; blank where there is no number."""
    picked = np.clip(values, -cut, cut)
    known = picked[~np.isnan(picked)]
    low, span = (known.min(), np.ptp(known)) if known.size else (0.0, 0.0)
    # Rounding noise on a constant function is no curve.
    levels = (picked - low) / span * (len(_BLOCKS) - 1) if span > 1e-9 else np.where(np.isnan(picked), np.nan, 3.0)
    return "".join(" " if math.isnan(level) else _BLOCKS[round(level)] for level in levels)


def panel(title: str, x: Array, y: Array, width: int, height: int) -> list[str]:
    """A plot of `height` + 3 lines, each exactly `width` characters: title, curve with a labelled y axis, x axis, its labels."""
    low, high = limits(y)
    ticks = nice_ticks(low, high, max(2, height // 3))
    labels = {_row(tick, low, high, height * 4) // 4: f"{tick:g}" for tick in ticks}
    margin = max(len(label) for label in labels.values()) + 1
    columns = width - margin - 1
    places = {round(f * (columns - 1)): f"{x[0] + f * (x[-1] - x[0]):g}" for f in (0.0, 0.5, 1.0)}
    return framed(title, _draw(y, low, high, columns, height), labels, places, width)


def framed(title: str, cells: Sequence[str], labels: Mapping[int, str], places: Mapping[int, str], width: int) -> list[str]:
    """Lines of cells with a title, a y axis with labels by row and an x axis with labels by column, each `width` characters."""
    margin = max(len(label) for label in labels.values()) + 1
    columns = width - margin - 1
    lines = [" " * (margin + 1) + title]
    for row, line in enumerate(cells):
        lines.append(f"{labels.get(row, ''):>{margin}}{'┤' if row in labels else '│'}{line}")
    lines.append(" " * margin + "└" + "".join("┬" if c in places else "─" for c in range(columns)))
    bottom = [" "] * width
    for place, label in places.items():
        start = min(margin + 1 + place - len(label) // 2, width - len(label))
        bottom[start : start + len(label)] = label
    lines.append("".join(bottom))
    return [line.ljust(width)[:width] for line in lines]


def limits(y: Array) -> tuple[float, float]:
    """The range to show: all values up to 1e300, unless few points stretch it to over four times what the other 96% need."""
    shown = y[np.abs(y) <= _LARGEST]
    if not shown.size:
        return -1.0, 1.0
    low, high = float(shown.min()), float(shown.max())
    inner_low, inner_high = np.percentile(shown, (2, 98))
    inner = float(inner_high - inner_low)
    if inner > 0 and high - low > 4 * inner:
        low, high = max(low, float(inner_low) - 0.1 * inner), min(high, float(inner_high) + 0.1 * inner)
    size = max(abs(low), abs(high), 1.0)
    return (low, high) if high - low > 1e-9 * size else (low - size, high + size)  # a constant, but for rounding


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """The multiples of 1, 2 or 5 times a power of ten in the range: the finest step that gives at most `most` of them."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))  # a step that gives at least `most`; ten times as much gives fewer
    for step in (factor * power for factor in (1, 2, 5, 10)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [k * step for k in range(first, last + 1)]


def _row(value: float, low: float, high: float, rows: int) -> int:
    """The row of a value, from 0 at the top; -1 or `rows` for one that lies outside."""
    return round(min(max((high - value) / (high - low) * (rows - 1), -1.0), float(rows)))


def _draw(y: Array, low: float, high: float, columns: int, height: int) -> list[str]:
    """The curve as Braille cells, with a dashed line at zero where that is in the range."""
    rows = height * 4
    bits = np.zeros((height, columns), dtype=int)
    previous: int | None = None
    for column, index in enumerate(np.linspace(0, len(y) - 1, columns * 2).round().astype(int)):
        value = float(y[index])
        if math.isnan(value):
            previous = None
            continue
        row = _row(value, low, high, rows)
        first, last = sorted((row, row if previous is None else previous))
        for dot in range(max(first, 0), min(last, rows - 1) + 1):
            bits[dot // 4, column // 2] |= _DOTS[dot % 4][column % 2]
        previous = row
    zero = _row(0.0, low, high, rows) // 4
    return ["".join(chr(_BRAILLE + b) if b else "┄" if r == zero else " " for b in line) for r, line in enumerate(bits.tolist())]
