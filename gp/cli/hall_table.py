"""The hall of fame as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from gp.cli.console import console
from gp.search.hall import Entry, Hall

_PIPE: Final = 160  # columns where there is no terminal: formulas are long
_LEGEND: Final = (
    "OOD score: the mean of ln(error / error of a constant) outside the training range, lower is better.\n"
    "OOD loss: the median of the error there. Both with {seeds} seeds and {steps} steps.\n"
    "unseen: the OOD score on data sets that the search has not seen."
)


def print_hall(hall: Hall, folder: Path) -> None:
    """Print the hall of fame, the baselines, and where the results are."""
    out = console() if console().is_terminal else Console(width=_PIPE, highlight=False, markup=False, emoji=False)
    title = "Hall of fame" if hall.complete else "Hall of fame so far (interrupted: scores are those of the search)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("rank", "OOD score", "OOD loss", "unseen"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("formula", overflow="fold")
    for rank, entry in enumerate(hall.entries, 1):
        table.add_row(str(rank), *_cells(entry))
    table.add_section()
    for entry in hall.baselines:
        table.add_row("", *_cells(entry), style="dim")
    if hall.entries:
        out.print(table)
        out.print(_LEGEND.format(seeds=len(hall.measurement.seeds), steps=hall.measurement.training.steps))
    else:
        out.print("No function was found that passes the gate: none fits its training data.")
    out.print(f"Results are in {folder}", soft_wrap=True)


def _cells(entry: Entry) -> tuple[str, str, str, str]:
    unseen = "" if entry.unseen is None else f"{entry.unseen.score:+.3f}"
    known = f"  ({entry.name})" if entry.name else ""
    return f"{entry.score.score:+.3f}", f"{entry.score.ood_loss:.4g}", unseen, f"{entry.formula}{known}"
