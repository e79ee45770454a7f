"""What `gp bench` prints, a table for each activation with a column for each way to compute it, and the same as JSON."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from gp.cli.bench_measure import COLD, COMPILED, EAGER, KEPT, OURS, OWN, Result, Row
from gp.cli.console import SafeConsole, console

_PIPE: Final = 160  # columns where there is no terminal
_ORDER: Final = (OURS, OWN, EAGER, COMPILED)


def print_machine(about: dict[str, str], rounds: int) -> None:
    """What the figures depend on, and how to read them."""
    out = _out()
    out.print(", ".join(f"{key} {value}" for key, value in about.items()), soft_wrap=not out.is_terminal)
    legend = (
        f"Medians of {rounds} rounds, in which all take turns; 3x [2, 4] takes 3 times as long as ours, in most rounds 2 to 4 times.",
        f"{EAGER}: the program as plain torch operations (gp show EXPR --emit torch).",
        f"{KEPT}: memory kept from forward to backward, in tensors of x's size.",
        f"{COLD}: to the first gradient with nothing compiled before, ours from text, {COMPILED} from a function.",
    )
    for line in legend:
        out.print(line, style="dim")


def print_result(expression: str, result: Result) -> None:
    """The table of one activation, and what could not be measured."""
    program = result.rows[0].program
    title = expression if expression == program else f"{expression}: {program}"
    names = sorted({row.contender for row in result.rows}, key=_ORDER.index)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("elements", justify="right", min_width=max(len(f"{row.elements:,}") for row in result.rows))
    table.add_column("", min_width=max(len(row.measure) for row in result.rows))
    for name in names:
        table.add_column(name, justify="right", min_width=len(name))  # on a narrow terminal the spread goes below the time
    shown = 0
    for (elements, measure), group in itertools.groupby(result.rows, lambda row: (row.elements, row.measure)):
        cells = {row.contender: _cell(row) for row in group}
        if elements != shown or measure == COLD:
            table.add_section()
        table.add_row("" if elements == shown or measure == COLD else f"{elements:,}", measure, *(cells.get(name, "") for name in names))
        shown = elements
    out = _out()
    out.print(table)
    for note in result.notes:
        out.print(note, style="yellow")


def _out() -> Console:
    return console() if console().is_terminal else SafeConsole(width=_PIPE)


def _cell(row: Row) -> str:
    value = f"{row.value.median:.3g}" if row.measure == KEPT else duration(row.value.median)
    if row.ratio is None:
        return value
    spread = "" if row.ratio.low == row.ratio.high else f" [{_number(row.ratio.low)}, {_number(row.ratio.high)}]"
    return f"{value} {_number(row.ratio.median)}x{spread}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it, to three digits."""
    scale, unit = (1e6, "us") if seconds < 1e-3 else (1e3, "ms") if seconds < 1 else (1, "s")
    return f"{_number(seconds * scale)} {unit}"


def _number(value: float) -> str:
    """Three digits, or all those before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def as_json(about: dict[str, str], rounds: int, results: Sequence[Result]) -> dict[str, object]:
    """Everything that was measured; `rows` are plain records."""
    return {
        "machine": about,
        "rounds": rounds,
        "rows": [row.as_json() for result in results for row in result.rows],
        "notes": [note for result in results for note in result.notes],
    }
