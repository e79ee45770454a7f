"""`gp show`: all there is to know about one activation. This is the command; what it prints is made in overview, emit and figure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gp.cli.choices import Emit, Target
from gp.cli.errors import CommandError
from gp.cli.output import PICTURES, check_output
from gp.cli.plain import say


def register(app: typer.Typer) -> None:
    app.command("show")(show)


def show(
    expression: Annotated[str, typer.Argument(metavar="EXPR", help="An expression of x, a name of `gp list`, or an .act file.")],
    *,
    emit: Annotated[Emit | None, typer.Option(help="Print this source or machine code and nothing else.")] = None,
    backward: Annotated[bool, typer.Option("--backward", help="With --emit: the derivative instead of the value.")] = False,
    target: Annotated[Target | None, typer.Option(help="The GPU for --emit ptx, sass or amdgcn, and --report.")] = None,
    report: Annotated[bool, typer.Option("--report", help="What the compiler makes of the GPU kernels: a table for each target.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Write value and derivative as a picture, .png or .svg.")] = None,
) -> None:
    """Formula, derivative, cost and curve of an activation; its source for any backend.

    No GPU is needed for GPU code. An expression that begins with a minus goes last, after --, as in: gp show -- "-x"
    """
    _check_options(emit, backward, target, report, plot)
    from gp.cli.inputs import load  # noqa: PLC0415 - `gp --help` does without what these import

    activation = load(expression)
    if emit is not None:
        from gp.cli.emit import emit as print_source  # noqa: PLC0415

        sys.stdout.write(print_source(activation.function, emit, backward=backward, target=target))
        return
    from gp.cli.overview import print_overview, print_report, save_plot  # noqa: PLC0415

    if plot is not None:
        save_plot(activation, plot)
        say(f"wrote {plot}")
    if report:
        print_report(activation, [target] if target else list(Target))
    if plot is None and not report:
        print_overview(activation)


def _check_options(emit: Emit | None, backward: bool, target: Target | None, report: bool, plot: Path | None) -> None:
    """Refuse options that have no meaning together, before anything is computed."""
    if emit is not None and (report or plot is not None):
        raise CommandError(f"--emit prints source and nothing else; leave out {'--report' if report else '--plot'}")
    if backward and emit is None:
        raise CommandError("--backward goes with --emit, as in: gp show gelu --emit triton --backward")
    if target is not None and emit is None and not report:
        raise CommandError("--target goes with --report, or with --emit ptx, sass or amdgcn")
    if plot is not None:
        check_output("--plot", plot, PICTURES)
