"""The memory of a process that uses one structure after another: whether it stays what it is from the 2,000th on.

`activations`: a module is made, called forward and backward, and dropped. `lab`: a candidate is scored by the compiled trainer. Each in
a process of its own, with an empty cache on disk, so that every structure is compiled.
"""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import torch
import typer

import gp
from bench.programs import random_program
from gp.lab.data.registry import instances
from gp.lab.measure import measure_seed
from gp.lab.protocol import Measurement
from gp.lab.training import Training
from kernels.native import counters

SETTLED: Final = 2000  # structures after which nothing may grow
_SMALLEST: Final = 2
_LARGEST: Final = 6
# One in so many has parameters and statistics, and so several kernels each way.
_STRUCTURED: Final = 8
# What memory may change by without growing: allocations that do not fall into the same places.
_SHARE: Final = 0.03
_MAPS: Final = 100

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


class Way(StrEnum):
    """What is done with a structure."""

    ACTIVATIONS = "activations"
    LAB = "lab"


@dataclass(frozen=True, slots=True)
class Usage:
    """Of this process: resident bytes (without what files hold, such as libraries), memory maps and open files."""

    resident: int
    maps: int
    files: int

    @classmethod
    def now(cls) -> Usage:
        """What Linux says, once what nothing refers to is gone."""
        gc.collect()
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
        maps = len(Path("/proc/self/maps").read_bytes().splitlines())
        return cls(1024 * int(status["RssAnon"].split()[0]), maps, len(os.listdir("/proc/self/fd")))

    def grew(self, before: Usage) -> bool:
        """Whether it is more than before, by more than chance."""
        return self.resident > (1 + _SHARE) * before.resident or self.maps > before.maps + _MAPS or self.files > before.files


def texts(seed: int = 0) -> Iterator[str]:
    """Random programs without end."""
    rng = random.Random(seed)
    k = 0
    while True:
        text = random_program(rng.randint(_SMALLEST, _LARGEST), rng, rng)
        yield text if k % _STRUCTURED else f"param slope = 0.25\nz = {text}\nslope*x*sigmoid(z) - mean(x, over=features)"
        k += 1


def activate(text: str) -> None:
    """Make the module, call it forward and backward, and drop it."""
    x = torch.linspace(-2, 2, 64).reshape(4, 16).requires_grad_()
    gp.activation(text)(x).sum().backward()


def score(text: str) -> None:
    """Score a candidate with the compiled trainer: one network, one step."""
    measure_seed(text, Measurement(instances("search")[:1], (0,), Training(steps=1, learning_rate=1e-3)), 0)


def use(run: Callable[[str], object], marks: list[int], report: Callable[[int, Usage], object]) -> None:
    """Use random programs until as many structures are compiled as the last of the marks says; report what is used at each.

    One that was seen before is not counted, unless it was forgotten in memory and on disk.
    """
    source, used = texts(), 0
    for mark in marks:
        while used < mark:
            before = counters.compiled
            run(next(source))
            used += counters.compiled > before
        report(mark, Usage.now())


def marks_up_to(count: int) -> list[int]:
    """1,000 structures, twice as many, ... and the last."""
    doubled = [1000 * 2**k for k in range(count.bit_length())]
    return [mark for mark in doubled if mark < count] + [count]


def measure(way: Way, count: int) -> bool:
    """Print what a process uses, and say whether it stops growing; True if it does."""
    found: dict[int, Usage] = {}

    def report(mark: int, usage: Usage) -> None:
        found[mark] = usage
        typer.echo(f"{way:12} {mark:>9,} structures  {usage.resident / 1e6:7.1f} MB  {usage.maps:6,} maps  {usage.files:3} files")

    torch.set_num_threads(1)
    use({Way.ACTIVATIONS: activate, Way.LAB: score}[way], marks_up_to(count), report)
    growing = [mark for mark, usage in found.items() if mark > SETTLED and usage.grew(found[SETTLED])]
    typer.echo(f"{way}: " + (f"grows, seen at {growing[0]:,} structures" if growing else f"flat from {SETTLED:,} structures on"))
    return not growing


@app.command()
def main(
    structures: Annotated[int, typer.Option(min=2 * SETTLED, help="How many; a thousand take half a minute each way.")] = 20_000,
    only: Annotated[list[Way] | None, typer.Option(help="Use them in this way alone.")] = None,
) -> None:
    """Use so many structures one after another, and print what the process takes. Status 1 if that grows from the 2,000th on."""
    flat = []
    for way in only or list(Way):
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {"GP_CACHE_DIR": cache}
            code = f"from bench.memory import Way, measure; raise SystemExit(not measure(Way({str(way)!r}), {structures}))"
            flat.append(subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0)
    raise typer.Exit(0 if all(flat) else 1)


if __name__ == "__main__":
    app(prog_name="python -m bench.memory")
