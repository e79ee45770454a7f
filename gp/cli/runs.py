"""`gp top` and `gp runs`: what runs have found, read from their records."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from gp.cli.errors import CommandError
from gp.cli.plain import escaped

if TYPE_CHECKING:
    from gp.evolution.config import Config
    from gp.evolution.hall import Entry
    from gp.run_reading import Found

_COUNT: Final = 10  # of the best so far, where no count is given
_NOTHING: Final = "No function has been found"
_FOUND: Final = ("rank", "candidate", "stage", "difference", "score", "cost", "size", "formula")


def register(app: typer.Typer) -> None:
    app.command("top")(top)
    app.command("runs")(runs)


def top(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run, finished or not.")],
    *,
    count: Annotated[int | None, typer.Option(min=1, help="How many functions at most.")] = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="Those that no other surpasses in difference, cost and size at once.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Print a CSV table.")] = False,
) -> None:
    """The best functions of a run: its hall of fame; before it is finished, the best so far by their scores in the search.

    With --pareto, the Pareto front of the search, of the candidates that completed its second stage: better than gelu by more,
    cheaper, or shorter.
    """
    if json_ and csv_:
        raise CommandError("--json and --csv exclude each other")
    from gp.run_file import FILE, RunDirectoryError  # noqa: PLC0415 - `gp --help` does without what these import
    from gp.run_reading import is_running, read_best, read_config, read_hall, read_judged, read_progress  # noqa: PLC0415

    folder = folder.parent if folder.name == FILE else folder
    try:
        hall = read_hall(folder)
        config = read_config(folder)
        running = is_running(folder)
        generations, _ = read_progress(folder)
        if pareto:
            found = _front(read_judged(folder, min(2, config.stages)))[:count]
        else:
            found = read_best(folder, count or _COUNT) if hall is None else []
    except RunDirectoryError as error:
        raise CommandError(str(error)) from error
    if hall is None or pareto:
        state = f"running, generation {generations}" if running else f"gp resume {folder} goes on"
        title = "Pareto front of the search" if pareto else f"Best so far, by the scores of the search ({state})"
        rows = _found_rows(found, config)
    else:
        hall = dataclasses.replace(hall, entries=hall.entries[:count])
        rows = [_entry_row(rank, entry) for rank, entry in enumerate(hall.entries, 1)]
    if json_:
        typer.echo(json.dumps({"run": str(folder), "finished": hall is not None, "entries": rows}, indent=2, allow_nan=False))
    elif csv_:
        writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else _FOUND, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: escaped(cell) if isinstance(cell, str) else cell for key, cell in row.items()} for row in rows)
    elif hall is None or pareto:
        _print_rows(title, rows, f"Running, generation {generations}: no function has been found yet" if running else _NOTHING)
    else:
        from gp.cli.hall_table import print_hall  # noqa: PLC0415

        print_hall(hall, folder)


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the runs are, or one of them.")] = Path("runs"),
) -> None:
    """The runs in a directory: how far each has come, and the best function that it has found."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from gp.cli.hall_table import roomy_console  # noqa: PLC0415
    from gp.run_file import FILE, RunDirectoryError  # noqa: PLC0415
    from gp.run_reading import is_running, read_best, read_config, read_hall, read_progress  # noqa: PLC0415

    folder = folder.parent if folder.name == FILE else folder
    found = [folder] if (folder / FILE).is_file() else sorted(path.parent for path in folder.glob(f"*/{FILE}"))
    if not found:
        raise CommandError(f"there are no runs in {folder}; gp run begins one")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("run", "seed", "state", "generations", "trained", "best score"):
        table.add_column(name, justify="left" if name in ("run", "state") else "right", no_wrap=True)
    table.add_column("formula", overflow="fold")
    for run in found:
        try:
            config = read_config(run)
            generations, trained = read_progress(run)
            hall = read_hall(run)
            best = [(e.score, e.formula) for e in hall.entries[:1]] if hall else [(f.score, f.text) for f in read_best(run, 1)]
        except RunDirectoryError as error:
            table.add_row(run.name, "", "unreadable", "", "", "", str(error))
            continue
        shown = (f"{best[0][0]:+.3f}", best[0][1]) if best else ("", "")
        state = "finished" if hall else "running" if is_running(run) else "unfinished"
        table.add_row(run.name, str(config.seed), state, f"{generations}/{config.generations}", str(trained), *shown)
    roomy_console().print(table)


def _front(found: Sequence[Found]) -> list[Found]:
    """Those that no other surpasses in difference, cost and size at once; of equal ones the first. The largest lead comes first."""
    from gp.evolution.pareto import front  # noqa: PLC0415

    distinct = list({(f.difference, float(f.cost), float(f.size)): f for f in reversed(found)}.items())
    return sorted((distinct[k][1] for k in front([point for point, _ in distinct])), key=lambda f: (f.difference, f.cost, f.size))


def _found_rows(found: Sequence[Found], config: Config) -> list[dict[str, Any]]:
    """Candidates on record as plain rows."""
    stages = [stage.name for stage in config.cascade]
    return [
        dict(zip(_FOUND, (rank, f.number, stages[f.stages - 1], f.difference, f.score, f.cost, f.size, f.text), strict=True))
        for rank, f in enumerate(found, 1)
    ]


def _entry_row(rank: int, entry: Entry) -> dict[str, Any]:
    """An entry of a hall of fame, flat: differences to gelu as three columns."""
    row: dict[str, Any] = {"rank": rank}
    for key in ("score", "selection_score", "unseen_score"):
        difference = key.replace("score", "difference")
        row[key] = getattr(entry, key)
        row |= dict(zip((difference, f"{difference}_low", f"{difference}_high"), getattr(entry, difference) or (None,) * 3, strict=True))
    return {**row, "fit": entry.fit, "cost": entry.cost, "size": entry.size, "formula": entry.formula}


def _print_rows(title: str, rows: Sequence[dict[str, Any]], nothing: str) -> None:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from gp.cli.hall_table import roomy_console  # noqa: PLC0415

    if not rows:
        roomy_console().print(f"{nothing} that fits its training data.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for key in _FOUND:
        justify: Literal["left", "right"] = "left" if key in ("stage", "formula") else "right"
        table.add_column("vs gelu" if key == "difference" else key, justify=justify, no_wrap=key != "formula", overflow="fold")
    for row in rows:
        table.add_row(*(f"{row[k]:+.3f}" if isinstance(row[k], float) else str(row[k]) for k in _FOUND))
    roomy_console().print(title)
    roomy_console().print(table)
