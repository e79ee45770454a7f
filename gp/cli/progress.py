"""What a person sees of a search while it runs: a live view on a terminal, lines of text elsewhere, or nothing."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from gp.evolution.candidate import Candidate
from gp.evolution.engine import Engine, Observer
from gp.evolution.hall import finals

FINAL_WEIGHT: Final = 4  # a measurement of a finalist takes about as long as that many of candidates


class Progress(Observer):
    """Shows nothing; a context, so that those that show something can tidy up."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to tidy up."""


def make_progress(engine: Engine, quiet: bool, to_stderr: bool) -> Progress:
    """The progress that fits where output goes."""
    if quiet:
        return Progress()
    console = Console(stderr=to_stderr, highlight=False, markup=False, emoji=False)
    return LiveProgress(engine, console) if console.is_terminal else LogProgress(engine, to_stderr)


def best_line(engine: Engine) -> str:
    """The best candidate so far."""
    best = engine.best(1)
    return f"best {best[0].score.score:+.3f}  {best[0].text}" if best and best[0].score else "nothing fits yet"


def rejection_line(engine: Engine) -> str:
    """How many candidates were rejected, by reason."""
    return "rejected: " + (", ".join(f"{count} {reason}" for reason, count in engine.rejections.most_common()) or "none")


class LogProgress(Progress):
    """A line for each generation."""

    def __init__(self, engine: Engine, to_stderr: bool) -> None:
        self._engine = engine
        self._stream = sys.stderr if to_stderr else sys.stdout
        self._generation = self._left = self._done = 0

    def generation_started(self, generation: int, count: int) -> None:
        self._generation, self._left = generation, count

    def evaluated(self, candidate: Candidate) -> None:
        self._left -= 1
        self._done += 1
        if self._left == 0:
            place = f"generation {self._generation + 1}/{self._engine.config.generations}"
            self._print(f"{place}: {self._done} evaluations, {best_line(self._engine)}; {rejection_line(self._engine)}")

    def finals_started(self, count: int) -> None:
        self._print(f"measuring the best again, on other data: {count} measurements")

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class LiveProgress(Progress):
    """A bar over the whole run, and below it the best formula and what was rejected."""

    def __init__(self, engine: Engine, console: Console) -> None:
        self._engine = engine
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[done]} evaluations"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console,
        )  # fmt: skip
        total = engine.config.planned + FINAL_WEIGHT * finals(engine)
        self._task = self._bar.add_task("starting", total=total, done=0)
        self._live = Live(console=console, get_renderable=self._view, refresh_per_second=4)

    def __enter__(self) -> LiveProgress:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.__exit__(kind, error, trace)

    def generation_started(self, generation: int, count: int) -> None:
        self._bar.update(self._task, description=f"generation {generation + 1}/{self._engine.config.generations}")

    def evaluated(self, candidate: Candidate) -> None:
        self._bar.update(self._task, advance=1, done=len(self._engine.candidates))

    def finals_started(self, count: int) -> None:
        # A generation may have held fewer candidates than there was room for.
        self._bar.update(self._task, description="measuring the best again", total=self._engine.config.planned + FINAL_WEIGHT * count)
        self._bar.update(self._task, completed=self._engine.config.planned)

    def final_measured(self, text: str) -> None:
        self._bar.advance(self._task, FINAL_WEIGHT)

    def _view(self) -> Group:
        lines = Text(no_wrap=True, overflow="ellipsis")
        lines.append(best_line(self._engine) + "\n", style="green")
        lines.append(rejection_line(self._engine), style="dim")
        return Group(self._bar, lines)
