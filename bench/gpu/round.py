"""The round itself: sections with a share of the time each, most important first, and a file that is whole after every row."""

from __future__ import annotations

import gc
import json
import math
import os
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from bench.gpu.measure import Case, Clock, Row, row
from kernels.gpus import Gpu

FILE: Final = "round.json"
NOT_MEASURED: Final = "not measured"
OUT_OF_TIME: Final = f"{NOT_MEASURED}: out of time"
LOST: Final = f"{NOT_MEASURED}: the GPU was lost"
_SHORT_OF_MEMORY: Final = 0.5  # of the card's memory that is free; below, what is in circles is collected


@dataclass
class Round:
    """Rows as they come, written to `out` after each.

    `seconds`: how long it may take, from when it is made. `lost`: the GPU answers no more. `faults`: what went wrong in a way that is not
    foreseen; to be raised in the end, lest it costs the rest of the minutes on a card.
    """

    out: Path
    about: Mapping[str, Any]
    name: str
    gpu: Gpu | None
    clock: Clock
    seconds: float
    say: Callable[[str], None] = print
    rows: list[Row] = field(default_factory=list)
    begin: float = field(default_factory=time.monotonic)
    faults: list[Exception] = field(default_factory=list)
    lost: bool = False
    _left: list[Case] = field(default_factory=list)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.begin

    def add(self, made: Row) -> None:
        """Keep a row, say it, and write all of them."""
        self.rows.append(made)
        self.say(f"[{self.elapsed:5.0f} s] {line(made)}")
        self.write()

    def section(self, cases: Iterable[Case], until: float) -> None:
        """Measure cases while there is time until that second of the round; the others wait for the end."""
        waiting = iter(cases)
        for case in waiting:
            if self.lost or self.elapsed >= until:
                self._left += [case, *waiting]
                return
            self.add(self._made(case))
            self._look_after_the_gpu()

    def _made(self, case: Case) -> Row:
        try:
            return row(case, self.name, self.gpu, self.clock)
        except Exception as fault:
            return self.failed(case.section, case.what, fault)

    def failed(self, section: str, what: str, fault: Exception) -> Row:
        """The row of something that failed in a way that is not foreseen."""
        fault.add_note(f"in {section}: {what}\n{traceback.format_exc()}")
        self.faults.append(fault.with_traceback(None))  # whose frames hold tensors
        return Row(section, what, "", self.name, error=f"fault: {type(fault).__name__}: {fault}")

    def finish(self) -> None:
        """What had to wait, while there is time; the rest is listed as not measured."""
        waiting, self._left = self._left, []
        self.section(waiting, self.seconds)
        reason = LOST if self.lost else OUT_OF_TIME
        for case in self._left:
            self.rows.append(Row(case.section, case.what, case.unit, self.name, case.kind, error=reason))
        self.write()

    def write(self) -> None:
        """All rows in one file, which is never half written."""
        found = {**self.about, "seconds": round(self.elapsed, 1), "rows": [r.as_json() for r in self.rows]}
        draft = self.out / f"{FILE}.draft"
        draft.write_text(json.dumps(_plain(found), indent=1, allow_nan=False), encoding="utf-8")
        os.replace(draft, self.out / FILE)

    def _look_after_the_gpu(self) -> None:
        """Give memory back where it is short; and notice where an error, such as an illegal access, has ended all work on the GPU."""
        if not self.clock.on_gpu:
            return
        try:
            torch.cuda.synchronize()
            free, whole = torch.cuda.mem_get_info()
            if free < _SHORT_OF_MEMORY * whole:
                gc.collect()
                torch.cuda.empty_cache()
        except RuntimeError as error:
            self.say(f"[{self.elapsed:5.0f} s] the GPU is lost: {error}")
            self.lost = True


def _plain(value: Any) -> Any:
    """For JSON, which has no infinities and no NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def short(seconds: float | None) -> str:
    """Seconds in s, ms or us."""
    if seconds is None:
        return ""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def notes(made: Row) -> str:
    """What there is to say of a row besides its times."""
    if made.error:
        return made.error
    found = [] if made.clone_share is None else [f"{made.clone_share:.0%} of a copy"]
    found += [f"{name} {times:.2f}x" for name, (_, times, _) in made.times_ours.items() if name != "copy"]
    found += [f"{by['measured']:,.4g} {unit}" for unit, by in made.rates.items() if "measured" in by]
    found += [f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in made.figures.items()]
    return ", ".join(found)


def line(made: Row) -> str:
    """A row as a line."""
    times = [] if made.measured_seconds is None else [f"{short(made.measured_seconds)} ({made.unit})"]
    times += [] if made.predicted_seconds is None else [f"predicted {short(made.predicted_seconds)}"]
    return f"{made.section}: {made.what}: {', '.join([*times, notes(made)])}"


def shares(seconds: float, begin: float, parts: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Until which second of the round each section may take, where the time from `begin` is parted so."""
    found, at, whole = {}, begin, sum(part for _, part in parts)
    for name, part in parts:
        at += max(0.0, seconds - begin) * part / whole
        found[name] = at
    return found
