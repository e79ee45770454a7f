"""`gp lab`: the worth of activations, by training small networks that use them. What it shows is made in lab_table and lab_figure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gp.cli.errors import CommandError

if TYPE_CHECKING:
    from gp.cli.lab_report import Report, Row
    from gp.lab.data import Instance
    from gp.lab.measure import Backend
    from gp.lab.protocol import Measurement

_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it
_MOST_SEEDS: Final = 1000
_HIGHEST_SEED: Final = 2**32 - 1


class Fidelities(StrEnum):
    """What `--fidelity` takes; the names are those of `gp.lab.protocol`, and so on below. Here, so that `gp --help` imports no lab."""

    QUICK = "quick"
    STANDARD = "standard"
    FULL = "full"


class Sets(StrEnum):
    """What `--set` takes."""

    SEARCH = "search"
    VALIDATION = "validation"


class Protocols(StrEnum):
    """What `--protocol` takes."""

    LAB_V1 = "lab-v1"
    PAPER = "paper"


class Backends(StrEnum):
    """What `--backend` takes."""

    COMPILED = "compiled"
    EAGER = "eager"


def register(app: typer.Typer) -> None:
    app.command("lab")(lab)


def lab(
    expressions: Annotated[list[str], typer.Argument(metavar="EXPR...", help="Expressions of x, names of `gp list`, or .act files.")],
    *,
    fidelity: Annotated[Fidelities, typer.Option(help="100, 300 or 1000 training steps; 1, 2 or 4 seeds.")] = Fidelities.STANDARD,
    seeds: Annotated[str | None, typer.Option(help="0:8 (without 8), 3 or 0,2,5; by default as many as the fidelity has.")] = None,
    set_: Annotated[Sets | None, typer.Option("--set", help="The data sets of `gp data list`; by default search.")] = None,
    data: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Your own data instead: .csv or .py. May be repeated.")] = None,
    protocol: Annotated[Protocols, typer.Option(help="paper: raw errors on data as they are, as in arXiv 2602.05688.")] = Protocols.LAB_V1,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Processes that train; by default one for each core.")] = None,
    backend: Annotated[Backends, typer.Option(help="eager: plain torch, many times slower.")] = Backends.COMPILED,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a picture of the results, .png or .svg.")] = None,
) -> None:
    """Score activations: how well networks that use them do outside the range of their training points.

    Small networks learn many data sets (`gp data list`); the table has a row for each activation, the best first, with its
    difference to gelu. What is measured is kept: Ctrl-C (status 130) loses little, and the same command goes on from there.
    """
    chosen_seeds = None if seeds is None else parse_seeds(seeds)
    if data and set_ is not None:
        raise CommandError("--data takes the place of the data sets of --set; leave one of them out")
    if plot is not None and plot == json_:
        raise CommandError(f"--json and --plot name the same file, {plot}; choose another name for one of them")
    from gp.cli.output import PICTURES, check_output  # noqa: PLC0415 - `gp --help` does without what these import
    from gp.lab.protocol import measurement  # noqa: PLC0415

    if json_ is not None:
        check_output("--json", json_)
    if plot is not None:
        from gp.cli.lab_figure import check_matplotlib  # noqa: PLC0415

        check_output("--plot", plot, PICTURES)
        check_matplotlib()
    programs = _programs(expressions)
    own = _load(data or [])
    what = measurement(fidelity.value, data=own or (set_ or Sets.SEARCH).value, seeds=chosen_seeds, protocol=protocol.value)
    from gp.cli.lab_report import Report  # noqa: PLC0415

    source = [str(path) for path in data] if data else (set_ or Sets.SEARCH).value
    rows = _measure(programs, what, backend.value, workers)
    _show(Report(what, fidelity.value, source, backend.value, tuple(programs), rows), json_, plot)


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds that `--seeds` means. Raises CommandError."""
    if match := re.fullmatch(r"([0-9]{1,12}):([0-9]{1,12})", text):
        first, end = map(int, match.groups())
        count, last = end - first, end - 1
    elif re.fullmatch(r"[0-9]{1,12}(,[0-9]{1,12})*", text):
        numbers = tuple(map(int, text.split(",")))
        count, last = len(numbers), max(numbers)
        if len(set(numbers)) < count:
            raise CommandError(f"--seeds {text}: a seed is given twice")
    else:
        raise CommandError(f"--seeds {text}: give a range such as 0:8 (0 to 7), a seed such as 3, or several such as 0,2,5")
    if count < 1:
        raise CommandError(f"--seeds {text}: there is no seed in this range; 0:8 are the seeds 0 to 7")
    if count > _MOST_SEEDS or last > _HIGHEST_SEED:
        raise CommandError(f"--seeds {text}: there may be {_MOST_SEEDS} seeds, and none above {_HIGHEST_SEED}")
    return tuple(range(first, end)) if match else numbers


def _programs(expressions: Sequence[str]) -> dict[str, str]:
    """Canonical text of each activation by what it is called in the results: its name or file, or the text itself."""
    from gp.cli.inputs import load  # noqa: PLC0415
    from gp.lab.evaluation import canonical  # noqa: PLC0415

    named = [(load(e).name and e.strip(), canonical(e)) for e in expressions]
    return {name or text: text for name, text in named}


def _load(files: Sequence[Path]) -> tuple[Instance, ...]:
    """The data sets in a user's files, tried. Raises CommandError."""
    from gp.lab.data import DataError, load, make_dataset  # noqa: PLC0415

    homes: dict[str, Path] = {}
    found: list[Instance] = []
    try:
        for path in files:
            for instance in load(path):
                if instance.name in homes:
                    raise CommandError(f"--data {path}: {homes[instance.name]} has a data set called '{instance.name}' too; rename one")
                make_dataset(instance, 0)
                homes[instance.name] = path
                found.append(instance)
    except DataError as error:
        raise CommandError(str(error)) from error
    return tuple(found)


def _measure(programs: dict[str, str], what: Measurement, backend: Backend, workers: int | None) -> list[Row]:
    """A row for each activation, and one for gelu."""
    from gp.cli.lab_progress import make_progress  # noqa: PLC0415
    from gp.lab.data import DataError  # noqa: PLC0415
    from gp.lab.evaluation import BASELINE, canonical, evaluate_programs, known  # noqa: PLC0415

    programs = {**programs, BASELINE: canonical(BASELINE)}
    names = {text: name for name, text in programs.items()}
    progress = make_progress(names, len(what.seeds), known(tuple(names), what, backend))
    try:
        with progress:
            return evaluate_programs(tuple(programs.items()), what, workers=workers, backend=backend, on_seed=progress.on_seed)
    except KeyboardInterrupt:
        kept = f"{progress.done} of {progress.total} measurements (one for each activation and seed) are kept"
        typer.echo(f"gp: interrupted; {kept}, and the same command goes on from there", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    except DataError as error:
        raise CommandError(str(error)) from error


def _show(report: Report, json_: Path | None, plot: Path | None) -> None:
    """Write the files and print the table; in this order, since `gp lab ... | head` ends with the table."""
    from gp.cli.lab_table import print_table  # noqa: PLC0415
    from gp.cli.output import write_output  # noqa: PLC0415

    if json_ is not None:
        write_output(json_, lambda path: path.write_text(report.to_json(), encoding="utf-8"))
    if plot is not None:
        from gp.cli.lab_figure import save_figure  # noqa: PLC0415

        write_output(plot, lambda path: save_figure(report, path))
    print_table(report)
    for path in (json_, plot):
        if path is not None:
            typer.echo(f"wrote {path}")
