"""The memory of a search with a million candidates on record: prints, as JSON, peak resident bytes before and after it goes on from there.

A small search with a scorer that takes no time is run for two generations; then its record is filled up with rows like those of real
candidates, whose keys are random, and a new engine goes on from it for one more generation.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from bench.search import Instant
from gp.evolution.config import Config
from gp.evolution.engine import Engine, Observer, drive
from gp.evolution.recall import RecallingScorer
from gp.run_file import FILE, put, read
from gp.run_reading import read_about
from gp.run_store import RunStore

_KEYS: Final = 4  # of a candidate that is trained: spelling, structure, two fingerprints
_KEYS_COLUMN: Final = 7


class Stop(Observer):
    """Stops the engine after a generation."""

    def __init__(self, engine: Engine, generation: int) -> None:
        self._engine, self._generation = engine, generation

    def generation_finished(self, generation: int) -> None:
        if generation == self._generation:
            self._engine.stop()


def run(store: RunStore, config: Config, last: int) -> Engine:
    """Go on up to the end of a generation."""
    engine = Engine(config)
    store.attach(engine)
    engine.observers.append(Stop(engine, last))
    drive(engine, RecallingScorer(Instant(), store))
    return engine


def fill(store: RunStore, engine: Engine, count: int) -> None:
    """Copy a candidate's row again and again, with other numbers and keys."""
    rng = np.random.default_rng(0)

    template = next(row for row in read(store.folder / FILE, "candidates") if row[-1] is None)
    state = json.loads(read_about(store.folder)["state"])
    state["made"] += count
    store._connection.execute("BEGIN")
    for k in range(count):
        keys = rng.integers(-(2**63), 2**63, _KEYS).tobytes()
        put(store._connection, "candidates", [(engine.made + k, *template[1:_KEYS_COLUMN], keys, *template[_KEYS_COLUMN + 1 :])])
    put(store._connection, "about", [("state", json.dumps(state))])
    store._connection.execute("COMMIT")


def peak() -> int:
    """Peak resident bytes of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(count: int) -> None:
    config = Config(population=200, generations=9, tuned=0)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        store = stack.enter_context(RunStore.create(Path(folder) / "run", config))
        engine = run(store, config, 1)
        fill(store, engine, count)
        before = peak()
        store.close()
        again = run(stack.enter_context(RunStore.resume(Path(folder) / "run")), config, 2)
        print(json.dumps({"before": before, "after": peak(), "made": again.made, "known": len(again.admission.known)}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
