"""`gp top` and `gp runs`: what runs have found, read from their records."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gp.cli.errors import CommandError


def register(app: typer.Typer) -> None:
    app.command("top")(top)
    app.command("runs")(runs)


def top(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run, finished or not.")],
    *,
    count: Annotated[int, typer.Option(min=1, help="How many functions, of a run that is not finished.")] = 10,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Print a CSV table.")] = False,
) -> None:
    """The best functions of a run: its hall of fame, or the best so far by their score in the search."""
    if json_ and csv_:
        raise CommandError("--json and --csv exclude each other")
    rows, finished = _rows(folder, count)
    if json_:
        typer.echo(json.dumps({"run": str(folder), "finished": finished, "entries": rows}, indent=2, allow_nan=False))
    elif csv_:
        writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else ["rank", "score", "formula"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print_rows(rows, folder, finished)


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the runs are.")] = Path("runs"),
) -> None:
    """The runs in a directory: how far each has come, and the best function that it has found."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from gp.cli.console import console  # noqa: PLC0415
    from gp.run_store import FILE, RunDirectoryError, read_about, read_best, read_progress  # noqa: PLC0415

    found = sorted(path.parent for path in folder.glob(f"*/{FILE}")) if folder.is_dir() else []
    if not found:
        raise CommandError(f"there are no runs in {folder}; gp run begins one")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("run", "seed", "state", "generations", "trained", "best score"):
        table.add_column(name, justify="left" if name in ("run", "state") else "right", no_wrap=True)
    table.add_column("formula", overflow="fold")
    for run in found:
        try:
            about = read_about(run)
            config = json.loads(about["config"])
            generations, trained = read_progress(run)
            best = read_best(run, 1)
        except RunDirectoryError as error:
            table.add_row(run.name, "", "unreadable", "", "", "", str(error))
            continue
        shown = (f"{best[0].score:+.3f}", best[0].text) if best else ("", "")
        state = "finished" if "hall" in about else "unfinished"
        table.add_row(run.name, str(config["seed"]), state, f"{generations}/{config['generations']}", str(trained), *shown)
    console().print(table)


def _rows(folder: Path, count: int) -> tuple[list[dict[str, Any]], bool]:
    """The hall of fame, or the best so far, as plain rows; and whether the run is finished."""
    from gp.run_store import RunDirectoryError, read_about, read_best  # noqa: PLC0415 - `gp --help` does without what this imports

    try:
        about = read_about(folder)
        if "hall" in about:
            return [_row(entry) for entry in json.loads(about["hall"])["entries"]], True
        return [{"rank": k, "score": f.score, "formula": f.text} for k, f in enumerate(read_best(folder, count), 1)], False
    except RunDirectoryError as error:
        raise CommandError(str(error)) from error


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of a hall of fame, flat: differences to gelu as three columns."""
    row: dict[str, Any] = {"rank": entry["rank"]}
    for score, difference in (("score", "difference"), ("unseen_score", "unseen_difference")):
        row[score] = entry[score]
        row |= dict(zip((difference, f"{difference}_low", f"{difference}_high"), entry[difference] or (None,) * 3, strict=True))
    return {**row, "fit": entry["fit"], "formula": entry["formula"]}


def _print_rows(rows: list[dict[str, Any]], folder: Path, finished: bool) -> None:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from gp.cli.console import console  # noqa: PLC0415

    if not rows:
        console().print("No function has been found that fits its training data.")
        return
    title = "Hall of fame" if finished else f"Best so far, by the score in the search (gp resume {folder} goes on)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    shown = [key for key in rows[0] if not key.endswith(("_low", "_high"))]  # intervals are in the JSON and CSV
    for key in shown:
        table.add_column(key.replace("_", " "), justify="left" if key == "formula" else "right", overflow="fold")
    for row in rows:
        table.add_row(*(f"{row[k]:+.3f}" if isinstance(row[k], float) else str(row[k]) for k in shown))
    console().print(table)
