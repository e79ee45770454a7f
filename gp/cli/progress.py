"""What a run shows and writes while it goes on: a live view on a terminal, lines of text elsewhere; an event log, TensorBoard."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from gp.cli.console import SafeConsole
from gp.cli.errors import CommandError, warn
from gp.cli.live import LiveView
from gp.cli.output import check_output
from gp.cli.pace import PHASES
from gp.cli.restoring import restoring
from gp.event_log import EventLog
from gp.evolution.cascade import Batch
from gp.evolution.engine import Engine, Observer
from gp.tally import Summary, Tally
from gp.tensorboard_log import TensorBoardLog


@dataclass(frozen=True, slots=True)
class View:
    """What is wanted: `quiet` for no progress, which goes to standard error if `to_stderr`; files for the event log and TensorBoard."""

    quiet: bool
    to_stderr: bool
    log: Path | None
    tensorboard: Path | None


@contextlib.contextmanager
def watching(engine: Engine, view: View) -> Iterator[list[Observer]]:
    """The observers that show and write what is wanted. Raises CommandError where a file cannot be written."""
    with contextlib.ExitStack() as entered:
        observers: list[Observer] = []
        if view.log is not None:
            check_output("--log", view.log)
            observers.append(entered.enter_context(EventLog(view.log, engine, warn)))
        if view.tensorboard is not None:
            observers.append(entered.enter_context(_tensorboard(view.tensorboard, engine)))
        if not view.quiet:
            console = SafeConsole(stderr=view.to_stderr)
            if console.is_terminal and not console.is_dumb_terminal:
                entered.enter_context(restoring(console, screen=True))
                observers.append(entered.enter_context(LiveView(engine, console)))
            else:
                observers.append(Lines(engine, sys.stderr if view.to_stderr else sys.stdout))
        yield observers


def _tensorboard(folder: Path, engine: Engine) -> TensorBoardLog:
    try:
        return TensorBoardLog(folder, engine)
    except ImportError as error:
        raise CommandError("--tensorboard needs tensorboardX, which is not installed: pip install 'actgp[tensorboard]'") from error
    except OSError as error:
        raise CommandError(f"--tensorboard {folder}: cannot be written: {error.strerror}; choose another directory") from error


class Lines(Tally):
    """A line for each generation, and for what follows the last of them."""

    def __init__(self, engine: Engine, stream: TextIO) -> None:
        super().__init__(engine)
        self._stream = stream
        self._phase = ""

    def batch_started(self, batch: Batch) -> None:
        if batch.purpose in PHASES and batch.purpose != self._phase:
            # Tuning takes as many batches as it finds use for.
            count = "" if batch.purpose == "tuning" else f": {len(batch.tasks)} measurements"
            self._print(f"{PHASES[batch.purpose]}{count}")
            self._phase = batch.purpose

    def summarised(self, summary: Summary) -> None:
        best = summary.best
        found = "nothing fits yet"
        if best is not None and best.score is not None:
            found = f"best {best.differences[-1]:+.3f} to gelu (score {best.score.score:+.3f}) {best.text}"
        funnel = " -> ".join(f"{stage} {passage.entered}" for stage, passage in summary.funnel.items())
        reasons = sorted(summary.rejections.items(), key=lambda item: (-item[1], item[0]))
        rejected = ", ".join(f"{count} {reason}" for reason, count in reasons) or "none"
        place = f"generation {summary.generation + 1}/{self.engine.config.generations}"
        self._print(f"{place}: {self.engine.trained} trained, {found}; {funnel}; rejected: {rejected}")

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
