"""Timing functions against each other, on a machine that does other things too.

Contenders take turns within each round, so that a disturbance meets all of them, and ratios are taken round by round. Reported
are quantiles over rounds, never a mean: one interruption by the system would spoil it.
"""

from __future__ import annotations

import functools
import gc
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch

from kernels.module import activation

_SAMPLE_SECONDS: Final = 0.5e-3  # a shorter call is repeated within a sample: perf_counter and the loop cost about 0.1 us
_MAX_REPEATS: Final = 1000
_WARM_UPS: Final = 3


@dataclass(frozen=True, slots=True)
class Spread:
    """The 20th, 50th and 80th percentile of some measurements."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Percentiles by linear interpolation. Raises ValueError when there is nothing to summarise."""
        return cls(percentile(values, 20), percentile(values, 50), percentile(values, 80))


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile by linear interpolation between the nearest two values. Raises ValueError for an empty sequence."""
    if not values:
        raise ValueError("a percentile needs at least one value")
    ordered = sorted(values)
    place = percent / 100 * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Spread:
    """The spread of the ratios, pair by pair: both sequences are in the order of the rounds."""
    return Spread.of([a / b for a, b in zip(numerator, denominator, strict=True)])


def geometric_mean(values: Sequence[float]) -> float:
    """exp of the mean logarithm, for ratios."""
    return math.exp(statistics.fmean(math.log(v) for v in values))


@dataclass(frozen=True, slots=True)
class Work:
    """Something to time: `run(prepare())`, of which `run` alone is timed."""

    run: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None


def interleaved(contenders: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Seconds of one run of each contender, round by round; the garbage collector is off meanwhile.

    Each round starts with another contender, so that none always follows the same one.
    """
    repeats = {name: _warm_up(work) for name, work in contenders.items()}
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        for k in range(rounds):
            for name in (*names[k % len(names) :], *names[: k % len(names)]):
                seconds[name].append(_sample(contenders[name], repeats[name]))
    finally:
        if enabled:
            gc.enable()
    return seconds


def _warm_up(work: Work) -> int:
    """How often the work is to be repeated within one sample, after a few runs that compile and allocate what is needed."""
    shortest = min(_sample(work, 1) for _ in range(_WARM_UPS))
    return max(1, min(_MAX_REPEATS, round(_SAMPLE_SECONDS / max(shortest, 1e-7))))


def _sample(work: Work, repeats: int) -> float:
    synchronise: Callable[[], object] = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    seconds = 0.0
    for _ in range(repeats):
        prepared = work.prepare()
        synchronise()
        start = time.perf_counter()
        work.run(prepared)
        synchronise()
        seconds += time.perf_counter() - start
    return seconds / repeats


Activate = Callable[[torch.Tensor], torch.Tensor]


def passes(function: Activate, x: torch.Tensor, cotangent: torch.Tensor, parameters: Sequence[torch.Tensor] = ()) -> dict[str, Work]:
    """The work of one activation in training: "forward" (which keeps what backward needs), "backward" and "both".

    `x` requires a gradient; gradients are taken with respect to it and the parameters, and thrown away.
    """

    def backward(y: torch.Tensor) -> object:
        return torch.autograd.grad(y, [x, *parameters], cotangent, allow_unused=True)

    return {
        "forward": Work(lambda _: function(x)),
        "backward": Work(backward, lambda: function(x)),
        "both": Work(lambda _: backward(function(x))),
    }


def first_gradient(text: str, x: torch.Tensor) -> tuple[float, float]:
    """Seconds on the clock and of processor time, from the text of a program to its gradient at x, which requires one."""
    clock, processor = time.perf_counter(), time.process_time()
    function = activation(text).to(x.device)
    y = function(x)  # parameters per channel have no size before
    torch.autograd.grad(y.sum(), [x, *function.parameters()])
    return time.perf_counter() - clock, time.process_time() - processor


def bytes_kept(function: Activate, x: torch.Tensor) -> int:
    """Bytes of memory that a forward pass keeps for the backward pass, each block once; an input that is kept counts too."""
    blocks: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        blocks[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = function(x)  # alive until the count is done, lest a freed block's address be taken by another
    total = sum(blocks.values())
    del y
    return total


def machine() -> dict[str, str]:
    """What the figures depend on: processor, threads, how busy the machine is, versions."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "llvmlite", "triton", "numba")},
    }


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
