"""`gp run` and `gp resume`: an evolution from the shell."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gp.cli.choices import DEVICES, DeviceName, Parameters, Preset, Strategy
from gp.cli.errors import CommandError, warn

if TYPE_CHECKING:
    from types import FrameType

    from gp.cli.progress import View
    from gp.evolution.engine import Engine, Observer
    from gp.run import Run, Watch

_INCOMPLETE: Final = 1
_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def register(app: typer.Typer) -> None:
    app.command("run")(run)
    app.command("resume")(resume)


def run(
    *,
    preset: Annotated[Preset | None, typer.Option(help="About 3 minutes, an hour or four hours on 2 cores.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A TOML file with settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting. May be repeated.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same hall of fame on the CPU, with any number of workers.")
    ] = None,
    population: Annotated[int | None, typer.Option(help="Candidates in a generation.")] = None,
    generations: Annotated[int | None, typer.Option(help="Generations, the first random one included.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps of the first stage; the others have 3 and 10 times as many.")] = None,
    strategy: Annotated[Strategy | None, typer.Option(help="random: no selection, to measure what evolution gains.")] = None,
    parameters: Annotated[Parameters | None, typer.Option(help="Learnable parameters that candidates may have; by default none.")] = None,
    statistics: Annotated[bool | None, typer.Option("--statistics/--no-statistics", help="Mean, std, ... of a batch.")] = None,
    shifts: Annotated[bool | None, typer.Option("--shifts/--no-shifts", help="Neighbours along the channels.")] = None,
    seed_from: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPR|FILE|RUN", help="Start from these as well: expressions, files, runs."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="A new or empty directory for the results; by default runs/TIME.")] = None,
    device: DeviceName = "auto",
    workers: Annotated[int | None, typer.Option(help="Processes that train on the CPU; by default one for each core.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print all settings as TOML, and run nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the hall of fame.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the hall of fame as JSON; progress goes to standard error.")] = False,
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what happens as lines of JSON.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(metavar="DIR", help="Write curves for TensorBoard.")] = None,
) -> None:
    """Evolve activation functions that generalise beyond the data they are trained on.

    Candidates are scored by small networks, with the candidate's compiled kernels inside, that learn polynomials, physics formulas,
    spherical harmonics and chaotic systems, and are tested outside the range of their training points. Ctrl-C ends the search,
    keeps what was found and shows it (status 130).

    Of settings that are given twice the later one in this list counts: --preset, --config, --set, an option of its own.
    """
    from gp.cli.progress import View  # noqa: PLC0415 - `gp --help` does without what these import
    from gp.cli.starting_points import with_seeds  # noqa: PLC0415
    from gp.evolution.cascade import ReferenceFailure  # noqa: PLC0415
    from gp.evolution.config import ConfigError  # noqa: PLC0415
    from gp.evolution.evaluator import Evaluator  # noqa: PLC0415
    from gp.evolution.settings import configure, to_toml  # noqa: PLC0415
    from gp.run import execute  # noqa: PLC0415
    from gp.run_file import RunDirectoryError  # noqa: PLC0415
    from gp.run_store import RunStore  # noqa: PLC0415

    options = {
        "seed": seed, "population": population, "generations": generations, "steps": steps, "strategy": strategy, "workers": workers,
        "parameters": parameters, "statistics": statistics, "shifts": shifts,
    }  # fmt: skip
    try:
        given = {key: value for key, value in options.items() if value is not None}
        settings = with_seeds(configure(preset, config, set_ or (), given), seed_from or ())
        if print_config:
            typer.echo(to_toml(settings), nl=False)
            return
        folder = out or _new_folder()
        with Evaluator(settings.workers, settings.memory, device, warn) as evaluator, RunStore.create(folder, settings) as store:
            done = execute(settings, store, evaluator, _watch(View(quiet, json_, log, tensorboard)))
    except (ConfigError, RunDirectoryError) as error:
        raise CommandError(str(error)) from error
    except ReferenceFailure as error:
        raise CommandError(f"{error}; gp resume {folder} tries again") from error
    _report(done, json_)


def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.")],
    *,
    device: Annotated[str | None, typer.Option(help=f"What trains: {DEVICES}; by default what the run was on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that train on the CPU; by default as many as in the beginning.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the hall of fame.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the hall of fame as JSON; progress goes to standard error.")] = False,
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what happens as lines of JSON.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(metavar="DIR", help="Write curves for TensorBoard.")] = None,
) -> None:
    """Go on with a run that was interrupted or killed; it ends as it would have without that.

    It goes on from its last whole generation, with the results on record in place of training. Of a run that is finished the hall of
    fame is shown.
    """
    from gp.cli.progress import View  # noqa: PLC0415 - `gp --help` does without what these import
    from gp.evolution.cascade import ReferenceFailure  # noqa: PLC0415
    from gp.evolution.config import ConfigError, check  # noqa: PLC0415
    from gp.run import go_on  # noqa: PLC0415
    from gp.run_file import RunDirectoryError  # noqa: PLC0415
    from gp.run_store import RunStore  # noqa: PLC0415

    try:
        if workers is not None:
            check("workers", workers)
        with RunStore.resume(folder) as store:
            done = go_on(store, device, workers, _watch(View(quiet, json_, log, tensorboard)), warn)
    except (ConfigError, RunDirectoryError) as error:
        raise CommandError(str(error)) from error
    except ReferenceFailure as error:
        raise CommandError(f"{error}; gp resume {folder} tries again") from error
    _report(done, json_)


def _watch(view: View) -> Watch:
    """What shows and writes a search, and lets Ctrl-C end it."""
    from gp.cli.progress import watching  # noqa: PLC0415

    @contextlib.contextmanager
    def watch(engine: Engine) -> Iterator[list[Observer]]:
        with watching(engine, view) as observers, _interruptible(engine):
            yield observers

    return watch


def _report(run: Run, as_json: bool) -> None:
    """Print the hall of fame, and end with status 130 if the search was interrupted, with 1 if something in the hall is missing."""
    if as_json:
        typer.echo(json.dumps({**run.hall.to_json(), "directory": str(run.folder)}, indent=2, allow_nan=False))
    else:
        from gp.cli.hall_table import print_hall  # noqa: PLC0415

        print_hall(run.hall, run.folder)
    if run.stopped:
        raise typer.Exit(_INTERRUPTED)
    if run.hall.missing:
        raise typer.Exit(_INCOMPLETE)


@contextlib.contextmanager
def _interruptible(engine: Engine) -> Iterator[None]:
    """Ctrl-C once ends the search after the evaluation in flight; a second one ends the process."""

    def stop(number: int, frame: FrameType | None) -> None:
        engine.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _new_folder() -> Path:
    """A directory that is not there yet, named after the time."""
    name = f"{datetime.now():%Y%m%d-%H%M%S}"
    return next(folder for k in itertools.count(1) if not (folder := Path("runs", name if k == 1 else f"{name}-{k}")).exists())
