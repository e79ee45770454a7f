"""`python -m bench`: all figures that the project promises, as tables with ratios."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from bench import compile, kept, lab, search, throughput
from bench.measure import Row, print_rows
from gp.timing import machine


class Suite(StrEnum):
    """The parts of the table."""

    THROUGHPUT = "throughput"
    COPY = "copy"
    COMPILE = "compile"
    MEMORY = "memory"
    SIZES = "sizes"
    LAB = "lab"
    SEARCH = "search"


_TITLES: Final = {
    Suite.THROUGHPUT: "Figure 1. Forward and backward pass, 4,194,304 float32, against torch (alternative/ours)",
    Suite.COPY: "Figure 2. Copy-bound kernels, share of the bandwidth of a parallel copy of as many bytes (copy/ours)",
    Suite.COMPILE: "Figure 3. Compiling 100 random programs of 10 to 30 operators",
    Suite.MEMORY: "Figure 4. Bytes kept for backward, in tensors of x's size",
    Suite.SIZES: "Other sizes, against torch eager (eager/ours)",
    Suite.LAB: "The lab, on one core if nothing else is said (alternative/ours; a step over the sum of its parts)",
    Suite.SEARCH: "The search: what the engine adds to a candidate, where the time of workers goes, two workers",
}


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    only: Annotated[list[Suite] | None, typer.Option(help="Measure this part alone; may be given more than once.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the rows to this file.")] = None,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds in which the contenders take turns.")] = 15,
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="With torch.compile (up to 30 s a function).")] = True,
) -> None:
    """Measure and print the figures, with targets and whether each is met. Ratios are medians over rounds, taken pair by pair."""
    suites: dict[Suite, Callable[[], Iterator[Row]]] = {
        Suite.THROUGHPUT: lambda: throughput.figure_1(rounds, compiled),
        Suite.COPY: lambda: throughput.figure_2(rounds),
        Suite.COMPILE: compile.figure_3,
        Suite.MEMORY: kept.figure_4,
        Suite.SIZES: lambda: throughput.other_sizes(rounds),
        Suite.LAB: lambda: lab.figures(rounds),
        Suite.SEARCH: search.figures,
    }
    about = machine()
    Console().print(", ".join(f"{key} {value}" for key, value in about.items()), highlight=False)
    rows: list[Row] = []
    for suite in only or list(Suite):
        found = list(suites[suite]())
        print_rows(_TITLES[suite], found)
        rows += found
    judged = [row for row in rows if row.met is not None]
    Console().print(f"{sum(row.met is True for row in judged)} of {len(judged)} targets met", highlight=False)
    if json_file is not None:
        report = {"machine": about, "rounds": rounds, "rows": [row.as_json() for row in rows]}
        json_file.write_text(json.dumps(report, indent=1), encoding="utf-8")


app(prog_name="python -m bench")
