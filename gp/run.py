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
from gp.lab.devices import AUTO
from gp.lab.pool import warn
from gp.run_reading import read_hall
from gp.run_store import RunStore

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
    device: str = "auto",
    observers: Iterable[Observer] = (),
) -> Run:
    """Run a search to its end.

    `config`: settings (`gp.evolution.config.Config`), all of them or, as a mapping, those that differ from the defaults and `preset`
    ("quick", "standard" or "thorough"). `out`: a new or empty directory for the record, which `resume` goes on from. `device`: "cpu",
    "cuda" (all GPUs), "cuda:1" or several such as "cuda:0,cuda:2"; "auto" are the GPUs, if there are any that work. On the CPU the
    same seed gives the same hall of fame; on GPUs losses differ in the last digits with what is trained beside a candidate, which in a
    search may decide on who goes on. `observers` hear what happens; the search itself prints nothing. Raises ConfigError for a wrong
    setting, DeviceError for a device that cannot be used, RunDirectoryError for a directory that cannot.
    """
    if isinstance(config, Config):
        if preset is not None:
            raise ConfigError("a Config has all settings; give a mapping beside a preset")
        settings = config
    else:
        settings = configure(preset, None, (), config or {})
    _ = settings.programs  # mistakes are told before anything is written
    with Evaluator(settings.workers, settings.memory, device) as evaluator:
        if out is None:
            return execute(settings, None, evaluator, lambda engine: contextlib.nullcontext(observers))
        with RunStore.create(Path(out), settings) as store:
            return execute(settings, store, evaluator, lambda engine: contextlib.nullcontext(observers))


def resume(folder: str | Path, *, device: str | None = None, workers: int | None = None, observers: Iterable[Observer] = ()) -> Run:
    """Go on with a run that was interrupted or killed; it ends as it would have without that, on GPUs but for what `search` says of them.

    `device`: by default what it was on. Raises RunDirectoryError, DeviceError.
    """
    with RunStore.resume(Path(folder)) as store:
        return go_on(store, device, workers, lambda engine: contextlib.nullcontext(observers))


def go_on(store: RunStore, device: str | None, workers: int | None, watch: Watch, say: Callable[[str], None] = warn) -> Run:
    """What is left of a run that is on record, where and with as many workers as it was begun, if nothing else is said."""
    config = store.config
    if (hall := read_hall(store.folder)) is not None:
        store.save_hall(hall)  # its files may have been lost
        return Run(config, hall, store.folder, stopped=False)
    with Evaluator(workers or config.workers, config.memory, device or store.device or AUTO, say) as evaluator:
        return execute(config, store, evaluator, watch)


def execute(config: Config, store: RunStore | None, evaluator: Evaluator, watch: Watch) -> Run:
    """Run a search, or what is left of it; `watch` makes a context of the observers for the time that it runs."""
    engine = Engine(config)
    if store is not None:
        store.attach(engine)
        store.note_device(evaluator.pool.device, evaluator.pool.hardware)
    with watch(engine) as observers:
        engine.observers += observers
        hall = drive(engine, evaluator if store is None else RecallingScorer(evaluator, store))
    if store is not None:
        store.save_hall(hall)
    return Run(config, hall, None if store is None else store.folder, stopped=not hall.complete)
