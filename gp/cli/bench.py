"""`gp bench`: an activation's kernels against torch. What is measured is in bench_measure and bench_cold, printing in bench_table."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gp.cli.errors import CommandError
from gp.cli.plain import say

if TYPE_CHECKING:
    import torch

    from gp.cli.bench_measure import Result, Settings

_SIZES: Final = "4096,65536,4194304"
_LARGEST: Final = 1 << 28  # elements: torch eager keeps up to ten tensors of that size


class Dtypes(StrEnum):
    """What `--dtype` takes."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Devices(StrEnum):
    """What `--device` takes."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def register(app: typer.Typer) -> None:
    app.command("bench")(bench)


def bench(
    expressions: Annotated[list[str], typer.Argument(metavar="EXPR...", help="Expressions of x, names of `gp list`, or .act files.")],
    *,
    sizes: Annotated[str, typer.Option(help="Numbers of elements; x has up to 256 channels.")] = _SIZES,
    dtype: Annotated[Dtypes, typer.Option(help="The type of x.")] = Dtypes.FLOAT32,
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="With torch.compile: 30 s, and 5 s a function and size.")] = True,
    rounds: Annotated[int, typer.Option(min=3, max=1000, help="Rounds in which the contenders take turns.")] = 11,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="Threads on the CPU.  [default: torch's]")] = None,
    device: Annotated[Devices, typer.Option(help="auto: a GPU, if torch can use one.")] = Devices.AUTO,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write what is measured as rows in JSON.")] = None,
) -> None:
    """Measure activations against torch: time of forward and backward pass, memory kept between them, and time to compile.

    Each is compared with the same program as plain torch operations, with torch.compile of those, and with torch.nn's own function
    where the catalogue has its name. An expression that begins with a minus goes last, after --, as in: gp bench -- "-x"
    """
    chosen_sizes = parse_sizes(sizes)
    from gp.cli.inputs import load  # noqa: PLC0415 - `gp --help` does without what these import
    from gp.cli.output import check_output, write_output  # noqa: PLC0415
    from grammar import format_program  # noqa: PLC0415

    if json_ is not None:
        check_output("--json", json_)
    programs: dict[str, str] = {}
    for expression in expressions:
        named = load(expression)
        text = format_program(named.function.function.program, separator="; ")
        programs[(named.name and expression.strip()) or text] = text

    import torch  # noqa: PLC0415

    from gp.cli.bench_cold import new_torch_cache  # noqa: PLC0415
    from gp.cli.bench_measure import Settings  # noqa: PLC0415
    from gp.cli.bench_table import as_json, print_machine  # noqa: PLC0415
    from gp.timing import machine  # noqa: PLC0415

    place = _place(device, threads)
    if threads is not None:
        torch.set_num_threads(threads)
    about = machine() | {"dtype": dtype.value, "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu"}
    print_machine(about, rounds)
    with new_torch_cache():
        compiled = compiled and _can_compile(place)
        settings = Settings(chosen_sizes, getattr(torch, dtype.value), place, rounds, compiled)
        results = _measure(programs, settings)
    if json_ is not None:
        text = json.dumps(as_json(about, rounds, results), indent=2, ensure_ascii=False) + "\n"
        write_output(json_, lambda path: path.write_text(text, encoding="utf-8"))
        say(f"wrote {json_}")


def parse_sizes(text: str) -> tuple[int, ...]:
    """The numbers of elements that `--sizes` means. Raises CommandError."""
    if not re.fullmatch(r"[0-9]{1,12}(,[0-9]{1,12})*", text):
        raise CommandError(f"--sizes {text}: give a number of elements such as 65536, or several such as {_SIZES}")
    sizes = tuple(map(int, text.split(",")))
    if not all(1 <= size <= _LARGEST for size in sizes):
        raise CommandError(f"--sizes {text}: a size is a number of elements from 1 to {_LARGEST}")
    if len(set(sizes)) < len(sizes):
        raise CommandError(f"--sizes {text}: a size is given twice")
    return sizes


def _place(device: Devices, threads: int | None) -> torch.device:
    """Where to measure. Raises CommandError for a GPU that is not there, and for threads on one."""
    import torch  # noqa: PLC0415

    usable = torch.cuda.is_available()
    if device is Devices.CUDA and not usable:
        raise CommandError("--device cuda: there is no GPU that torch can use; gp doctor says why")
    gpu = usable and device is not Devices.CPU
    if gpu and threads is not None:
        raise CommandError("--threads is for the CPU; give --device cpu with it")
    return torch.device("cuda" if gpu else "cpu")


def _can_compile(device: torch.device) -> bool:
    """Start torch.compile, which takes its time, or say in a line why it is left out."""
    from gp.cli.bench_cold import Untranslatable, start_torch_compile  # noqa: PLC0415
    from gp.cli.bench_progress import progress  # noqa: PLC0415

    with progress("torch.compile", 1) as on_step:
        on_step("starting, up to 30 s")
        try:
            start_torch_compile(device)
        except Untranslatable as error:
            reason = str(error)
        else:
            return True
    say(f"gp: torch.compile cannot be used here and is left out: {reason}", error=True)
    return False


def _measure(programs: dict[str, str], settings: Settings) -> Sequence[Result]:
    """Measure one activation after the other, and print its table when it is done."""
    from gp.cli.bench_measure import measure  # noqa: PLC0415
    from gp.cli.bench_progress import progress  # noqa: PLC0415
    from gp.cli.bench_table import print_result  # noqa: PLC0415

    results = []
    for expression, text in programs.items():
        try:
            with progress(expression, settings.steps) as on_step:
                result = measure(expression, text, settings, on_step)
        except RuntimeError as error:
            if "allocate" in str(error):
                raise CommandError(f"there is not enough memory for {max(settings.sizes):,} elements; give smaller --sizes") from error
            raise
        print_result(expression, result)
        results.append(result)
    return results
