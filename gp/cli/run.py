"""`gp run`: an evolution from the shell."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gp.cli.choices import Preset, Strategy
from gp.cli.errors import CommandError

if TYPE_CHECKING:
    from types import FrameType

    from gp.evolution.config import Config
    from gp.evolution.engine import Engine
    from gp.evolution.hall import Hall
    from gp.run_store import RunStore

_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def register(app: typer.Typer) -> None:
    app.command("run")(run)
    app.command("resume")(resume)


def run(
    *,
    preset: Annotated[Preset | None, typer.Option(help="About 3 minutes, an hour or four hours on 2 cores.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A TOML file with settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting. May be repeated.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same hall of fame, with any number of workers.")] = None,
    population: Annotated[int | None, typer.Option(help="Candidates in a generation.")] = None,
    generations: Annotated[int | None, typer.Option(help="Generations, the first random one included.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps of a candidate's networks; finalists get three times as many.")] = None,
    strategy: Annotated[Strategy | None, typer.Option(help="random: no selection, to measure what evolution gains.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="A new or empty directory for the results; by default runs/TIME.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that train; by default one for each core.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print all settings as TOML, and run nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the hall of fame.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the hall of fame as JSON; progress goes to standard error.")] = False,
) -> None:
    """Evolve activation functions that generalise beyond the data they are trained on.

    Candidates are scored by small networks, with the candidate's compiled kernels inside, that learn polynomials, physics formulas,
    spherical harmonics and chaotic systems, and are tested outside the range of their training points. Ctrl-C ends the search,
    keeps what was found and shows it (status 130).

    Of settings that are given twice the later one in this list counts: --preset, --config, --set, an option of its own.
    """
    from gp.evolution.config import ConfigError  # noqa: PLC0415
    from gp.evolution.settings import configure, to_toml  # noqa: PLC0415
    from gp.run_store import RunDirectoryError, RunStore  # noqa: PLC0415 - `gp --help` does without what these import

    options = {
        "seed": seed, "population": population, "generations": generations, "steps": steps, "strategy": strategy, "workers": workers,
    }  # fmt: skip
    try:
        settings = configure(preset, config, set_ or (), {key: value for key, value in options.items() if value is not None})
        if print_config:
            typer.echo(to_toml(settings), nl=False)
            return
        folder = out or _new_folder()
        with RunStore.create(folder, settings) as store:
            hall, stopped = search(store, settings.workers, quiet, json_)
    except (ConfigError, RunDirectoryError) as error:
        raise CommandError(str(error)) from error
    report(hall, folder, stopped, json_)


def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.")],
    *,
    workers: Annotated[int | None, typer.Option(help="Processes that train; by default as many as the run was begun with.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the hall of fame.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the hall of fame as JSON; progress goes to standard error.")] = False,
) -> None:
    """Go on with a run that was interrupted or killed; it ends as it would have without that.

    The run does again what it did, with the scores on record in place of training. Of a run that is finished the hall of fame is
    shown.
    """
    from gp.run_store import RunDirectoryError, RunStore  # noqa: PLC0415 - `gp --help` does without what this imports

    if workers is not None and workers < 1:
        raise CommandError(f"--workers must be 1 or more, not {workers}")
    try:
        with RunStore.resume(folder) as store:
            hall, stopped = search(store, workers or store.config.workers, quiet, json_)
    except RunDirectoryError as error:
        raise CommandError(str(error)) from error
    report(hall, folder, stopped, json_)


def search(store: RunStore, workers: int, quiet: bool, to_stderr: bool) -> tuple[Hall, bool]:
    """Run the search that a record is of, from where it is: its hall of fame, and whether it was interrupted."""
    from gp.cli.progress import make_progress  # noqa: PLC0415
    from gp.evolution.engine import Engine  # noqa: PLC0415
    from gp.evolution.evaluator import Evaluator  # noqa: PLC0415
    from gp.evolution.hall import make_hall  # noqa: PLC0415
    from gp.evolution.recall import RecallingScorer  # noqa: PLC0415

    with Evaluator(workers) as evaluator:
        engine = Engine(_settings(store), RecallingScorer(evaluator, store), [store])
        with make_progress(engine, quiet, to_stderr) as progress, _interruptible(engine):
            engine.observers.append(progress)
            engine.run()
            hall = make_hall(engine)
    store.save_hall(hall)
    return hall, engine.stopping


def _settings(store: RunStore) -> Config:
    """The settings on record. A run that is finished has the generations that it has, however long they take this time."""
    from gp.run_store import read_about, read_progress  # noqa: PLC0415

    settings = store.config
    if settings.seconds and "hall" in read_about(store.folder):
        return dataclasses.replace(settings, generations=read_progress(store.folder)[0], seconds=0)
    return settings


def report(hall: Hall, folder: Path, stopped: bool, as_json: bool) -> None:
    """Print the hall of fame, and end with status 130 if the search was interrupted."""
    if as_json:
        typer.echo(json.dumps({**hall.to_json(), "directory": str(folder)}, indent=2, allow_nan=False))
    else:
        from gp.cli.hall_table import print_hall  # noqa: PLC0415

        print_hall(hall, folder)
    if stopped:
        raise typer.Exit(_INTERRUPTED)


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
