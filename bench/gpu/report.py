"""What a round says: whether the goals are met, and where the model of time is wrong, and by how much."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.gpu.measure import Row
from bench.gpu.round import NOT_MEASURED, notes, short

LARGE: Final = 1 << 27
_CLONE: Final = 0.95
_POPULATION: Final = 0.70
_RIVALS: Final = ("torch.compile", "Liger")


@dataclass(frozen=True, slots=True)
class Goal:
    """What was wanted; `met` is None where nothing is missed but something was not measured. `missed`: what is below, or failed."""

    name: str
    measured: int
    wanted: int
    missed: tuple[str, ...]

    @property
    def met(self) -> bool | None:
        return False if self.missed else True if self.measured == self.wanted > 0 else None

    def __str__(self) -> str:
        state = {True: "met", False: f"NOT met, {len(self.missed)} below", None: "not known"}[self.met]
        return f"{self.name}: {state} ({self.measured} of {self.wanted} measured)"


def goals(rows: Sequence[Row]) -> list[Goal]:
    """The goals of the round. A pass counts as slower where even the 80th percentile of the rival's time over ours is below 1."""
    kernels = [r for r in rows if r.section == "kernels"]
    large, steps = [r for r in kernels if _is_large(r)], [r for r in rows if r.kind == "training step"]
    return [
        _goal(f"pointwise kernels at {LARGE:,} elements reach {_CLONE:.0%} of a copy", large, _far_from_copy),
        _goal("no pass is slower than by torch.compile or Liger", kernels, _slower),
        _goal(f"populations train at {_POPULATION:.0%} of the predicted rate", steps, _behind),
    ]


def _is_large(r: Row) -> bool:
    """One of the functions of x alone, at the largest size."""
    return r.kind.endswith(f"{LARGE:,}") and not r.what.startswith("turbulent")


def _goal(name: str, rows: Sequence[Row], missed: Callable[[Row], list[str]]) -> Goal:
    measured = [r for r in rows if not r.error.startswith(NOT_MEASURED)]
    failed = [f"{r.what}: {r.error}" for r in measured if r.error]
    return Goal(name, len(measured), len(rows), (*failed, *(text for r in measured if not r.error for text in missed(r))))


def _far_from_copy(r: Row) -> list[str]:
    return [f"{r.what}: {r.clone_share:.1%}"] if r.clone_share is not None and r.clone_share < _CLONE else []


def _slower(r: Row) -> list[str]:
    rivals = {name: r.times_ours[name] for name in _RIVALS if name in r.times_ours}
    return [f"{r.what}: {name} takes {middle:.2f} times as long" for name, (_, middle, high) in rivals.items() if high < 1.0]


def _behind(r: Row) -> list[str]:
    return [f"{r.what}: {r.ratio:.0%}"] if r.ratio is not None and r.ratio < _POPULATION else []


@dataclass(frozen=True, slots=True)
class ModelError:
    """Predicted over measured, of the rows of one kind: 1 is right, less is too fast a prediction."""

    kind: str
    rows: int
    low: float
    median: float
    high: float


def model_errors(rows: Sequence[Row]) -> list[ModelError]:
    """The model's errors by kind of row, in the order of the rows."""
    by_kind: dict[str, list[float]] = {}
    for r in rows:
        if r.ratio is not None:
            by_kind.setdefault(r.kind or r.section, []).append(r.ratio)
    return [ModelError(kind, len(found), min(found), statistics.median(found), max(found)) for kind, found in by_kind.items()]


def markdown(about: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The whole round as a page."""
    title = f"# A round on {about.get('name', 'no card')}"
    facts = {"date": about.get("date"), "command": about.get("command"), **about.get("machine", {}), **about.get("versions", {})}
    lines = [title, "", ", ".join(f"{key} {value}" for key, value in facts.items() if value), "", "## Goals", ""]
    for goal in goals(rows if about["measured"] else ()):
        lines += [f"- {goal}", *(f"  - {text}" for text in goal.missed)]
    lines += ["", "## Where the model of time is wrong", "", *_table(("kind", "rows", "predicted/measured", "from", "to"))]
    lines += [f"| {e.kind} | {e.rows} | {e.median:.2f} | {e.low:.2f} | {e.high:.2f} |" for e in model_errors(rows)]
    for section in dict.fromkeys(r.section for r in rows):
        lines += ["", f"## {section.capitalize()}", "", *_table(("what", "unit", "predicted", "measured", "returned after", "notes"))]
        for r in (r for r in rows if r.section == section):
            host = short(next(iter(r.host.values()), None))
            cells = (r.what, r.unit, short(r.predicted_seconds), short(r.measured_seconds), host, notes(r))
            lines.append(f"| {' | '.join(str(cell).replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in cells)} |")
    return "\n".join([*lines, ""])


def _table(names: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
