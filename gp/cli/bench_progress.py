"""What a person sees of `gp bench` while it measures: on a terminal, a bar on standard error; elsewhere nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from rich.progress import BarColumn, Progress, TextColumn

from gp.cli.console import SafeConsole

_NAME: Final = 32  # characters


@contextlib.contextmanager
def progress(name: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar over the steps of one activation; the function given is called at the beginning of each, with what it does.

    The bar is drawn then and at no other time: a thread that draws would be measured too.
    """
    console = SafeConsole(stderr=True)
    silent = not console.is_terminal or console.is_dumb_terminal
    shown = name if len(name) <= _NAME else name[: _NAME - 1] + "…"
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[step]}", markup=False))
    with Progress(*columns, console=console, transient=True, auto_refresh=False, disable=silent) as bar:
        task = bar.add_task(shown, total=total, completed=-1, step="")

        def on_step(what: str) -> None:
            bar.update(task, advance=1, step=what, refresh=True)

        yield on_step
