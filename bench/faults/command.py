"""`python -m bench.faults`: faults of processes, disks and files are injected, one kind after the other, and what comes of them is judged.

    python -m bench.faults                   all kinds: a table of what was done, said and lost; status 1 if something is not right
    python -m bench.faults --only "kill -9"  those that have these words in their name
    python -m bench.faults --damaged 500     so many damaged records and so many damaged caches instead

A run that goes on after a fault has to end with the hall of fame of one that met none, byte for byte.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from bench.faults import damage, disks, folders, signals, surroundings
from bench.faults.damaged import damaged_caches, damaged_records
from bench.faults.kinds import Kind, Row, carry_out, missing
from bench.faults.scene import Base, Scene
from gp.cli.plain import say

KINDS: Final[tuple[Kind, ...]] = (*signals.KINDS, *disks.KINDS, *folders.KINDS, *damage.KINDS, *surroundings.KINDS)

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


def carry_out_all(kinds: Sequence[Kind], base: Base, folder: Path, *, seed: int) -> Iterator[Row]:
    """What comes of kinds, one after the other; those that cannot be injected here are left out."""
    for kind in kinds:
        if not missing(kind.needs):
            place = Path(tempfile.mkdtemp(dir=folder))
            yield carry_out(kind, Scene(base, place / "scene", random.Random(f"{seed} {kind.name}")))


@app.command()
def main(
    only: Annotated[str, typer.Option(help="Words in the names of the kinds that are wanted.")] = "",
    seed: Annotated[int, typer.Option(help="Of the moments, and of what is damaged.")] = 0,
    damaged: Annotated[int, typer.Option(min=0, help="So many damaged records and so many damaged caches, and no kinds.")] = 0,
) -> None:
    """Inject faults and judge what comes of them. Status 1 if something is not right."""
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        (folder / "cache").mkdir(mode=0o700)
        base = Base(folder, folder / "cache")
        if damaged:
            records = damaged_records([base.whole, base.half], folder, damaged, seed=seed)
            say(str(records))
            caches = damaged_caches(base, folder, damaged, seed=seed)
            say(str(caches))
            raise typer.Exit(1 if records.faults or caches.faults else 0)
        kinds = [kind for kind in KINDS if only in kind.name]
        rows = []
        for row in carry_out_all(kinds, base, folder, seed=seed):
            rows.append(row)
            say(_line(row))
        for kind in kinds:
            if reason := missing(kind.needs):
                say(f"left out     {kind.name}: needs {kind.needs}, but {reason}")
        wrong = sum(bool(row.faults) for row in rows)
        say(f"{len(rows)} kinds of fault, {len(kinds) - len(rows)} left out, {wrong} not right, {sum(row.seconds for row in rows):.0f} s")
    raise typer.Exit(1 if wrong else 0)


def _line(row: Row) -> str:
    """What was done, how it ended, what was lost and said; what is wrong with it on lines of their own."""
    verdict = "FAULT" if row.faults else "ok"
    line = f"{verdict:<6}{row.said.status:>5}  {row.kind.name:<64} lost: {row.lost:<20} {row.said.first[:110]}"
    return "\n".join((line, *(f"      {fault}" for fault in row.faults)))
