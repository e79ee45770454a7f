"""What a person sees while the lab measures, on standard error: a bar on a terminal, a line for each activation elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from gp.cli.console import SafeConsole
from gp.cli.errors import CommandError
from gp.cli.plain import say
from gp.cli.restoring import restoring
from gp.lab.data import DataError
from gp.lab.evaluation import OnSeed, known
from gp.lab.measure import Method
from gp.lab.protocol import Measurement

_NAME: Final = 32  # characters
_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


class Progress:
    """Counts seeds. `names`: of the activations by program text, in the order in which they are measured; `known`: seeds on disk."""

    def __init__(self, names: Mapping[str, str], seeds: int, known: int) -> None:
        self.total = len(names) * seeds
        self.done = 0
        self._known = known
        self._names = names
        self._left = Counter(dict.fromkeys(names, seeds))

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to tidy up."""

    def on_seed(self, text: str, seed: int) -> None:
        """A seed is done, found on disk or measured."""
        self.done += 1
        self._left[text] -= 1
        if self.done > self._known:
            self._measured(text)

    def _measured(self, text: str) -> None:
        if self._left[text] == 0:
            finished = sum(left == 0 for left in self._left.values())
            say(f"{finished}/{len(self._names)} {self._names[text]}", error=True)


class LiveProgress(Progress):
    """A bar over all seeds, with the activation that is being measured."""

    def __init__(self, names: Mapping[str, str], seeds: int, known: int, console: Console) -> None:
        super().__init__(names, seeds, known)
        self._bar = Bar(
            TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.completed}/{task.total} seeds"),
            TimeElapsedColumn(), TextColumn("{task.fields[left]}"), console=console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(f"{'starting':<{_NAME}}", total=self.total, completed=known, left="")
        self._start = time.monotonic()
        self._restoring = restoring(console, screen=False)

    def __enter__(self) -> LiveProgress:
        self._restoring.__enter__()
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.__exit__(kind, error, trace)
        self._restoring.__exit__(kind, error, trace)

    def _measured(self, text: str) -> None:
        name = next((self._names[t] for t, left in self._left.items() if left), self._names[text])
        shown = name if len(name) <= _NAME else name[: _NAME - 1] + "…"
        # Seeds that were found on disk are no sign of speed.
        seconds = (time.monotonic() - self._start) / (self.done - self._known) * (self.total - self.done)
        left = f"{timedelta(seconds=round(seconds))} left"
        self._bar.update(self._task, completed=self.done, description=f"{shown:<{_NAME}}", left=left)


def make_progress(names: Mapping[str, str], seeds: int, known: int) -> Progress:
    """The progress that fits where standard error goes, and how much there is to do."""
    console = SafeConsole(stderr=True)
    live = console.is_terminal and not console.is_dumb_terminal and known < len(names) * seeds
    return LiveProgress(names, seeds, known, console) if live else Progress(names, seeds, known)


@contextlib.contextmanager
def measuring(names: Mapping[str, str], what: Measurement, method: Method) -> Iterator[OnSeed]:
    """What to tell of each seed that is done. `names`: of the activations by program text, in the order in which they are measured.

    Ctrl-C ends the command with a message and status 130. Raises CommandError for data that cannot be used.
    """
    progress = make_progress(names, len(what.seeds), known(tuple(names), what, method))
    try:
        with progress:
            yield progress.on_seed
    except KeyboardInterrupt:
        kept = f"{progress.done} of {progress.total} measurements (one for each activation and seed) are kept"
        say(f"gp: interrupted; {kept}, and the same command goes on from there", error=True)
        raise typer.Exit(_INTERRUPTED) from None
    except DataError as error:
        raise CommandError(str(error)) from error
