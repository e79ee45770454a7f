"""What `gp lab` prints: a table, the best activation first, and what its columns mean. Other columns make that of `gp compare`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gp.cli.console import SafeConsole, console
from gp.cli.lab_report import Report, Row
from gp.lab.evaluation import BASELINE

_PIPE: Final = 200  # columns where there is no terminal: formulas are long
_EXPRESSION: Final = 16  # columns at least
_GAP: Final = 2  # columns between two columns of the table
_LEFT: Final = 1 + len("rank") + _GAP + _EXPRESSION + 1  # with the margins on both sides


@dataclass(frozen=True, slots=True)
class Column:
    """A header, the cell of a row, and what the legend says; a column of which it says nothing speaks for itself."""

    header: str
    cell: Callable[[Row], str]
    meaning: str = ""


def print_table(report: Report) -> None:
    """Print the table of `gp lab`."""
    print_columns(report, [*_scores(report), *_parts(report), *_training(report)])


def table_console() -> Console:
    """The console that tables are printed on; without a terminal it is as wide as formulas need."""
    return console() if console().is_terminal else SafeConsole(width=_PIPE)


def print_columns(report: Report, columns: Sequence[Column]) -> None:
    """Print a table of the report's rows, in as many parts as the terminal's width makes necessary, and the legend."""
    out = table_console()
    parts: list[list[Column]] = [[]]
    for column in columns:
        if parts[-1] and _LEFT + sum(_GAP + _width(report, c) for c in (*parts[-1], column)) > out.width:
            parts.append([])
        parts[-1].append(column)
    for k, part in enumerate(parts):
        out.print(_table(report, part, notes=k == 0))
    out.print(f"{report.title}; lower is better")
    for column in columns:
        if column.meaning:
            out.print(f"{column.header}: {column.meaning}", style="dim")


def _width(report: Report, column: Column) -> int:
    return max(map(len, [column.header, *map(column.cell, report.rows)]))


def _scores(report: Report) -> list[Column]:
    difference = Column(f"vs {BASELINE}", lambda row: _difference(report, row), "the difference, with its 95% interval by paired bootstrap")
    if report.raw:
        meaning = "arithmetic mean of the raw squared errors out of distribution; the largest decide"
        return [Column("mean loss", _value("score", _general), meaning), difference]
    return [score_column(), difference]


def score_column() -> Column:
    """The score of `lab-v1`."""
    meaning = "mean of ln(error / error of a constant) out of distribution, each held between -5 and 1; 0 is as bad as a constant"
    return Column("score", _value("score", "{:+.3f}".format), meaning)


def _parts(report: Report) -> list[Column]:
    if report.raw:
        return [Column(family, _value(family, _general)) for family in report.families]
    inward = Column("inward", _value("inward", _signed), "the score where test points lie inside of the training points")
    outward = Column("outward", _value("outward", _signed), "the score where they lie outside")
    ways = [column for column in (inward, outward) if report.has(column.header)]
    return [*ways, *(Column(family, _value(family, _signed)) for family in report.families)]


def _training(report: Report) -> list[Column]:
    seconds = Column("seconds", _value("seconds", "{:.2f}".format), "training on one core, all seeds together")
    meaning = "mean of ln(error / variance) in distribution"
    if report.raw:
        median = Column("median", _value("ood_loss", _general), "of the same errors")
        return [median, Column("ID fit", _value("fit", _signed), meaning), seconds]
    return [Column("ID fit", _value("fit", _signed), f"{meaning}; at most {report.what.gate:g} where a function fits"), seconds]


def _table(report: Report, columns: Sequence[Column], notes: bool = True) -> Table:
    """The rows, ranked; gelu has no rank unless it was asked for."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("expression", overflow="fold", min_width=_EXPRESSION)
    for column in columns:
        table.add_column(column.header, justify="right", no_wrap=True, min_width=_width(report, column))
    rank = 0
    for row in report.rows:
        asked = row["expression"] in report.asked
        ranked = asked and row["score"] is not None
        rank += ranked
        name = Text("\n").join([Text(row["expression"]), *(Text(note, style="yellow") for note in report.notes(row) if notes)])
        table.add_row(str(rank) if ranked else "", name, *(c.cell(row) for c in columns), style="" if asked else "dim")
    return table


def _difference(report: Report, row: Row) -> str:
    if row["program"] == report.baseline:
        return "0"
    if row["difference"] is None or not math.isfinite(row["difference"]):
        return ""
    number = _general if report.raw else _signed
    return f"{number(row['difference'])} [{number(row['low'])}, {number(row['high'])}]"


def _value(key: str, number: Callable[[float], str]) -> Callable[[Row], str]:
    """A cell with a row's value under that key, empty where it has none."""
    return lambda row: "" if row[key] is None else number(row[key])


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # never -0.00


def _general(value: float) -> str:
    return f"{value:.4g}"
