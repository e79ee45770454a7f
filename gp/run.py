"""A search from Python: `gp.search(config)`.

Below it stand an engine's `ask` and `tell`, for whoever measures in another way:

    engine = gp.evolution.engine.Engine(config)
    while (batch := engine.ask()) is not None:
        engine.tell([measure(text, batch.measurement, seed) for text, seed in batch.tasks])
    engine.hall
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gp.evolution.config import Config, ConfigError
from gp.evolution.engine import Engine, Observer, drive
from gp.evolution.evaluator import Evaluator
from gp.evolution.hall import Hall
from gp.evolution.recall import RecallingScorer
from gp.evolution.settings import configure
from gp.run_store import RunStore, read_hall

Watch = Callable[[Engine], "contextlib.AbstractContextManager[Iterable[Observer]]"]


@dataclass(frozen=True, slots=True)
class Run:
    """A search that has ended: its settings, its hall of fame, where its record is (if it has one), and whether it was stopped."""

    config: Config
    hall: Hall
    folder: Path | None
    stopped: bool

    @property
    def formulas(self) -> list[str]:
        """The programs of the hall of fame, the best first: what `gp.activation` takes."""
        return [entry.formula for entry in self.hall.entries]


def search(
    config: Config | Mapping[str, Any] | None = None,
    *,
    preset: str | None = None,
    out: str | Path | None = None,
    observers: Iterable[Observer] = (),
) -> Run:
    """Run a search to its end.

    `config`: settings (`gp.evolution.config.Config`), all of them or, as a mapping, those that differ from the defaults and `preset`
    ("quick", "standard" or "thorough"). `out`: a new or empty directory for the record, which `resume` goes on from. `observers` hear
    what happens; the search itself prints nothing. Raises ConfigError for a wrong setting, RunDirectoryError for a directory that
    cannot be used.
    """
    if isinstance(config, Config):
        if preset is not None:
            raise ConfigError("a Config has all settings; give a mapping beside a preset")
        settings = config
    else:
        settings = configure(preset, None, (), config or {})
    _ = settings.programs  # mistakes are told before anything is written
    if out is None:
        return execute(settings, None, settings.workers, lambda engine: contextlib.nullcontext(observers))
    with RunStore.create(Path(out), settings) as store:
        return execute(settings, store, settings.workers, lambda engine: contextlib.nullcontext(observers))


def resume(folder: str | Path, *, workers: int | None = None, observers: Iterable[Observer] = ()) -> Run:
    """Go on with a run that was interrupted or killed; it ends as it would have without that. Raises RunDirectoryError."""
    with RunStore.resume(Path(folder)) as store:
        return execute(store.config, store, workers or store.config.workers, lambda engine: contextlib.nullcontext(observers))


def execute(config: Config, store: RunStore | None, workers: int, watch: Watch) -> Run:
    """Run a search, or what is left of it; `watch` makes a context of the observers for the time that it runs."""
    if store is not None and (hall := read_hall(store.folder)) is not None:
        store.save_hall(hall)  # its files may have been lost
        return Run(config, hall, store.folder, stopped=False)
    engine = Engine(config)
    with Evaluator(workers, config.memory) as evaluator:
        if store is not None:
            store.attach(engine)
        with watch(engine) as observers:
            engine.observers += observers
            hall = drive(engine, evaluator if store is None else RecallingScorer(evaluator, store))
    if store is not None:
        store.save_hall(hall)
    return Run(config, hall, None if store is None else store.folder, stopped=not hall.complete)
