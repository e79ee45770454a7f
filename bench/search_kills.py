"""`python -m bench.search_kills`: a run is killed (kill -9) at random moments and resumed each time; it must end as one that was not."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from gp.run_file import FILE, RunDirectoryError
from gp.run_reading import read_about

_SETTINGS: Final = (
    *("--population", "16", "--generations", "4", "--steps", "40", "--seed", "7", "--workers", "2", "--quiet"),
    *("--set", "stages=3", "--set", "islands=2", "--set", "tuned=2", "--set", "finalists=4", "--set", "hall=3"),
)  # fmt: skip

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    kills: Annotated[int, typer.Option(min=1, help="How often the run is killed.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Kill and resume, and compare the hall of fame byte by byte. Status 1 where it differs."""
    with tempfile.TemporaryDirectory() as place:
        whole, broken = Path(place, "whole"), Path(place, "broken")
        start = time.monotonic()
        subprocess.run(_run(whole), check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - start
        rng = random.Random(seed)
        done = 0
        while done < kills:
            if (broken / "hall_of_fame.json").exists():  # it came to its end between two kills: once more from the start
                _compare(whole, broken, done)
                shutil.rmtree(broken)
            process = subprocess.Popen(_go_on(broken), stdout=subprocess.DEVNULL)
            try:
                process.wait(rng.uniform(0.3, 0.5 * seconds))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                done += 1
        subprocess.run(_go_on(broken), check=True, stdout=subprocess.DEVNULL)
        _compare(whole, broken, done)
        Console().print(f"killed {done} times and resumed: the hall of fame is the same, byte for byte ({seconds:.1f} s without a kill)")


def _run(folder: Path) -> list[str]:
    return [sys.executable, "-m", "gp", "run", *_SETTINGS, "--out", str(folder)]


def _go_on(folder: Path) -> list[str]:
    """Resume where there is a record, else begin: a process can die before it has made one."""
    if (folder / FILE).exists():
        try:
            read_about(folder)
        except RunDirectoryError:
            shutil.rmtree(folder)
        else:
            return [sys.executable, "-m", "gp", "resume", str(folder), "--quiet"]
    shutil.rmtree(folder, ignore_errors=True)
    return _run(folder)


def _compare(whole: Path, broken: Path, kills: int) -> None:
    if (whole / "hall_of_fame.json").read_bytes() != (broken / "hall_of_fame.json").read_bytes():
        Console().print(f"after {kills} kills the hall of fame differs")
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m bench.search_kills")
