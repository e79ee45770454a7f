"""`python -m bench.number_fuzz`: random programs at the edges of the range of numbers, value and gradient, in both precisions.

Each is held against the plain program and against mpmath by the rule of `bench.number_judge`: at ordinary points, at edges of the range,
zeros, infinities and NaN, and at the constants of the program, where its kinks are.

A fault is printed with the shortest program found that has it, ready to be pasted; `gp` and `torch` are to be imported before.
"""

from __future__ import annotations

import math
import random
import re
import time
import warnings
from collections.abc import Iterator
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from bench.number_judge import Fault, Program
from bench.programs import edge_program, random_program
from grammar import DSLError

_EDGES: Final = (0.0, 1e-40, 1e-30, 1e-20, 1e-10, 1e-4, 0.1, 0.5, 0.9, 1.0, 1.7, 3.0, 7.0, 15.0, 22.0, 45.0, 60.0, 85.0, 89.0, 95.0, 104.0,
                 1e3, 1e5, 1e10, 2e19, 1e30, 3e38, math.inf)  # fmt: skip
_WIDE_EDGES: Final = (1e-310, 1e-160, 350.0, 700.0, 710.0, 746.0, 1.4e154, 1e300, 1.7e308)
_ORDINARY: Final = 12  # points near 0, and as many of any size
_DTYPES: Final = (np.float32, np.float64)


def points(text: str, dtype: Any, rng: random.Random) -> NDArray[Any]:
    """Where a program is tried."""
    positive = [*_EDGES, *(_WIDE_EDGES if dtype is np.float64 else ())]
    constants = {float(c) for c in re.findall(r"(?<![\w.])\d+\.?\d*(?:e[-+]?\d+)?", text)}
    with np.errstate(over="ignore"):
        kinks = np.array(sorted(c for c in constants if c < 1e30)[:8], dtype)
    kinks = np.concatenate([kinks, np.nextafter(kinks, dtype(0)), np.nextafter(kinks, dtype(np.inf))])
    near = [rng.gauss(0, 2) for _ in range(_ORDINARY)]
    far = [rng.choice((-1, 1)) * 10 ** rng.uniform(-12, 12) for _ in range(_ORDINARY)]
    sided = np.concatenate([np.array(positive, dtype), kinks])
    return np.concatenate([sided, -sided, np.array([*near, *far, math.nan], dtype)])


def faults(text: str, seed: int = 0, backend: str = "llvm") -> Iterator[Fault]:
    """Where the kernels of a program break the rule, in either precision. Raises DSLError."""
    program = Program(text, backend)
    for dtype in _DTYPES:
        yield from program.faults(points(text, dtype, random.Random(seed)), seed)


def first_fault(text: str, seed: int, backend: str) -> Fault | None:
    """The first one of a program; None also for a text that is no program."""
    try:
        return next(faults(text, seed, backend), None)
    except DSLError:
        return None


def shrunk(fault: Fault, seed: int, backend: str, seconds: float = 20.0) -> Fault:
    """The fault of the shortest program found that still has one: parts of it alone, or with a part replaced by x or a number."""
    end = time.monotonic() + seconds
    smaller: Fault | None = fault
    while smaller is not None:
        fault, smaller = smaller, None
        for text in sorted(_shorter(fault.text), key=len):
            if time.monotonic() > end:
                return fault
            smaller = first_fault(text, seed, backend)
            if smaller is not None:
                break
    return fault


def _shorter(text: str) -> set[str]:
    found = set()
    for start, stop in _parts(text):
        part = text[start:stop]
        found |= {part, text[:start] + "x" + text[stop:], text[:start] + "1.5" + text[stop:]}
        inside = part[part.index("(") + 1 : -1]
        found.add(text[:start] + inside + text[stop:])
    found |= {re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m.group()):.1f}", text, count=1)}
    return {t for t in found if len(t) < len(text) and "x" in t}


def _parts(text: str) -> list[tuple[int, int]]:
    """Where the parts of a program in brackets are, with the name of the function before them."""
    found, opened = [], []
    for k, c in enumerate(text):
        if c == "(":
            start = k
            while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
                start -= 1
            opened.append(start)
        elif c == ")" and opened:
            found.append((opened.pop(), k + 1))
    return found


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    programs: Annotated[int, typer.Option(min=1, help="How many.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of the programs.")] = 0,
    smallest: Annotated[int, typer.Option(min=1, help="Operators of a program, at least.")] = 3,
    largest: Annotated[int, typer.Option(min=1, help="Operators of a program, at most.")] = 40,
    backend: Annotated[str, typer.Option(help="llvm, or interpret.")] = "llvm",
    most: Annotated[int, typer.Option(min=1, help="Programs with faults to show.")] = 20,
) -> None:
    """Compare, and print what breaks the rule; status 1 if anything does."""
    warnings.simplefilter("ignore")
    console, rng, bad = Console(soft_wrap=True), random.Random(seed), 0
    for k in track(range(programs), console=Console(stderr=True), description="programs", transient=True):
        make = edge_program if k % 2 else random_program
        text = make(rng.randint(smallest, largest), rng, rng)
        fault = first_fault(text, k, backend)
        if fault is not None:
            bad += 1
            if bad <= most:
                console.print(str(shrunk(fault, k, backend)), highlight=False, markup=False)
    console.print(f"{programs:,} programs, {bad:,} with faults", highlight=False)
    raise typer.Exit(1 if bad else 0)


if __name__ == "__main__":
    app(prog_name="python -m bench.number_fuzz")
