"""`python -m bench.triton_versions`: generated kernels compiled offline with several releases of triton, for every target.

CI runs the one release that constraints.txt pins. This shows what the others make of the same kernels: each is installed into a virtual
environment of its own, with what the code generator needs and no torch, and a worker there (`bench.triton_worker`) compiles and reads
the machine code.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from bench.triton_worker import PACKAGES, sources
from gp.timing import machine
from kernels.triton_compiler import TARGETS

ROOT: Final = Path(__file__).resolve().parent.parent
VERSIONS: Final = ("3.6", "3.7", "3.8", "3.9")
ACCESS: Final = 128  # bits: what a thread of a pointwise kernel is to load and store at once
_RAISED: Final = re.compile(r"^[A-Za-z_][\w.]*(?::.*)?$", re.MULTILINE)  # what ends a traceback, all else of which is indented


@dataclass(frozen=True, slots=True)
class Result:
    """What one release makes of the kernels for one target (None: it came to none).

    `failed`: name and error, also of a compiled kernel whose accesses are too narrow. `spills`: of all kernels. `access`: the widest
    load or store, whichever is less, in bits, of the pointwise kernel where it is least. `registers`: of the kernel that takes most.
    `seconds`: of the processor, the median to compile one.
    """

    asked: str
    target: str | None
    versions: dict[str, str] = field(default_factory=dict)
    compiled: int = 0
    failed: tuple[str, ...] = ()
    spills: int | None = None
    access: int | None = None
    registers: int | None = None
    seconds: float | None = None


class BrokenVersionError(Exception):
    """A release of triton that cannot be installed, or whose worker does not come as far as the first kernel."""


def pins() -> dict[str, str]:
    """Package and version, as in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def make_environment(version: str, place: Path, scratch: Path) -> Path:
    """The Python of an environment in `place` with that triton ("3.7": its newest patch release). Raises BrokenVersionError."""
    requirement = f"triton=={version}.*" if version.count(".") == 1 else f"triton=={version}"
    python = place / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", str(place)], [*pip, requirement, *(f"{name}=={pins()[name]}" for name in PACKAGES)]):
        done = _run(command, os.environ | {"TMPDIR": str(scratch)})
        if done.returncode:
            raise BrokenVersionError(f"cannot install {requirement}: {_reason(done.stderr or done.stdout, done.returncode)}")
    return python


def matrix(
    versions: Sequence[str],
    keep: Path | None = None,
    targets: Sequence[str] = tuple(TARGETS),
    make: Callable[[str, Path, Path], Path] = make_environment,
    say: Callable[[str], None] = print,
) -> list[Result]:
    """One result for each version and target; one alone, without a target, for a version that is broken.

    Environments are removed one by one (each takes a gigabyte), or stay in folder `keep`. All else that processes write is removed.
    """
    results: list[Result] = []
    for version in versions:
        with tempfile.TemporaryDirectory(prefix="actgp-triton-", ignore_cleanup_errors=True) as scratch:
            try:
                say(f"triton {version}: installing")
                python = make(version, Path(keep or scratch).absolute() / f"triton-{version}", Path(scratch))
                for target in targets:
                    say(f"triton {version}: compiling for {target}")
                    results.append(measure(version, python, target, Path(scratch)))
            except BrokenVersionError as error:
                say(f"triton {version}: {error}")
                results.append(Result(version, None, failed=(str(error),)))
    return results


def measure(asked: str, python: Path, target: str, scratch: Path) -> Result:
    """Run workers with that Python until each source is compiled or has failed. Raises BrokenVersionError."""
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    while True:
        about, new, reason = _run_worker(python, target, len(rows) + len(failed), scratch)
        rows += new
        if not (left := about["sources"][len(rows) + len(failed) :]):
            break
        failed.append(f"{left[0]}: {reason}")
    accesses: dict[str, int] = {row["name"]: row["access"] for row in rows if row["access"] is not None}
    failed += [f"{name}: loads or stores {bits} bits at once, not {ACCESS}" for name, bits in accesses.items() if bits < ACCESS]
    spills, registers, seconds = ([row[name] for row in rows] for name in ("spills", "registers", "seconds"))
    median = round(statistics.median(seconds), 3) if seconds else None
    numbers = (sum(spills), min(accesses.values(), default=None), max(registers, default=None), median)
    return Result(asked, target, about["versions"], len(rows), tuple(failed), *numbers)


def _run_worker(python: Path, target: str, first: int, scratch: Path) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """What the worker says about all sources, what it made of those from number `first` on, and why there are no more."""
    # Settings for the caller's triton are not for another one. The caches begin empty, or the seconds would not be those of compiling.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TRITON_")}
    variables |= dict.fromkeys(("TMPDIR", "GP_CACHE_DIR", "TRITON_CACHE_DIR"), str(scratch)) | {"PYTHONPATH": str(ROOT)}
    done = _run([str(python), "-c", f"from bench.triton_worker import work; work({target!r}, {first})"], variables)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    reason = _reason(done.stderr, done.returncode)
    if not lines:
        raise BrokenVersionError(f"its worker does not start: {reason}")
    return lines[0], lines[1:], reason


def _run(command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """As subprocess.run, but what the process has started is ended with it when interrupted: an assembler would still write its file."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=variables, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            output, errors = process.communicate()
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _reason(errors: str, status: int) -> str:
    """One line that says why a process ended, from its standard error."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    last = (errors.strip().splitlines() or [f"ended with status {status}"])[-1]
    raised = _RAISED.search(errors, errors.rfind('\n  File "')) if "Traceback" in errors else None
    # Errors of triton's front end begin with a place in the source, and end with what is wrong there.
    return last if raised is None or raised[0] == last else f"{raised[0]} ... {last}"


def print_results(results: Sequence[Result]) -> None:
    """A table on standard output, and below it what failed."""
    numbers = [Column(name, justify="right") for name in ("compiled", "failed", "spills", "access (bits)", "registers", "CPU time (ms)")]
    table = Table("triton", "target", *numbers, title=f"The project pins triton {pins()['triton']}", title_justify="left")
    for r in results:
        milliseconds = None if r.seconds is None else round(r.seconds * 1e3)
        cells = (r.versions.get("triton", r.asked), r.target, r.compiled, len(r.failed), r.spills, r.access, r.registers, milliseconds)
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    console = Console(width=None if Console().is_terminal else 160, highlight=False, markup=False)
    console.print(table)
    for line in [f"triton {r.asked}, {r.target or 'no target'}: {reason}" for r in results for reason in r.failed]:
        console.print(line, soft_wrap=True)


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    version: Annotated[list[str] | None, typer.Option(help="3.7, its newest patch release, or 3.7.1; may be repeated.")] = None,
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the environments there, and use those that are there.")] = None,
    file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the results to this file.")] = None,
) -> None:
    """Compile single kernels of ten functions, and groups, for every target with each release of triton. Status 1 where one fails."""
    results = matrix(version or VERSIONS, keep, say=partial(typer.echo, err=True))
    print_results(results)
    if file is not None:
        about = {name: machine()[name] for name in ("processor", "cores")}
        report = {"pinned": pins()["triton"], "machine": about, "kernels": [source.name for source in sources()]}
        rows = [asdict(result) for result in results]
        file.write_text(json.dumps(report | {"results": rows}, indent=1) + "\n", encoding="utf-8")
    if any(result.failed for result in results):
        raise typer.Exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a time-limit, too, leaves no environment behind
    app(prog_name="python -m bench.triton_versions")
