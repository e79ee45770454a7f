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
_WIDE: Final = 120  # columns from which there is room for cost and size
_LEGEND: Final = (
    "score: the mean of ln(error / error of a constant) outside the training range, lower is better; {seeds} seeds, {steps} steps.\n"
    "unseen: the same on data sets that the search has not seen.\n"
    "vs gelu: the difference, with its 95% interval by paired bootstrap."
)
_WIDE_LEGEND: Final = "cost: operations of value and derivative for an element; size: nodes of the syntax tree."
_WARNING: Final = "! better than gelu on the data of the search alone: it may fit the search, and not generalise."


def print_hall(hall: Hall, folder: Path | None) -> None:
    """Print the hall of fame, the known functions, and where the results are, if they are on record."""
    out = roomy_console()
    wide = out.width >= _WIDE
    title = "Hall of fame" if hall.complete else "Hall of fame so far (interrupted: scores are those of the search)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("rank", "score", "vs gelu", "unseen", "vs gelu", *(("cost", "size") if wide else ())):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("formula", overflow="fold", min_width=_LEAST)
    for rank, entry in enumerate(hall.entries, 1):
        table.add_row(f"{'! ' if entry.wins_here_alone else ''}{rank}", *_cells(entry, wide))
    table.add_section()
    for entry in hall.baselines:
        table.add_row("", *_cells(entry, wide), style="dim")
    if hall.entries:
        out.print(table)
        out.print(_LEGEND.format(seeds=len(hall.measured.seeds), steps=hall.measured.steps))
        if wide:
            out.print(_WIDE_LEGEND)
        if any(entry.wins_here_alone for entry in hall.entries):
            out.print(_WARNING)
    else:
        out.print("No function was found that passes the gate: none fits its training data.")
    if folder is not None:
        out.print(f"Results are in {folder}", soft_wrap=True)


def roomy_console() -> Console:
    """The console for tables with formulas: as wide as the terminal, and wider than others in a pipe."""
    return console() if console().is_terminal else Console(width=_PIPE, highlight=False, markup=False, emoji=False)


def _cells(entry: Entry, wide: bool) -> list[str]:
    unseen = "" if entry.unseen_score is None else f"{entry.unseen_score:+.3f}"
    facts = [f"{entry.score:+.3f}", _change(entry.difference), unseen, _change(entry.unseen_difference)]
    if wide:
        facts += ["" if fact is None else str(fact) for fact in (entry.cost, entry.size)]
    return [*facts, f"{entry.formula}{f'  ({entry.name})' if entry.name else ''}"]


def _change(difference: Difference | None) -> str:
    if difference is None:
        return ""
    change, low, high = difference
    return f"{change:+.2f} [{low:+.2f}, {high:+.2f}]" if low != high else f"{change:+.2f}"
