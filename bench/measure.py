"""Rows of the table that `python -m bench` prints, and what produces and prints them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from gp.timing import Spread


@dataclass(frozen=True, slots=True)
class Target:
    """What a number is to reach: at least, or at most, so much."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what was measured, ours and the alternative (with units), and the number that the target is about.

    `value` is a ratio, alternative over ours, where `unit` is "x"; its spread is the 20th to the 80th percentile.
    """

    figure: str
    what: str
    ours: str
    alternative: str
    value: Spread
    unit: str
    target: Target | None = None

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.target.met(self.value.median)

    def as_json(self) -> dict[str, object]:
        return {**dataclasses.asdict(self), "met": self.met}


def milliseconds(seconds: float) -> str:
    """Time in milliseconds or microseconds, to three digits."""
    return f"{seconds * 1e6:.3g} us" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"


def exactly(value: float) -> Spread:
    """A number without spread."""
    return Spread(value, value, value)


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """A table on standard output."""
    table = Table(title=title, title_justify="left")
    for name in ("what", "ours", "alternative", "value", "20%..80%", "target", "met"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=name != "what")
    for row in rows:
        spread = "" if row.value.low == row.value.high else f"{row.value.low:.3g}..{row.value.high:.3g}"
        target = "" if row.target is None else f"{'>=' if row.target.at_least else '<='} {row.target.bound:g} {row.unit}"
        met = {None: "", True: "yes", False: "NO"}[row.met]
        table.add_row(row.what, row.ours, row.alternative, f"{row.value.median:.3g} {row.unit}", spread, target, met)
    Console(width=None if Console().is_terminal else 160).print(table)
