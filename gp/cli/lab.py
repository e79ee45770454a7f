"""`gp lab`: the worth of activations, by training small networks that use them. What it shows is made in lab_table and lab_figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gp.cli.choices import DeviceName
from gp.cli.errors import CommandError, warn
from gp.cli.lab_options import (
    Backends,
    Data,
    Expressions,
    Fidelities,
    Fidelity,
    Json,
    Protocols,
    Seeds,
    Set,
    WorkerCount,
    read_measurement,
    read_programs,
)
from gp.cli.plain import say

if TYPE_CHECKING:
    from gp.cli.lab_report import Report, Row
    from gp.lab.pool import Pool
    from gp.lab.protocol import Measurement


def register(app: typer.Typer) -> None:
    app.command("lab")(lab)


def lab(
    expressions: Expressions,
    *,
    fidelity: Fidelity = Fidelities.STANDARD,
    seeds: Seeds = None,
    set_: Set = None,
    data: Data = None,
    protocol: Annotated[Protocols, typer.Option(help="paper: raw errors on data as they are, as in arXiv 2602.05688.")] = Protocols.LAB_V1,
    device: DeviceName = "auto",
    workers: WorkerCount = None,
    backend: Annotated[Backends, typer.Option(help="Of the CPU. eager: plain torch, many times slower.")] = Backends.COMPILED,
    json_: Json = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a picture of the results, .png or .svg.")] = None,
) -> None:
    """Score activations: how well networks that use them do outside the range of their training points.

    Small networks learn many data sets (`gp data list`); the table has a row for each activation, the best first, with its
    difference to gelu; status 1 says that none has a score. What is measured is kept: Ctrl-C (status 130) loses little, and the
    same command goes on from there.
    """
    if plot is not None and plot == json_:
        raise CommandError(f"--json and --plot name the same file, {plot}; choose another name for one of them")
    from gp.cli.lab_report import Report  # noqa: PLC0415 - `gp --help` does without what these import
    from gp.cli.output import PICTURES, check_output  # noqa: PLC0415

    if json_ is not None:
        check_output("--json", json_)
    if plot is not None:
        from gp.cli.lab_figure import check_matplotlib  # noqa: PLC0415

        check_output("--plot", plot, PICTURES)
        check_matplotlib()
    programs = {name: text for name, text, _ in read_programs(expressions)}
    what, source = read_measurement(fidelity, seeds, set_, data, protocol.value)
    from gp.lab.pool import open_pool  # noqa: PLC0415
    from gp.workers import cores  # noqa: PLC0415

    with open_pool(device, workers or cores(), backend=backend.value, say=warn) as pool:
        rows = _measure(programs, what, pool)
    _show(Report(what, fidelity.value, source, pool.method, tuple(programs), rows), json_, plot)
    if all(row["score"] is None for row in rows if row["expression"] in programs):
        raise typer.Exit(1)


def _measure(programs: dict[str, str], what: Measurement, pool: Pool) -> list[Row]:
    """A row for each activation, and one for gelu."""
    from gp.cli.lab_progress import measuring  # noqa: PLC0415
    from gp.lab.evaluation import BASELINE, canonical, evaluate_programs  # noqa: PLC0415

    programs = {**programs, BASELINE: canonical(BASELINE)}
    with measuring({text: name for name, text in programs.items()}, what, pool.method) as on_seed:
        return evaluate_programs(tuple(programs.items()), what, pool, on_seed=on_seed)


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
            say(f"wrote {path}")
