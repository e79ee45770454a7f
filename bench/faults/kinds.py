"""What a kind of fault is: how it is injected, and what is right."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bench.faults.scene import HALL, Inject, Results, Said, Scene

TRACEBACK: Final = "Traceback (most recent call last)"
_MOST_MESSAGES: Final = 2  # one for each thing that is the matter; the cache and the event log may both be


class End(StrEnum):
    """What becomes of the run."""

    SAME = "it ends, as it would have"
    RESUMED = "it is resumed, and ends as it would have"
    OTHER = "it ends, without a candidate that was lost"
    NONE = "there is none"


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault. `says`: a pattern of the first line that its user sees, empty where nothing is to be said; `needs`: see `missing`."""

    name: str
    inject: Inject
    status: tuple[int, ...]
    says: str
    end: End = End.NONE
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a fault: the exit status, the first line that was said, what was lost, and what is wrong with that."""

    kind: Kind
    said: Said
    lost: str
    faults: tuple[str, ...]
    seconds: float


def carry_out(kind: Kind, scene: Scene) -> Row:
    """Inject a fault, let the run go on where it can, and judge."""
    start = time.monotonic()
    said = kind.inject(scene)
    faults = _of_words(kind, said)
    scene.note()
    if kind.end is End.RESUMED:
        again = scene.resume()
        if again.status != 0 or again.errors.strip():
            faults.append(f"resuming ends with status {again.status}: {again.first}")
    if kind.end in (End.SAME, End.RESUMED) and not faults:
        faults += _of_the_hall(scene)
    lost = _lost(scene.seen, scene.results()) if kind.end in (End.SAME, End.RESUMED) else 0
    if lost:
        faults.append(f"{lost} results were lost")
    if orphans := scene.left_behind():
        faults.append(f"{len(orphans)} processes are left behind")
    if TRACEBACK in (errors := scene.said_by_anyone()):
        faults.append(f"a traceback: {errors.strip().splitlines()[-1]}")
    told = f"{lost} of {len(scene.seen)} results" if scene.seen and kind.end is not End.NONE else "nothing"
    return Row(kind, said, told, tuple(faults), time.monotonic() - start)


def missing(needs: str) -> str:
    """Why a kind that needs something cannot be injected here; empty where it can."""
    from bench.faults.privileges import REASONS  # noqa: PLC0415 - asks the system once

    return REASONS.get(needs, "")


def _of_words(kind: Kind, said: Said) -> list[str]:
    faults = []
    if said.status not in kind.status:
        faults.append(f"status {said.status} is not {' or '.join(map(str, kind.status))}")
    if kind.says and not re.search(kind.says, said.first):
        faults.append(f"it does not say {kind.says!r}")
    elif not kind.says and said.errors.strip():
        faults.append("it says something")
    messages = sum(line.startswith("gp: ") for line in said.errors.splitlines())
    if messages > _MOST_MESSAGES:
        faults.append(f"{messages} messages")
    return faults


def _of_the_hall(scene: Scene) -> list[str]:
    path = scene.run / HALL
    if not path.exists():
        return ["there is no hall of fame"]
    return [] if path.read_bytes() == scene.base.hall else ["the hall of fame is another one"]


def _lost(before: Results, after: Results) -> int:
    """How many results are not there any more, or were measured once more: then they took another time."""
    return sum(after.get(key) != row for key, row in before.items())
