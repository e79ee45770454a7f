"""Figure 3: from text to the first gradient, over random programs: cold, from the disk cache, and with other constants.

Each way is measured in a process of its own (`bench.compile_worker`), after programs that are not counted: what is done once a process
(imports, tables, starting LLVM) is a row of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from bench.measure import Row, Target, exactly
from bench.programs import random_programs
from codegen.function import activation
from gp.timing import Spread, percentile
from grammar import parse
from kernels.programs import make_plan

COUNT: Final = 100
SMALLEST: Final = 10
LARGEST: Final = 30
SEED: Final = 1

# way -> bounds on the median and the 95th percentile, in milliseconds
_WAYS: Final = (
    ("cold", "text to first gradient, empty cache", 25.0, 60.0),
    ("constants", "the same with other constants", 5.0, 5.0),
    ("disk", "text to first gradient, from the disk cache", 5.0, 5.0),
)
_LINEAR: Final = Target(1.15, at_least=False)


def programs(constants: int = 0) -> list[str]:
    """The programs of the figure."""
    return random_programs(COUNT, SMALLEST, LARGEST, seed=SEED, constants=constants)


def measure() -> dict[str, dict[str, list[float]]]:
    """Seconds of every program by way, on the clock ("wall") and of processor time ("cpu"); the first one is a warm-up's."""
    with tempfile.TemporaryDirectory() as cache:
        return {**_run("cold", cache), **_run("disk", cache)}


def _run(way: str, cache: str) -> dict[str, dict[str, list[float]]]:
    command = [sys.executable, "-m", "bench.compile_worker", way]
    done = subprocess.run(command, env=os.environ | {"GP_CACHE_DIR": cache}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    result: dict[str, dict[str, list[float]]] = json.loads(done.stdout)
    return result


def figure_3() -> Iterator[Row]:
    """Medians and 95th percentiles; the processor time stands beside the time on the clock, for a machine that is busy."""
    measured = measure()
    for way, what, median, worst in _WAYS:
        wall, cpu = ([1e3 * s for s in measured[way][clock]] for clock in ("wall", "cpu"))
        for label, percent, bound in (("median", 50, median), ("95th percentile", 95, worst)):
            value, busy = percentile(wall, percent), percentile(cpu, percent)
            spread = Spread.of(wall) if percent == 50 else exactly(value)
            yield Row("3", f"{what}, {label}", f"{value:.3g} ms", f"processor {busy:.3g} ms", spread, "ms", Target(bound, False))
    for way in ("cold", "disk"):
        first = measured[way]["first"][0]
        yield Row("3", f"the first program of a process ({way})", f"{first * 1e3:.3g} ms", "", exactly(first * 1e3), "ms")
    for name, run in (("parsing", parse), ("graph, derivative and plan", _passes)):
        exponent = _exponent(run)
        yield Row("3", f"time of {name} is proportional to size^p, p =", f"{exponent:.2f}", "", exactly(exponent), "", _LINEAR)


def _passes(text: str) -> None:
    function = activation(parse(text))
    make_plan(function, 0, "f32")
    make_plan(function, 1, "f32")


def _exponent(run: Callable[[str], object], sizes: Sequence[int] = (20, 40, 80, 160, 320), count: int = 12) -> float:
    """The slope of log(processor time) over log(operators); the time of a size is the total over some programs of that size.

    A time is the least of three, for the processor time of a busy machine is too long if anything.
    """
    seconds = []
    for size in sizes:
        texts = random_programs(count, size, size, seed=size)
        seconds.append(min(_processor_time(run, texts) for _ in range(3)))
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def _processor_time(run: Callable[[str], object], texts: Sequence[str]) -> float:
    start = time.thread_time()
    for text in texts:
        run(text)
    return time.thread_time() - start
