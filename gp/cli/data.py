"""`gp data`: the data sets that activations are scored on, and a user's own."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gp.cli.errors import CommandError
from gp.cli.output import PICTURES, check_output
from gp.cli.plain import say

if TYPE_CHECKING:
    from gp.lab.data import Instance, SetName

_PIPE: Final = 200  # columns where there is no terminal: formulas and ranges are long


class Sets(StrEnum):
    """What `--set` can list."""

    SEARCH = "search"
    SELECTION = "selection"
    VALIDATION = "validation"
    ALL = "all"


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="The data sets that activations are scored on, and your own.")
    group.command("list")(list_data)
    group.command("show")(show_data)
    app.add_typer(group, name="data")


def list_data(
    set_: Annotated[Sets, typer.Option("--set", help="What a search sees, what ranks its finalists, what judges the result.")] = Sets.ALL,
) -> None:
    """The registered data sets: name, family, variant, inputs, formula, and training range -> range out of distribution."""
    from rich import box  # noqa: PLC0415 - `gp --help` does without what these import
    from rich.table import Table  # noqa: PLC0415

    from gp.cli.console import SafeConsole, console  # noqa: PLC0415
    from gp.lab.data import instances  # noqa: PLC0415

    names: dict[Sets, tuple[SetName, ...]] = {
        Sets.SEARCH: ("search",),
        Sets.SELECTION: ("selection",),
        Sets.VALIDATION: ("validation",),
        Sets.ALL: ("search", "selection", "validation"),
    }
    out = console() if console().is_terminal else SafeConsole(width=_PIPE)
    for name in names[set_]:
        members = instances(name)
        table = Table(title=f"{name}: {len(members)} data sets", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("name", style="bold cyan", overflow="fold")
        table.add_column("family")
        table.add_column("variant")
        table.add_column("inputs", justify="right")
        table.add_column("formula", overflow="fold")
        table.add_column("ranges", overflow="fold")
        for i in members:
            table.add_row(i.name, i.family, i.variant, str(i.inputs), i.formula, i.ranges)
        out.print(table)


def show_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `gp data list`, a .csv or .py file, or FILE.py:NAME.")],
    *,
    seed: Annotated[int, typer.Option(min=0, help="The points are those of this seed.")] = 0,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the points as a picture, .png or .svg.")] = None,
) -> None:
    """Formula, ranges, sizes and statistics of a data set, and its points: the target against each input.

    A CSV file has columns of numbers: inputs, y (the target), and split (train, id or ood). A Python file has a list FAMILY of
    gp.lab.data.Instance; it is run as the program it is, so name only files that you trust. Any equation of the Feynman list can be
    had both ways, as in: gp data show feynman-up-III.15.12
    """
    if plot is not None:
        check_output("--plot", plot, PICTURES)
    from gp.lab.data import DataError, make_dataset  # noqa: PLC0415 - `gp --help` does without what this imports

    try:
        found = _find(name)
        if plot is not None and len(found) > 1:
            raise CommandError(f"{name} has {len(found)} data sets; --plot draws one, as in: gp data show {name}:{found[0].name}")
        data = [(instance, make_dataset(instance, seed)) for instance in found]
    except DataError as error:
        raise CommandError(str(error)) from error
    if plot is not None:
        from gp.cli.data_figure import save_figure  # noqa: PLC0415

        save_figure(*data[0], plot)
        say(f"wrote {plot}")
        return
    from gp.cli.data_overview import print_data  # noqa: PLC0415

    for instance, dataset in data:
        print_data(instance, dataset)


def _find(name: str) -> tuple[Instance, ...]:
    """The data sets that NAME means. Raises DataError."""
    from gp.lab.data import DataError, instance, load  # noqa: PLC0415

    if name.endswith((".csv", ".py")):
        return load(name)
    file, colon, member = name.rpartition(":")
    if not colon:
        return (instance(name),)
    members = {i.name: i for i in load(file)}
    if member not in members:
        raise DataError(f"{file} has no data set called '{member}'; it has {', '.join(members)}")
    return (members[member],)
