"""What happens in a run as lines of JSON, for `tail -f`, jq and pandas (`pandas.read_json(path, lines=True)`).

Every line is an object with "event" and "time", the seconds since the run was begun or gone on with; numbers are finite, null stands
for what there is not. A run that is gone on with appends: a line "run" begins it, and what comes after its last whole generation is
there twice.

run                  generation: the next, from 0; settings; versions
generation           number, candidates: how many are to be trained
batch                what was measured: tasks, failures, seconds; purpose: as of `gp.evolution.cascade.Batch`
rejected             a candidate that is not trained: number, generation, island, origin, parents, text, reason
judged               a candidate that was trained: as of `rejected`, and cost, size, differences to gelu by stage, score, stopped
generation_finished  number, candidates, measurements, seconds; best: number, text, difference, score; funnel: entered and completed by
                     stage; medians: of the differences to gelu, by stage; rejections by reason; archive: its cells that are filled;
                     shares of the operators
finished             stopped: whether before its end; hall: as in hall_of_fame.json
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Result
from gp.evolution.engine import Engine
from gp.evolution.hall import unfinished
from gp.lab.pool import warn
from gp.tally import Summary, Tally
from gp.workers import Failure

_SCORE: Final = ("score", "families", "inward", "outward", "fit", "ood_loss", "diverged")  # the parts of a score that are written


class EventLog(Tally):
    """Writes a file; a context, in which a line is on disk as soon as something happens. Raises OSError, with the file's name, where it
    cannot be opened. One that cannot be written any more is given up, and the run goes on; at the end `say` is told so."""

    def __init__(self, path: Path, engine: Engine, say: Callable[[str], None] = warn) -> None:
        super().__init__(engine)
        self._say = say
        self._lost: OSError | None = None
        self._path = path
        self._start = self._batch_start = time.monotonic()
        self._failures = 0
        torn = _is_torn(path)
        self._file = path.open("ab", buffering=0)  # a buffer that cannot be written would raise once more when it is closed
        if torn:
            self._write_bytes(b"\n")

    def __enter__(self) -> EventLog:
        names = ("actgp", "numpy", "numba", "llvmlite")
        versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}
        self._write("run", generation=self.engine.generation, settings=self.engine.config.to_json(), versions=versions)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                engine = self.engine
                hall = engine.hall or unfinished(engine.best(engine.config.hall), engine.config)
                self._write("finished", stopped=engine.hall is None, hall=hall.to_json())
        finally:
            self._file.close()
            if self._lost is not None:
                self._say(f"{self._path}: the event log is not whole: {self._lost.strerror}")

    def rejected(self, candidate: Candidate) -> None:
        self._write("rejected", **_lineage(candidate))

    def generation_started(self, generation: int, candidates: Sequence[Candidate]) -> None:
        self._write("generation", number=generation, candidates=len(candidates))

    def batch_started(self, batch: Batch) -> None:
        self._batch_start = time.monotonic()
        self._failures = 0

    def measured(self, batch: Batch, index: int, result: Result) -> None:
        super().measured(batch, index, result)
        self._failures += isinstance(result, Failure)
        if index + 1 == len(batch.tasks):
            seconds = round(time.monotonic() - self._batch_start, 3)
            self._write("batch", purpose=batch.purpose, tasks=len(batch.tasks), failures=self._failures, seconds=seconds)

    def judged(self, candidate: Candidate) -> None:
        super().judged(candidate)
        c = candidate
        found = None if c.score is None else {part: _plain(getattr(c.score, part)) for part in _SCORE}
        self._write("judged", **_lineage(c), cost=c.cost, size=c.size, differences=c.differences, score=found, stopped=c.stopped)

    def summarised(self, summary: Summary) -> None:
        best = summary.best
        self._write(
            "generation_finished",
            number=summary.generation,
            candidates=summary.candidates,
            measurements=summary.measurements,
            seconds=round(summary.seconds, 3),
            best=None if best is None or best.score is None else {
                "number": best.number, "text": best.text, "difference": best.differences[-1], "score": best.score.score,
            },
            funnel={stage: asdict(passage) for stage, passage in summary.funnel.items()},
            medians=summary.medians,
            rejections=summary.rejections,
            archive=sum(len(island.archive) for island in self.engine.islands),
            shares=self.engine.credit.shares(),
        )  # fmt: skip

    def _write(self, event: str, **values: Any) -> None:
        line = {"event": event, "time": round(time.monotonic() - self._start, 3), **values}
        self._write_bytes(json.dumps(line, allow_nan=False).encode() + b"\n")

    def _write_bytes(self, data: bytes) -> None:
        try:
            while data and self._lost is None:  # the last bytes that a disk has room for are written, and then it says that it is full
                data = data[self._file.write(data) :]
        except OSError as error:
            self._lost = error


def _is_torn(path: Path) -> bool:
    """Whether there is a file that ends within a line, as a process leaves it that was killed."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lineage(candidate: Candidate) -> dict[str, Any]:
    c = candidate
    return {
        "number": c.number, "generation": c.generation, "island": c.island, "origin": c.origin, "parents": c.parents, "text": c.text,
        "reason": c.reason,
    }  # fmt: skip
