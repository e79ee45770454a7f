"""`python -m bench.gpu`: one round on a GPU, within the minutes that it is given, most important first.

    python -m bench.gpu --minutes 6 --out DIR     the round; DIR/round.json is whole after every row, DIR/round.md sums it up
    python -m bench.gpu --dry-run --out DIR       all of it on the CPU, with tiny sizes, kernels in Triton's interpreter
    python -m bench.gpu --out DIR                 without a GPU: what the model predicts for four cards, and nothing measured

Its sections: everything is compiled on all cores; what a copy takes; kernels of single functions against torch eager, torch.compile and
Liger; small tensors; populations of candidates; a search; and what else is to be decided by measurement (tiles, warps, approximate
functions, the size of groups). What has no time left is listed as not measured.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer
from rich.console import Console
from rich.table import Table

from bench.gpu import decisions, kernels, population, prepare, search
from bench.gpu.cards import this_card, versions
from bench.gpu.measure import Case, Clock, Row, row
from bench.gpu.report import goals, markdown
from bench.gpu.round import FILE, Round, shares, short
from gp.lab.network import Architecture
from gp.lab.training import Training
from gp.timing import machine
from kernels.gpus import A100, H100, H200, MI300X, Gpu

PREDICTED: Final = (A100, H100, H200, MI300X)
PAGE: Final = "round.md"
_PREPARING: Final = 40.0  # seconds, at most, and at most a fifth of the round
_TUNED: Final = 1 << 26  # elements: 256 MB of float32, beyond any cache


class Section(StrEnum):
    """The parts of the round, in order."""

    CEILING = "ceiling"
    KERNELS = "kernels"
    SMALL = "small"
    POPULATION = "population"
    SEARCH = "search"
    DECISIONS = "decisions"
    SHARES = "shares"


# Of the time that is left after compiling.
_SHARES: Final = {
    Section.CEILING: 0.02, Section.KERNELS: 0.36, Section.SMALL: 0.07, Section.POPULATION: 0.20, Section.SEARCH: 0.22,
    Section.DECISIONS: 0.11, Section.SHARES: 0.02,
}  # fmt: skip
TINY_KERNELS: Final = kernels.Sizes(copied=(64,), large=(64,), small=(16, 32), inductor="eager")
TINY_POPULATION: Final = population.Sizes(
    candidates=(2,), problems=2, architecture=Architecture((3,)), training=Training(steps=2, learning_rate=5e-3, batch=8), agreeing=1,
    groups=(2, 1), members=2, slices=2, rows=4, channels=8,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Sizes:
    """How large everything is that is measured. `tiny`: the search is a small one."""

    kernels: kernels.Sizes
    population: population.Sizes
    tuned: int
    tiny: bool = False


FULL: Final = Sizes(kernels.Sizes(), population.Sizes(), _TUNED)
TINY: Final = Sizes(TINY_KERNELS, TINY_POPULATION, 1 << 11, tiny=True)


def cases(section: Section, sizes: Sizes, device: torch.device, target: str, seconds: Callable[[], float]) -> Iterator[Case]:
    """The cases of a section. `target`: what kernels are compiled for, "" where that is not known. `seconds`: left for the search."""
    if section is Section.CEILING:
        yield from kernels.ceiling_cases(sizes.kernels, device)
    elif section is Section.KERNELS:
        yield from kernels.large_cases(sizes.kernels, device)
    elif section is Section.SMALL:
        yield from kernels.small_cases(sizes.kernels, device)
    elif section is Section.POPULATION:
        yield from population.training_cases(sizes.population, device)
    elif section is Section.SEARCH:
        yield from search.search_case(device.type, seconds, sizes.tiny)
    elif section is Section.DECISIONS:
        yield from population.group_cases(sizes.population, device)
        if target:
            yield from population.compile_cases(sizes.population, target)
        yield from decisions.decision_cases(sizes.tuned, device)
    else:
        yield from population.share_cases(sizes.population, device)


def predictions(sections: Iterable[Section], gpus: Sequence[Gpu], sizes: Sizes) -> Iterator[Row]:
    """Rows of what can be predicted, for each GPU, and nothing measured."""
    for section in sections:
        for case in cases(section, sizes, torch.device("cpu"), "", float):
            if case.predict is not None:
                yield from (row(case, gpu.name, gpu, None) for gpu in gpus)


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


def about(name: str, gpu: Gpu | None, rounds: int, measured: bool) -> dict[str, Any]:
    """What goes into the file besides the rows."""
    return {
        "name": name,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "bench.gpu", *sys.argv[1:]]),
        "machine": machine(), "versions": versions(), "card": None if gpu is None else dataclasses.asdict(gpu),
        "measured": measured, "rounds": rounds,
    }  # fmt: skip


def measure(round_: Round, sections: Sequence[Section], sizes: Sizes, device: torch.device, target: str) -> None:
    """The round: compile, then section by section, then what had to wait."""
    if device.type == "cuda" and set(sections) & {Section.KERNELS, Section.SMALL, Section.POPULATION, Section.DECISIONS}:
        limit = min(_PREPARING, 0.2 * round_.seconds)
        prepare.prepare(round_, sizes.kernels, max(sizes.population.candidates), target, limit)
    until = shares(round_.seconds, round_.elapsed, [(section, _SHARES[section]) for section in sections])

    def left() -> float:
        """Seconds for a search: to the end of its section, or of the round where it had to wait."""
        end = until.get(Section.SEARCH, round_.seconds)
        return (end if round_.elapsed < end else round_.seconds) - round_.elapsed

    for section in sections:
        round_.section(cases(section, sizes, device, target, left), until[section])
    round_.finish()


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the round may take.")] = 6.0,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go.")] = Path("runs/gpu"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="On the CPU, with tiny sizes, through Triton's interpreter.")] = False,
    only: Annotated[list[Section] | None, typer.Option(help="This part alone; may be given more than once.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds in which the contenders take turns.")] = 7,
) -> None:
    """Measure on the current GPU, and predict; without one, predict alone. Results are written after every row."""
    console = Console(width=None if Console().is_terminal else 160)
    sections = list(dict.fromkeys(only or Section))
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / PAGE).touch()
    except OSError as error:
        raise typer.BadParameter(f"{out} cannot be written to: {error.strerror}", param_hint="--out") from error
    if dry_run:
        _run(console, out, sections, TINY, torch.device("cpu"), ("no GPU: a dry run", "", None), 60 * minutes, 2)
    elif torch.cuda.is_available():
        _run(console, out, sections, FULL, torch.device("cuda"), this_card(), 60 * minutes, rounds)
    else:
        _predict(console, out, sections)


def _run(
    console: Console, out: Path, sections: Sequence[Section], sizes: Sizes, device: torch.device, card: tuple[str, str, Gpu | None],
    seconds: float, rounds: int,
) -> None:  # fmt: skip
    # One process a compiler: many run at once while all is prepared. Inductor reads this when it is imported, here and in all processes.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    os.environ["TEARDOWN_CUPTI"] = "0"  # a profiler that goes while CUDA graphs stay has brought processes down
    name, target, gpu = card
    how = "no predictions, for its kind is not known" if gpu is None else f"predictions for {gpu.name}"
    console.print(f"{name}: {how}; at most {seconds:.0f} seconds", highlight=False)
    facts = about(name, gpu, rounds, measured=device.type == "cuda")
    made = Round(out, facts, name, gpu, Clock(rounds, device.type == "cuda"), seconds, lambda text: print(text, flush=True))
    try:
        measure(made, sections, sizes, device, target)
    finally:
        _sum_up(console, out, facts, made.rows)
    if made.faults:
        raise ExceptionGroup("cases failed in a way that is not foreseen", made.faults)


def _sum_up(console: Console, out: Path, facts: Mapping[str, Any], rows: Sequence[Row]) -> None:
    (out / PAGE).write_text(markdown(facts, rows), encoding="utf-8")
    for goal in goals(rows if facts["measured"] else ()):
        console.print(str(goal), highlight=False)
    console.print(f"{len(rows)} rows in {out / FILE}, summed up in {out / PAGE}", highlight=False)


def _predict(console: Console, out: Path, sections: Sequence[Section]) -> None:
    console.print("There is no GPU that torch can use: nothing was measured, and all figures below are predictions.", highlight=False)
    made = Round(out, about("no GPU", None, 0, measured=False), "", None, Clock(1, on_gpu=False), 0.0)
    for section in sections:
        found = list(predictions([section], PREDICTED, FULL))
        if found:
            print_predictions(console, section.capitalize(), found)
            made.rows += found
            made.write()
    console.print(f"{len(made.rows)} rows in {out / FILE}", highlight=False)
