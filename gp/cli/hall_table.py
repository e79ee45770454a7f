"""The hall of fame as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from gp.cli.console import console
from gp.evolution.hall import Difference, Entry, Hall

_PIPE: Final = 160  # columns where there is no terminal: formulas are long
_LEAST: Final = 16  # columns for a formula on a narrow terminal
_LEGEND: Final = (
    "score: the mean of ln(error / error of a constant) outside the training range, lower is better; {seeds} seeds, {steps} steps.\n"
    "unseen: the same on data sets that the search has not seen.\n"
    "vs gelu: the difference, with its 95% interval by paired bootstrap."
)
_WARNING: Final = "! better than gelu on the data of the search alone: it may fit the search, and not generalise."


def print_hall(hall: Hall, folder: Path) -> None:
    """Print the hall of fame, the known functions, and where the results are."""
    out = console() if console().is_terminal else Console(width=_PIPE, highlight=False, markup=False, emoji=False)
    title = "Hall of fame" if hall.complete else "Hall of fame so far (interrupted: scores are those of the search)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("rank", "score", "vs gelu", "unseen", "vs gelu"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("formula", overflow="fold", min_width=_LEAST)
    for rank, entry in enumerate(hall.entries, 1):
        table.add_row(f"{'! ' if entry.wins_here_alone else ''}{rank}", *_cells(entry))
    table.add_section()
    for entry in hall.baselines:
        table.add_row("", *_cells(entry), style="dim")
    if hall.entries:
        out.print(table)
        out.print(_LEGEND.format(seeds=len(hall.measurement.seeds), steps=hall.measurement.training.steps))
        if any(entry.wins_here_alone for entry in hall.entries):
            out.print(_WARNING)
    else:
        out.print("No function was found that passes the gate: none fits its training data.")
    out.print(f"Results are in {folder}", soft_wrap=True)


def _cells(entry: Entry) -> tuple[str, str, str, str, str]:
    unseen = "" if entry.unseen is None else f"{entry.unseen.score:+.3f}"
    known = f"  ({entry.name})" if entry.name else ""
    return f"{entry.score.score:+.3f}", _change(entry.difference), unseen, _change(entry.unseen_difference), f"{entry.formula}{known}"


def _change(difference: Difference | None) -> str:
    if difference is None:
        return ""
    change, low, high = difference
    return f"{change:+.2f} [{low:+.2f}, {high:+.2f}]" if low != high else f"{change:+.2f}"
