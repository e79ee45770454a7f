"""`gp doctor`: what is installed, what this machine has, and which backends work here. The findings are made in diagnosis."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Versions, processor, threads, cache and devices; which backends are usable, and why not.

    Each backend is tried on a few numbers. The exit status is 1 if activations cannot run on the CPU.
    """
    from gp.cli.diagnosis import diagnose  # noqa: PLC0415 - takes torch, and seconds

    found = diagnose()
    if json_:
        typer.echo(json.dumps(found, indent=2))
    else:
        _print(found)
    if not found["backends"]["llvm"]["usable"]:
        raise typer.Exit(1)


def _print(found: dict[str, Any]) -> None:
    from rich.text import Text  # noqa: PLC0415

    from gp.cli.console import console, print_field  # noqa: PLC0415

    cpu, threads, cache = found["cpu"], found["threads"], found["cache"]
    print_field("versions", ", ".join(f"{name} {version or 'not installed'}" for name, version in found["versions"].items()))
    print_field(
        "processor",
        f"{cpu['name']}; LLVM calls it {cpu['llvm']}; {cpu['lanes']} float32 lanes; {' '.join(cpu['features']) or 'no vector extensions'}",
    )
    openmp = "torch's OpenMP threads" if threads["openmp"] else "threads of our own: torch's OpenMP was not found"
    print_field("threads", f"{threads['torch']} used, {threads['available']} processors available; kernels run on {openmp}")
    writable = "writable" if cache["writable"] else f"NOT USED, so that every process compiles again: {cache['problem']}"
    if cache["damaged"]:
        writable += f"; damaged files, which are made again: {cache['damaged']}"
    size = f"{cache['files']:,} files, {cache['bytes'] / 2**20:.1f} MiB of at most {cache['limit_bytes'] / 2**20:.0f}"
    print_field("cache", f"{cache['folder']} ({size}, {writable})")
    print_field(
        "devices",
        "\n".join(f"{d['name']}: {d['kind']}, {d['capability']}, {d['memory_bytes'] / 2**30:.0f} GiB" for d in found["devices"])
        or "no GPU",
    )
    print_field(
        "environment", "\n".join(f"{name}={value}" for name, value in found["environment"].items()) or "no variable set that matters here"
    )
    console().print("backends", style="bold")
    for name, state in found["backends"].items():
        mark = ("yes", "green") if state["usable"] else ("no", "red")
        console().print(Text.assemble(f"  {name:<10}", (f"{mark[0]:<5}", mark[1]), state["detail"]), soft_wrap=True)
