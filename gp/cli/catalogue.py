"""`gp list`: the catalogue, one activation a line."""

from __future__ import annotations

import fnmatch
import json
from typing import Annotated, Any, Final

import typer

from gp.cli.errors import CommandError

_CURVE: Final = 12  # characters
_NAME: Final = 24  # columns; the few names that are longer push their line to the right


def register(app: typer.Typer) -> None:
    app.command("list")(list_catalogue)


def list_catalogue(
    pattern: Annotated[str, typer.Argument(help="Show the names that contain this, or match it as a glob such as 'hard*'.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The catalogue of named activations.

    A line has the name, the value on [-5, 5] as a small curve, the parameters with their initial values, and the formula.
    On a terminal a long formula is cut; `gp show NAME` has it whole.
    """
    from grammar import catalog, nearest  # noqa: PLC0415 - `gp --help` does without what this imports

    names = [name for name in catalog.names() if _matches(name, pattern.lower())]
    if not names:
        near = nearest(pattern, catalog.names())
        raise CommandError(f"no activation of the catalogue matches '{pattern}'" + (f"; did you mean '{near}'?" if near else ""))
    rows = [_row(name) for name in names]
    if json_:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print(rows)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or pattern in name


def _row(name: str) -> dict[str, Any]:
    import numpy as np  # noqa: PLC0415

    from codegen.build import build  # noqa: PLC0415
    from gp.cli.plots import sparkline  # noqa: PLC0415
    from gp.cli.sampling import evaluate_at  # noqa: PLC0415
    from grammar import catalog, format_program  # noqa: PLC0415

    entry = catalog.entry(name)
    function = build(entry.program)
    (value,) = evaluate_at(np.linspace(-5.0, 5.0, _CURVE), [function.result], function.parameters)
    return {
        "name": name,
        "formula": format_program(entry.program),
        "parameters": [{"name": p.name, "per_channel": p.per_channel, "initial": p.initial} for p in function.parameters],
        "notes": list(entry.notes),
        "curve": sparkline(value),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.text import Text  # noqa: PLC0415

    from gp.cli.console import print_line  # noqa: PLC0415

    print_line(Text(f"{'name':<{_NAME}} {'on [-5, 5]':<{_CURVE}} formula", style="bold"))
    for row in rows:
        parameters = ", ".join(f"{p['name']}{'[channel]' if p['per_channel'] else ''}={p['initial']:g}" for p in row["parameters"])
        formula = "; ".join(line for line in row["formula"].splitlines() if not line.startswith("param "))
        print_line(
            Text.assemble(
                (f"{row['name']:<{_NAME}} ", "bold cyan"),
                (f"{row['curve']} ", "green"),
                (f"{parameters}: " if parameters else "", "yellow"),
                formula,
            )
        )
