"""What a case of the round is, and how time is taken.

A case says what its time should be by the model, and what to run: ours first, then the alternatives that a user has. So predictions need
no GPU, and a case that fails says why and harms no other.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import torch
from triton.errors import TritonError

from gp.timing import Spread, ratio
from kernels.gpus import Gpu

# What compilers, drivers and a lack of memory raise. A mistake in this package is none of these, and ends the command.
FAILURES: Final = (RuntimeError, ValueError, OSError, TritonError, subprocess.SubprocessError)
_SAMPLE_SECONDS: Final = 2e-3  # a shorter call is repeated within a sample: an event is about a microsecond wide
_MAX_REPEATS: Final = 30  # of up to 25 kernels: the queue of a stream holds about 1,000 launches, and then a launch waits
_CYCLES: Final = 2e9  # a second, at least, of a multiprocessor's clock
_MARGIN: Final = 2e-4  # seconds

How = Literal["device", "whole"]


@dataclass(frozen=True, slots=True)
class Timed:
    """Something to time; its time is divided by `parts`, such as steps."""

    run: Callable[[], object]
    parts: float = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds of one call: until its work is done, and until the call has returned."""

    done: float
    returned: float


@dataclass(frozen=True, slots=True)
class Clock:
    """Times of contenders that take turns, over rounds.

    "device": by events of the GPU, while it has work waiting, so that nothing is measured of what the host does. To begin with it waits
    long enough for the host to launch all of a sample. "whole": by the host's clock, until the device is done. On the CPU both are that.
    """

    rounds: int
    on_gpu: bool

    def __call__(self, contenders: Mapping[str, Callable[[], object]], how: How, rounds: int = 0) -> dict[str, list[Sample]]:
        """Samples by round; `rounds`: if not as many as the clock's. 1 is a single call without a warm-up."""
        count = rounds or self.rounds
        repeats = dict.fromkeys(contenders, 1)
        ahead = dict.fromkeys(contenders, _MARGIN)
        if count > 1:
            for name, run in contenders.items():
                self._sample(run, 1, how, 0.0)  # compiles, allocates
                first = self._sample(run, 1, how, 0.0)
                repeats[name] = max(1, min(_MAX_REPEATS, round(_SAMPLE_SECONDS / max(first.done, 1e-6))))
                ahead[name] += 1.5 * repeats[name] * first.returned
        found: dict[str, list[Sample]] = {name: [] for name in contenders}
        for _ in range(count):
            for name, run in contenders.items():
                found[name].append(self._sample(run, repeats[name], how, ahead[name]))
        return found

    def _sample(self, run: Callable[[], object], repeats: int, how: How, ahead: float) -> Sample:
        if self.on_gpu and how == "device":
            return _by_events(run, repeats, ahead)
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        returned = time.perf_counter()
        if self.on_gpu:
            torch.cuda.synchronize()
        return Sample((time.perf_counter() - start) / repeats, (returned - start) / repeats)


def _by_events(run: Callable[[], object], repeats: int, ahead: float) -> Sample:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    torch.cuda._sleep(int(ahead * _CYCLES))  # type: ignore[no-untyped-call]
    start.record()
    begin = time.perf_counter()
    for _ in range(repeats):
        run()
    returned = time.perf_counter()
    end.record()
    torch.cuda.synchronize()
    return Sample(float(start.elapsed_time(end)) / 1e3 / repeats, (returned - begin) / repeats)


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what is predicted and what is run. Nothing is compiled or allocated before these functions are called.

    `kind`: what the model's errors are put together by. `contenders`: ours first; none where only `figures` are found out. `tensors`: how
    many tensors of the size of a copy's input ours reads and writes; then a copy is to be among the contenders. `rates`: what is done in
    one unit, by name with its unit of time. `rounds`: if not as many as the clock has.
    """

    section: str
    what: str
    unit: str = "s/call"
    kind: str = ""
    predict: Callable[[Gpu], float] | None = None
    contenders: Callable[[], Mapping[str, Timed]] = dict
    figures: Callable[[], Mapping[str, float | str]] = dict
    rates: Mapping[str, float] = field(default_factory=dict)
    tensors: float = 0.0
    how: How = "device"
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A case on a card. Seconds are medians, None where there is no prediction or nothing was measured.

    `host`: seconds until a call of each contender has returned. `times_ours`: the 20th, 50th and 80th percentile of how many times as long
    as ours each alternative took, round by round. `clone_share`: of a copy's bandwidth. `error`: what went wrong.
    """

    section: str
    what: str
    unit: str
    gpu: str
    kind: str = ""
    predicted_seconds: float | None = None
    measured_seconds: float | None = None
    alternatives: Mapping[str, float] = field(default_factory=dict)
    times_ours: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    host: Mapping[str, float] = field(default_factory=dict)
    clone_share: float | None = None
    figures: Mapping[str, float | str] = field(default_factory=dict)
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error: str = ""

    @property
    def ratio(self) -> float | None:
        """Predicted over measured."""
        return None if self.predicted_seconds is None or not self.measured_seconds else self.predicted_seconds / self.measured_seconds

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"ratio": self.ratio}


COPY: Final = "copy"  # the contender that says what the bandwidth is


def row(case: Case, name: str, gpu: Gpu | None, clock: Clock | None) -> Row:
    """Predict where there is a GPU's description, measure where there is a clock."""
    predicted: float | None = None
    found: dict[str, list[float]] = {}
    host: dict[str, float] = {}
    figures: Mapping[str, float | str] = {}
    error = ""
    try:
        if gpu is not None and case.predict is not None:
            predicted = case.predict(gpu)
        if clock is not None:
            figures = case.figures()
            contenders = case.contenders()
            if contenders:
                samples = clock({key: timed.run for key, timed in contenders.items()}, case.how, case.rounds)
                found = {key: [s.done / timed.parts for s in samples[key]] for key, timed in contenders.items()}
                host = {key: statistics.median(s.returned / timed.parts for s in samples[key]) for key, timed in contenders.items()}
    except FAILURES as failure:
        error = f"{type(failure).__name__}: {failure}"
    medians = {key: statistics.median(values) for key, values in found.items()}
    measured = next(iter(medians.values()), None)
    times = {"predicted": predicted, "measured": measured}
    return Row(
        case.section, case.what, case.unit, name, case.kind, predicted, measured,
        alternatives=dict(list(medians.items())[1:]),
        times_ours=_times_ours(found),
        host=host,
        clone_share=case.tensors / 2 * medians[COPY] / measured if measured and case.tensors and COPY in medians else None,
        figures=figures,
        rates={unit: {key: count / value for key, value in times.items() if value} for unit, count in case.rates.items()},
        error=error,
    )  # fmt: skip


def _times_ours(found: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float, float]]:
    """How many times as long each alternative took, with its spread."""
    ours, *others = found.values() if found else ((),)
    spreads: list[Spread] = [ratio(other, ours) for other in others if ours and min(ours) > 0]
    return {name: (s.low, s.median, s.high) for name, s in zip(list(found)[1:], spreads, strict=bool(spreads))}
