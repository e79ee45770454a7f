"""What `bench.triton_versions` runs in an environment of each release of triton: kernels compiled offline, and what became of them.

It imports nothing that such an environment lacks, which is all but triton, NumPy, SciPy, platformdirs and lark.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Final

from codegen.group import GroupStage, group
from codegen.group_body import PACK
from codegen.instructions import Span
from codegen.kernel import Storage
from kernels.group_compiler import compile_stage, group_tile
from kernels.programs import SLOPE, make_plan, program
from kernels.report import Report, read, static_report
from kernels.triton_compiler import TARGETS, compile_offline

PACKAGES: Final = ("numpy", "scipy", "platformdirs", "lark")
PROGRAMS: Final = (
    *("gelu(x)", "silu(x)", "mish(x)", "gelusine(x)", "snake(x)", "softplus(x)", "gelu_sinc_perturbation(x)", "prelu(x)"),
    *("neighbour_coupled(x)", "z = (x - mean(x))/(std(x) + 0.1); z*sigmoid(z) + 0.1*shift(x, 1)"),
)
# Groups, each in one of the directions that a population has: of functions of x alone, of others.
GROUPS: Final = (
    (SLOPE, ("gelu(x) + 0.1*sin(3*x)", "x*sigmoid(1.96*x)", "relu(x)", "mish(x) - 0.3*abs(x)", "where(x < -0.7, sin(x), tanh(x))*erf(x)")),
    (1, ("param b = 0.4; x*sigmoid(b*x)", "param s[channel] = 0.5; silu(x) + 0.2*shift(s*x, 1)")),
    (1, ("(x - mean(x))/(std(x) + 0.1)", "z = x - mean(x, over=batch); z*sigmoid(z)")),
)
_CHANNELS: Final = 32


@dataclass(frozen=True, slots=True)
class Source:
    """Something to compile for a target. `pointwise`: it is to read and write 128 bits at once."""

    name: str
    pointwise: bool
    compile: Callable[[str], object]
    report: Callable[[str], Report]


def sources() -> Iterator[Source]:
    """All that is compiled, in order: single kernels, then groups."""
    cases: list[tuple[str, Storage]] = [*((text, "f32") for text in PROGRAMS), ("gelusine(x)", "bf16")]
    for text, storage in cases:
        for order in (0, 1):
            for kernel in [stage.kernel for stage in make_plan(program(text), order, storage).stages]:
                pointwise = kernel.flat and any(output.span is Span.ELEMENT for output in kernel.outputs)
                yield Source(f"{text} {kernel.name} {storage}", pointwise, partial(compile_offline, kernel), partial(static_report, kernel))
    for number, (order, texts) in enumerate(GROUPS):
        functions = [program(text) for text in texts]
        plans = [make_plan(f, order, "f32", outlined=True) for f in functions]
        for stage in group("group", plans, [f.parameters for f in functions]).stages:
            pointwise = stage.flat and stage.outputs[Span.ELEMENT] > 0
            yield Source(f"{stage.name} {number}", pointwise, partial(_compile_group, stage), partial(_group_report, stage))


def _compile_group(stage: GroupStage, target: str) -> object:
    return compile_stage(stage, target, group_tile(stage, TARGETS[target].warp_size, _CHANNELS))


def _group_report(stage: GroupStage, target: str) -> Report:
    return read(compile_stage(stage, target, group_tile(stage, TARGETS[target].warp_size, _CHANNELS)), target, PACK)


def work(target: str, first: int) -> None:
    """The worker: compile the sources from number `first` on. Prints a line of JSON about all of them, then one for each that is done.

    An error ends the process, as a crash of the compiler does; whoever started it goes on with the next source.
    """
    todo = list(sources())
    versions = {name: metadata.version(name) for name in ("triton", *PACKAGES)} | {"python": platform.python_version()}
    print(json.dumps({"versions": versions, "sources": [source.name for source in todo]}), flush=True)
    for source in todo[first:]:
        start = sum(os.times()[:4])  # of the processor, in this process and in those that it starts, such as the assembler
        source.compile(target)
        seconds = sum(os.times()[:4]) - start
        report = source.report(target)  # the compiler's own cache has it by now
        access = min(max(report.load_bits, default=0), max(report.store_bits, default=0)) if source.pointwise else None
        row = {"name": source.name, "seconds": seconds, "spills": report.spills, "registers": report.registers, "access": access}
        print(json.dumps(row), flush=True)
