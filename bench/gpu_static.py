"""`python -m bench.gpu_static`: what the compilers make of every GPU kernel, without a GPU, as a table in `bench/gpu_static.json`.

The whole catalogue and random programs, forward and backward, float32, and both in groups as a search forms them, for every target:
registers, spills, local memory, width of memory accesses, instructions by kind, occupancy. A kernel is kept in the cache of compiled
code (`GP_CACHE_DIR`) as soon as it is read, so an interrupted run goes on where it was. About 15 minutes on 2 cores.

`tests/test_gpu_static.py` compares the table with what the code of the day makes.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from triton import knobs

from bench.programs import random_programs
from codegen.group import GroupStage, group
from codegen.group_body import PACK, body_name
from codegen.group_triton import print_group
from codegen.instructions import Span
from codegen.kernel import Kernel
from codegen.triton import print_kernel
from grammar import catalog
from kernels import gpus, report
from kernels.cache import default_cache
from kernels.fingerprint import fingerprint
from kernels.group_compiler import compile_stage, group_tile
from kernels.grouping import form_groups
from kernels.programs import SLOPE, make_plan, program
from kernels.report import KINDS, Report, static_report
from kernels.triton_compiler import TARGETS, Tile, choose_tile, compile_options

FILE: Final = Path(__file__).with_suffix(".json")
PROGRAMS: Final = 200
SMALLEST: Final = 10
LARGEST: Final = 30
SEED: Final = 1
_CHANNELS: Final = 32  # of a group's tiles, those of the lab's networks
FULL: Final = 128  # bits of the widest access of a thread

Row = dict[str, Any]
# `code`: digest of the kernel's text, tile and options. `load`, `store`: the narrowest access in bits that a pointwise kernel needs to read
# or write its tensors; null for the others, and where there is nothing to read. From `fp32` on: instructions by kind.
COLUMNS: Final = (
    "name", "kind", "kernel", "target", "code", "elements", "registers", "spills", "local", "load", "store", "occupancy", *KINDS,
)  # fmt: skip
_NONE_OF: Final = {"spills": "spills", "local": "bytes of local memory"}


@dataclass(frozen=True, slots=True)
class Job:
    """One kernel to compile. `reads`, `writes`: bits of tensors that a thread moves at a time and should in wide accesses; else 0."""

    kernel: str
    code: str
    reads: int
    writes: int
    compile: Callable[[], Report]


@dataclass(frozen=True, slots=True)
class Item:
    """Something that becomes kernels: `jobs` of a target. It goes to another process, so `jobs` is a function of a module, or partial."""

    name: str
    kind: str
    jobs: Callable[[str], Iterable[Job]]


def items() -> Iterator[Item]:
    """Everything in the table, in its order."""
    for name in catalog.names():
        yield Item(name, "catalogue", functools.partial(program_jobs, catalog.entry(name).text))
    for k, text in enumerate(texts()):
        yield Item(f"random {k}", "random", functools.partial(program_jobs, text))
    everything = [*texts(), *(catalog.entry(name).text for name in catalog.names())]
    for k, found in enumerate(form_groups([program(text) for text in everything])):
        yield Item(f"group {k}", "group", functools.partial(group_jobs, [everything[n] for n in found]))


def texts() -> list[str]:
    """The random programs."""
    return random_programs(PROGRAMS, SMALLEST, LARGEST, seed=SEED)


def program_jobs(text: str, target: str) -> Iterator[Job]:
    """The kernels of a program's forward and backward pass."""
    for order in (0, 1):
        for stage in make_plan(program(text), order, "f32").stages:
            yield kernel_job(stage.kernel, target)


def kernel_job(kernel: Kernel, target: str) -> Job:
    """One kernel, compiled as the launcher does for a tensor of many channels."""
    gpu = TARGETS[target]
    tile = choose_tile(kernel, gpu.warp_size)
    bits = 32 * tile.rows * tile.channels // (tile.num_warps * gpu.warp_size) if kernel.flat else 0
    reads = bits * sum(i.span is Span.ELEMENT for i in kernel.inputs)
    writes = bits * sum(o.span is Span.ELEMENT for o in kernel.outputs)
    return Job(kernel.name, _digest(print_kernel(kernel), tile, target), reads, writes, functools.partial(static_report, kernel, target))


def group_jobs(members: Sequence[str], target: str) -> Iterator[Job]:
    """The kernels of a group's directions. Each element goes through one of the members, so the instructions of all of them, and of the
    functions that they call, are for as many elements as there are members."""
    functions = [program(text) for text in members]
    gpu = TARGETS[target]
    for order in (SLOPE,) if all(f.of_x_alone for f in functions) else (0, 1):
        plans = [make_plan(f, order, "f32", outlined=True) for f in functions]
        for stage in group({SLOPE: "slope", 0: "forward", 1: "backward"}[order], plans, [f.parameters for f in functions]).stages:
            tile = group_tile(stage, gpu.warp_size, _CHANNELS)
            bits = 32 * PACK if stage.flat else 0
            reads, writes = bits * (stage.counts["x"] + stage.counts["cotangent"]), bits * stage.outputs[Span.ELEMENT]
            compiling = functools.partial(_group_report, stage, target, tile)
            yield Job(stage.name, _digest(print_group(stage, body_name(stage)), tile, target), reads, writes, compiling)


def _group_report(stage: GroupStage, target: str, tile: Tile) -> Report:
    return report.read(compile_stage(stage, target, tile), target, len(stage.members))


def _digest(source: str, tile: Tile, target: str) -> str:
    """Of all that a kernel's machine code follows from, besides the compiler."""
    parts = (source, tile, sorted(compile_options(TARGETS[target]).items()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def row(item: Item, target: str, job: Job) -> Row:
    """Compile, and the line of the table."""
    made = job.compile()
    elements = made.elements_per_thread
    values = (
        item.name, item.kind, job.kernel, target, job.code, elements, made.registers, made.spills, made.local_bytes,
        narrowest(made.loads, job.reads), narrowest(made.stores, job.writes),
        round(made.occupancy, 4), *(made.kinds[kind] for kind in KINDS),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def narrowest(accesses: Mapping[int, int], bits: int) -> int | None:
    """The width down to which accesses, widest first, add up to so many bits; None for no bits. Narrower ones read scalars."""
    width = None
    for wide in sorted(accesses, reverse=True):
        if bits > 0:
            width, bits = wide, bits - wide * accesses[wide]
    return width


def faults(row: Row) -> list[str]:
    """What is wrong with a kernel, in words."""
    found = [f"{row[name]} {what}" for name, what in _NONE_OF.items() if row[name]]
    return found + [f"{name}s of {row[name]} bits" for name in ("load", "store") if row[name] is not None and row[name] < FULL]


def worse(now: Row, before: Row) -> list[str]:
    """What has become worse since the table was made: spills, local memory, narrower accesses."""
    found = [f"{now[name]} {what}, not {before[name]}" for name, what in _NONE_OF.items() if now[name] > before[name]]
    narrower = [name for name in ("load", "store") if now[name] is not None and before[name] is not None and now[name] < before[name]]
    return found + [f"{name}s of {now[name]} bits, not {before[name]}" for name in narrower]


@functools.cache
def versions() -> dict[str, str]:
    """Of what makes machine code (LLVM is Triton's own), and a digest of what reads it."""
    readers = b"".join(Path(str(module.__file__)).read_bytes() for module in (report, gpus))
    found = {"triton": metadata.version("triton"), "reader": hashlib.sha256(readers).hexdigest()[:12]}
    for target in ("sm_80", "sm_100"):
        path = (knobs.nvidia.ptxas_blackwell if target == "sm_100" else knobs.nvidia.ptxas).path
        text = subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout
        match = re.search(r"V(\d[\d.]*)", text)
        found[f"ptxas for {target}"] = match.group(1) if match else text
    return found


def stored(path: Path = FILE) -> tuple[dict[str, str], list[Row]]:
    """Versions and rows of the table in a file. OSError where there is none."""
    table = json.loads(path.read_text(encoding="utf-8"))
    return table["versions"], [dict(zip(table["columns"], values, strict=True)) for values in table["rows"]]


def _write(path: Path, rows: Iterable[Row]) -> None:
    """One line a kernel, so that a change of one is a change of one line."""
    head = {"versions": versions(), "programs": [PROGRAMS, SMALLEST, LARGEST, SEED], "columns": COLUMNS}
    above = "".join(f' "{name}": {json.dumps(value)},\n' for name, value in head.items())
    lines = ",\n".join(json.dumps(list(r.values()), separators=(",", ":")) for r in rows)
    path.write_text(f'{{\n{above} "rows": [\n{lines}\n]\n}}\n', encoding="utf-8")


def _rows(item: Item, target: str) -> list[Row]:
    """The item's rows, from the cache or compiled.

    Triton's own cache would keep a megabyte a kernel for nothing. Line numbers are a fifth of the time, and not in the machine code.
    """
    rows = []
    # The text of a group's kernel is not all of it: its body is put in place by code.
    made_by = fingerprint("codegen", "kernels") if item.kind == "group" else ""
    for job in item.jobs(target):
        key = f"gpu_static {versions()} {target} {job.code} {item.name} {job.kernel}{made_by}"
        kept = default_cache().get(key)
        if kept is None:
            with tempfile.TemporaryDirectory() as folder, knobs.cache.scope(), knobs.compilation.scope():
                knobs.cache.dir = folder
                knobs.compilation.disable_line_info = True
                kept = json.dumps(row(item, target, job)).encode()
            default_cache().put(key, kept)
        rows.append(json.loads(kept))
    return rows


def _leave_interrupts() -> None:
    """Only the parent process answers Ctrl-C; what is being compiled is finished and kept."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def make(workers: int) -> list[Row]:
    """The whole table, by so many processes."""
    todo = [(item, target) for item in items() for target in TARGETS]
    with ProcessPoolExecutor(workers, get_context("spawn"), _leave_interrupts) as pool, Progress() as progress:
        bar = progress.add_task("compiling", total=len(todo))
        futures = [pool.submit(_rows, item, target) for item, target in todo]
        try:
            for _ in as_completed(futures):
                progress.advance(bar)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
        return [r for future in futures for r in future.result()]


_SUMMARY: Final = (
    "target", "of", "kernels", "spilling", "local memory", "narrowest load", "store", "registers", "instr/element", "occupancy",
)  # fmt: skip


def print_summary(rows: list[Row]) -> None:
    """A line for each target and kind, then every kernel with a fault."""
    table = Table(title="GPU kernels, float32, by static analysis", caption="least / median / most", title_justify="left")
    for name in _SUMMARY:
        table.add_column(name, justify="left" if name in ("target", "of") else "right")
    for target, kind in itertools.product(TARGETS, dict.fromkeys(r["kind"] for r in rows)):
        these = [r for r in rows if (r["target"], r["kind"]) == (target, kind)]
        counts = (str(len(these)), str(sum(r["spills"] > 0 for r in these)), f"{max(r['local'] for r in these)} B")
        widths = (str(min((r[name] for r in these if r[name] is not None), default="")) for name in ("load", "store"))
        spreads = (
            _spread([r["registers"] for r in these], ".0f"),
            _spread([sum(r[k] for k in KINDS) / r["elements"] for r in these], ".0f"),
            _spread([r["occupancy"] for r in these], ".2f"),
        )
        table.add_row(target, kind, *counts, *widths, *spreads)
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
    for r in rows:
        if faults(r):
            console.print(f"{r['name']} {r['kernel']} {r['target']}: {', '.join(faults(r))}", highlight=False)


def _spread(values: list[float], form: str) -> str:
    return " / ".join(format(v, form) for v in (min(values), median(values), max(values)))


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the table goes.")] = FILE,
    workers: Annotated[int, typer.Option(min=1, help="Processes that compile.")] = 2,
) -> None:
    """Compile every kernel for every target, print a summary and write the table."""
    rows = make(workers)
    print_summary(rows)
    _write(out, rows)


if __name__ == "__main__":
    app(prog_name="python -m bench.gpu_static")
