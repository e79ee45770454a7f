"""`python -m bench.gpu`: how long kernels, groups and training steps should take on a GPU by the model, and how long they do take.

One command without arguments, about five minutes on a card. It writes `gpu.json` beside printing tables. Without a GPU it prints what the
model (`bench.gpu_model`) predicts for four cards, and measures nothing; the first time it compiles some 300 kernels, for about three
minutes on two cores.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer
from rich.console import Console
from rich.table import Table
from triton.runtime import driver

from bench.gpu_groups import Sizes, compile_cases, group_cases, training_cases
from bench.gpu_measure import Case, Clock, Row, copy_case, event_clock, kernel_cases, row, tuning_cases
from gp.timing import machine
from kernels.gpus import A100, BY_TARGET, GPUS, H100, H200, MI300X, Gpu

PREDICTED: Final = (A100, H100, H200, MI300X)
ELEMENTS: Final = 1 << 24
COPIED: Final = 1 << 28  # 1 GiB, beyond any cache
_CLOSE: Final = 0.1  # relative; cards of one name and multiprocessors differ by more where their memory is another


class Section(StrEnum):
    """The parts of the table."""

    KERNELS = "kernels"
    GROUPS = "groups"
    TRAINING = "training"
    TUNING = "tuning"


_TITLES: Final = {
    Section.KERNELS: "Kernels of single functions, 16,777,216 elements",
    Section.GROUPS: "Groups of expressions, one kernel for all of them",
    Section.TRAINING: "Training at standard fidelity, 300 steps",
    Section.TUNING: "Blocks of single kernels, 16,777,216 elements",
}


def cases(section: Section, device: torch.device, target: str, compiled: bool = False) -> Iterator[Case]:
    """The cases of a section. `target`: what kernels are compiled for, "" where that is not known."""
    if section is Section.KERNELS:
        yield copy_case(COPIED, device)
        yield from kernel_cases(ELEMENTS, device, compiled)
    elif section is Section.GROUPS:
        yield from group_cases(Sizes(), device)
        if target:
            yield from compile_cases(Sizes(), target)
    elif section is Section.TRAINING:
        yield from training_cases(Sizes(), device)
    else:
        yield from tuning_cases(ELEMENTS, device)


def identify(name: str, target: str, properties: Mapping[str, int]) -> Gpu | None:
    """The description of a card, from its name, its target, and what the driver says of it; None where its kind is not known.

    Vendors' figures hold for cards that have their multiprocessors and, within a tenth, their bandwidth. For others, such as those in PCIe
    slots, and for unknown names of a known target (then the caller gets another name), the driver's figures are used. AMD's driver gives
    a clock of memory from which its bandwidth does not follow, so AMD's cards have the vendor's.
    """
    known = next((gpu for gpu in GPUS if gpu.target == target and re.search(rf"\b{gpu.name.split()[0]}\b", name)), None)
    gpu = known or BY_TARGET.get(target)
    if gpu is None or target.startswith("gfx"):
        return gpu
    # Two transfers a clock; clocks are in kHz, the width in bits.
    bandwidth = 2 * properties["mem_clock_rate"] * 1e3 * properties["mem_bus_width"] / 8
    multiprocessors = properties["multiprocessor_count"]
    if known and multiprocessors == gpu.multiprocessors and abs(bandwidth / gpu.bandwidth - 1) < _CLOSE:
        return gpu
    clock = properties["sm_clock_rate"] * 1e3
    return dataclasses.replace(gpu, name=f"{name} (by its driver)", multiprocessors=multiprocessors, clock_hz=clock, bandwidth=bandwidth)


def this_card() -> tuple[str, str, Gpu | None]:
    """The name of the current GPU, its target or "" if kernels are not compiled for it offline, and its description."""
    found = driver.active.get_current_target()
    target = f"sm_{found.arch}" if found.backend == "cuda" else str(found.arch)
    gpu = identify(torch.cuda.get_device_name(), target, driver.active.utils.get_device_properties(torch.cuda.current_device()))
    return torch.cuda.get_device_name(), "" if gpu is None else target, gpu


def versions() -> dict[str, str]:
    """Of what torch was built for, and of the driver."""
    found = {"cuda": torch.version.cuda or "none", "rocm": torch.version.hip or "none", "driver": "unknown"}
    amd = Path("/sys/module/amdgpu/version")
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found["driver"] = done.stdout.strip().partition("\n")[0] or "unknown"
    elif amd.exists():
        found["driver"] = amd.read_text(encoding="utf-8").strip()
    return found


def predictions(sections: Iterable[Section], gpus: Sequence[Gpu]) -> Iterator[Row]:
    """Rows of what can be predicted, for each GPU, and nothing measured."""
    for section in sections:
        for case in cases(section, torch.device("cpu"), ""):
            if case.predict is not None:
                yield from (row(case, gpu.name, gpu, None) for gpu in gpus)


def measurements(found: Iterable[Case], name: str, gpu: Gpu | None, clock: Clock) -> Iterator[Row]:
    """Rows of a card, one after another, with their memory given back between them."""
    for case in found:
        yield row(case, name, gpu, clock)
        torch.cuda.empty_cache()


def short(seconds: float | None) -> str:
    """Seconds in ms or us."""
    return "" if seconds is None else f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def print_predictions(console: Console, title: str, rows: Sequence[Row]) -> None:
    """A column for each GPU; rates below the times that they come from."""
    names = list(dict.fromkeys(r.gpu for r in rows))
    table = Table(title=f"{title}: predicted, not measured", title_justify="left")
    for name in ("what", "unit", *names):
        table.add_column(name, justify="left" if name in ("what", "unit") else "right")
    for what in dict.fromkeys(r.what for r in rows):
        these = [r for r in rows if r.what == what]
        table.add_row(what, these[0].unit, *(r.error or short(r.predicted_seconds) for r in these))
        for unit in these[0].rates:
            table.add_row("", unit, *(f"{r.rates[unit].get('predicted', 0):,.0f}" for r in these))
    console.print(table)


def print_measurements(console: Console, title: str, rows: Sequence[Row]) -> None:
    """A line for each case: predicted, measured, their ratio, the alternatives and how many times as long they take."""
    table = Table(title=title, title_justify="left")
    for name in ("what", "unit", "predicted", "measured", "predicted/measured", "alternatives and figures"):
        table.add_column(name, justify="right" if name in ("predicted", "measured", "predicted/measured") else "left")
    for r in rows:
        notes = [f"{name} {short(t)} ({t / r.measured_seconds:.2f}x)" for name, t in r.alternatives.items() if r.measured_seconds]
        notes += [f"{value:,.4g} {unit}" for unit, by in r.rates.items() for name, value in by.items() if name == "measured"]
        notes += [f"{name} {value:.2g}" for name, value in r.figures.items()]
        ratio = "" if r.ratio is None else f"{r.ratio:.2f}"
        table.add_row(r.what, r.unit, short(r.predicted_seconds), short(r.measured_seconds), ratio, r.error or ", ".join(notes))
    console.print(table)


def report(rows: Sequence[Row], rounds: int, gpu: Gpu | None, measured: bool) -> dict[str, Any]:
    """What goes into the file."""
    card = None if gpu is None else dataclasses.asdict(gpu)
    return {
        "machine": machine(), "versions": versions(), "card": card, "measured": measured, "rounds": rounds,
        "rows": [r.as_json() for r in rows],
    }  # fmt: skip


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    json_file: Annotated[Path, typer.Option("--json", metavar="FILE", help="Where the rows go.")] = Path("gpu.json"),
    rounds: Annotated[int, typer.Option(min=3, help="Rounds in which the contenders take turns.")] = 15,
    only: Annotated[list[Section] | None, typer.Option(help="This part alone; may be given more than once.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Also measure torch.compile (10 s or more a function).")] = False,
) -> None:
    """Predict and, where there is a GPU, measure; print tables and write all rows as JSON."""
    console = Console(width=None if Console().is_terminal else 160)
    sections = only or list(Section)
    rows: list[Row] = []
    if torch.cuda.is_available():
        name, target, gpu = this_card()
        how = "no predictions, for its kind is not known" if gpu is None else f"predictions for {gpu.name}"
        console.print(f"{name}: {how}", highlight=False)
        for section in sections:
            found = cases(section, torch.device("cuda"), target, compiled)
            made = list(measurements(found, name, gpu, event_clock(rounds)))
            print_measurements(console, _TITLES[section], made)
            rows += made
            _write(json_file, report(rows, rounds, gpu, measured=True))  # after each, lest a crash of the driver takes all
        return
    console.print("There is no GPU that torch can use: nothing was measured, and all figures below are predictions.", highlight=False)
    for section in sections:
        if section is Section.TUNING:
            console.print("Blocks are compared by measurement alone: not measured.", highlight=False)
            continue
        made = list(predictions([section], PREDICTED))
        print_predictions(console, _TITLES[section], made)
        rows += made
    _write(json_file, report(rows, rounds, None, measured=False))


def _write(path: Path, found: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    app(prog_name="python -m bench.gpu")
