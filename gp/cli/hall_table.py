"""The hall of fame as a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from gp.cli.console import SafeConsole, console
from gp.evolution.hall import Difference, Entry, Hall

_PIPE: Final = 200  # columns where there is no terminal: formulas are long
_LEAST: Final = 16  # columns for a formula on a narrow terminal
_ROOMY: Final = 100  # columns from which there is room for cost and size
_WIDE: Final = 140  # columns from which there is room for the difference on the data of the search as well
_LEGEND: Final = (
    "score: the mean of ln(error / error of a constant) outside the training range, lower is better; {seeds} seeds, {steps} steps.\n"
    "selection: the same on the data sets that finalists are ranked on; unseen: on others, which had no part in finding or choosing.\n"
    "vs gelu: the difference of the score to its left, with its 95% interval by paired bootstrap.\n"
    "cost: operations of value and derivative for an element; size: nodes of the syntax tree."
)
_WARNING: Final = "! better than gelu on the data of the search alone: it may fit the search, and not generalise."


def print_hall(hall: Hall, folder: Path | None) -> None:
    """Print the hall of fame, the known functions, and where the results are, if they are on record."""
    out = roomy_console()
    title = "Hall of fame" if hall.complete else "Hall of fame so far (interrupted: scores are those of the search)"
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    everyone = (*hall.entries, *hall.baselines)
    columns = [(name, cell) for name, cell in _columns(out.width) if any(map(cell, everyone))]
    for name in ("rank", *(name for name, _ in columns)):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("formula", overflow="fold", min_width=_LEAST)
    for rank, entry in enumerate(hall.entries, 1):
        mark = f"{'! ' if entry.wins_here_alone else ''}{rank}"
        table.add_row(mark, *(cell(entry) for _, cell in columns), _formula(entry))
    table.add_section()
    for entry in hall.baselines:
        table.add_row("", *(cell(entry) for _, cell in columns), _formula(entry), style="dim")
    if hall.entries:
        out.print(title)  # not that of the table, which would fold it to its own width
        out.print(table)
        out.print(_LEGEND.format(seeds=len(hall.measured.seeds), steps=hall.measured.steps))
        if any(entry.wins_here_alone for entry in hall.entries):
            out.print(_WARNING)
    elif hall.complete:
        out.print("No function was found that passes the gate: none fits its training data.")
    else:
        goes_on = "" if folder is None else f" gp resume {folder} goes on."
        out.print(f"Interrupted before any function was found that fits its training data.{goes_on}", soft_wrap=True)
    for name, reason in hall.missing.items():
        out.print(f"Missing: {name}: {reason}", soft_wrap=True)
    if hall.lacks_baselines and folder is not None:
        out.print(f"gp resume {folder} measures the known functions again that are missing.", soft_wrap=True)
    if folder is not None:
        out.print(f"Results are in {folder}", soft_wrap=True)


def roomy_console() -> Console:
    """The console for tables with formulas: as wide as the terminal, and wider than others in a pipe."""
    return console() if console().is_terminal else SafeConsole(width=_PIPE)


def _columns(width: int) -> list[tuple[str, Callable[[Entry], str]]]:
    """The columns between rank and formula that there is room for: name, and what stands in it."""
    search: tuple[str, Callable[[Entry], str]] = ("vs gelu", lambda e: _change(e.difference))
    facts: list[tuple[str, Callable[[Entry], str]]] = [("cost", lambda e: _count(e.cost)), ("size", lambda e: _count(e.size))]
    return [
        ("score", lambda e: _score(e.score)),
        *([search] if width >= _WIDE else []),
        ("selection", lambda e: _score(e.selection_score)),
        ("unseen", lambda e: _score(e.unseen_score)),
        ("vs gelu", lambda e: _change(e.unseen_difference)),
        *(facts if width >= _ROOMY else []),
    ]


def _formula(entry: Entry) -> str:
    return f"{entry.formula}{f'  ({entry.name})' if entry.name else ''}"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def _count(value: int | None) -> str:
    return "" if value is None else str(value)


def _change(difference: Difference | None) -> str:
    if difference is None:
        return ""
    change, low, high = difference
    return f"{change:+.2f} [{low:+.2f}, {high:+.2f}]" if low != high else f"{change:+.2f}"
