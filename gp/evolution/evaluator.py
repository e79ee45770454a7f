"""Measuring in worker processes: results come in the order of a batch's tasks, whoever made them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Final

from gp.evolution.cascade import Batch, Result
from gp.lab.devices import CPU
from gp.lab.pool import open_pool, warn

_MEGABYTE: Final = 1_000_000


class Evaluator:
    """A context in which `measure` works: it holds `workers` processes, one candidate and one seed at a time in each, which may take
    `memory` MB each (0: no limit); or, where the device is a GPU, processes for those (`gp.lab.pool.open_pool`). Raises DeviceError."""

    def __init__(self, workers: int = 1, memory: int = 0, device: str = CPU, say: Callable[[str], None] = warn) -> None:
        self.pool = open_pool(device, workers, memory=_MEGABYTE * memory, say=say)

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.pool.__exit__(kind, error, trace)

    def measure(self, batch: Batch) -> Generator[Result]:
        """The result of each task in turn. A caller may stop early: what has not begun is then dropped."""
        found: dict[int, Result] = {}
        ready = 0
        # Closed here, where Ctrl-C can end it: one that comes while a generator is thrown away would be lost, and its traceback shown.
        with contextlib.closing(self.pool.measure(batch.tasks, batch.measurement)) as arriving:
            for number, result in arriving:
                found[number] = result
                while ready in found:
                    yield found.pop(ready)
                    ready += 1
