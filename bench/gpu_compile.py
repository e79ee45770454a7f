"""`python -m bench.gpu_compile`: what compiling for a GPU costs an expression, in a group and alone. No GPU is needed.

Times are those of the processor, this process and ptxas together, so that what else the machine does matters less; "two processes" is
time by the clock. The kernel of a function of x alone gives value and derivative together, and a population needs no other
(`kernels.population`); for the other functions there is one each way.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from bench.measure import Row, Target, exactly, print_rows
from bench.programs import random_programs
from bench.search import Instant
from codegen.function import Activation
from codegen.group import GroupStage, group
from gp.evolution.config import Config
from gp.evolution.engine import Engine
from gp.timing import Spread, machine
from kernels.ahead import Compilers, group_job
from kernels.group_compiler import compile_stage, group_tile
from kernels.programs import SLOPE, make_plan, program
from kernels.triton_compiler import TARGETS, compile_offline

_BOUND: Final = Target(20.0, at_least=False)
_SIZE: Final = 16
_PROCESSES: Final = 2
_WIDTH: Final = 32  # channels, those of the lab's networks
_NAMES: Final = {0: "forward", 1: "backward", SLOPE: "value and derivative"}


def search_texts(seed: int) -> list[str]:
    """What a search has trained after three generations, in the order in which it was made: one program for each structure."""
    engine = Engine(Config(seed=seed, population=96, generations=3, tuned=0, finalists=1, hall=1))
    scorer = Instant()
    found: dict[str, str] = {}
    while (batch := engine.ask()) is not None:
        for text, _ in batch.tasks:
            found.setdefault(program(text).key, text)
        engine.tell(list(scorer.measure(batch)))
    return list(found.values())


def figures(target: str, rounds: int) -> Iterator[Row]:
    """Rows for groups of sixteen of a search's and of larger random expressions, each way, and for single kernels."""
    _seconds([program("x")], 0, target)  # loads the compiler
    sources = {
        "a search's expressions": lambda r: _sample(search_texts(r), _SIZE),
        "random expressions of 10 to 30 operators": lambda r: random_programs(_SIZE, 10, 30, seed=r),
    }
    for what, draw in sources.items():
        groups = [[program(text) for text in draw(r)] for r in range(rounds)]
        for order, name in _NAMES.items():
            each = [1e3 * _seconds(functions, order, target) / len(functions) for functions in groups]
            bound = _BOUND if what.startswith("a search") else None
            yield Row("compile", f"{what}, {name}, groups of {_SIZE}", "", "", Spread.of(each), "ms", bound)
        alone = [1e3 * _alone(functions[r % _SIZE], target) for r, functions in enumerate(groups)]
        yield Row("compile", f"{what}, forward and backward, one alone, each", "", "", Spread.of(alone), "ms")
        clock = 1e3 * _by_the_clock(groups, target, _PROCESSES) / sum(map(len, groups))
        yield Row("compile", f"{what}, value and derivative, {_PROCESSES} processes, by the clock", "", "", exactly(clock), "ms", bound)


def _sample(texts: Sequence[str], count: int) -> list[str]:
    """So many of them, evenly chosen."""
    return [texts[k * len(texts) // count] for k in range(count)]


def _seconds(functions: Sequence[Activation], order: int, target: str) -> float:
    """The processor's time for the kernels of a group in one direction, from graphs to machine code."""
    begin = os.times()
    for stage in _stages(functions, order):
        compile_stage(stage, target, group_tile(stage, TARGETS[target].warp_size, _WIDTH))
    end = os.times()
    return sum(end[:4]) - sum(begin[:4])


def _stages(functions: Sequence[Activation], order: int) -> tuple[GroupStage, ...]:
    plans = [make_plan(f, order, "f32", outlined=True) for f in functions]
    return group(_NAMES[order].split()[0], plans, [f.parameters for f in functions]).stages


def _alone(function: Activation, target: str) -> float:
    """The processor's time for a function's own two kernels."""
    begin = os.times()
    for order in (0, 1):
        compile_offline(make_plan(function, order, "f32").stages[-1].kernel, target)
    end = os.times()
    return sum(end[:4]) - sum(begin[:4])


def _by_the_clock(groups: Sequence[Sequence[Activation]], target: str, processes: int) -> float:
    """Seconds in which so many processes, which have started already, compile groups."""
    gpu = TARGETS[target]
    warm, *found = (_stages(functions, SLOPE)[-1] for functions in ([program("x")], *groups))
    with Compilers(processes) as compilers:
        # One job for each process, so that none has yet to load the compiler.
        compilers.compile(
            group_job(warm, group_tile(warm, gpu.warp_size, _WIDTH, warps), gpu, 64, _WIDTH) for warps in range(1, processes + 1)
        )
        begin = time.perf_counter()
        compilers.compile(group_job(stage, group_tile(stage, gpu.warp_size, _WIDTH), gpu, 64, _WIDTH) for stage in found)
        return time.perf_counter() - begin


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    target: Annotated[str, typer.Option(help=f"One of {', '.join(TARGETS)}.")] = "sm_90",
    rounds: Annotated[int, typer.Option(min=2, help="Groups of each kind.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the rows to this file.")] = None,
) -> None:
    """Milliseconds of compiling for each expression of a group, without a GPU; medians over groups."""
    if target not in TARGETS:
        raise typer.BadParameter(f"there is no target {target!r}; choose one of {', '.join(TARGETS)}", param_hint="--target")
    about = machine()
    Console().print(", ".join(f"{key} {value}" for key, value in about.items()), highlight=False)
    os.environ["TRITON_ALWAYS_COMPILE"] = "1"  # for the processes, too
    rows = list(figures(target, rounds))
    print_rows(f"Compiling for {target}, an expression", rows)
    if json_file is not None:
        json_file.write_text(
            json.dumps({"machine": about, "target": target, "rows": [row.as_json() for row in rows]}, indent=1), encoding="utf-8"
        )


if __name__ == "__main__":
    app(prog_name="python -m bench.gpu_compile")
