"""What a round says: whether the goals are met, and where the model of time is wrong, and by how much."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.gpu.measure import Row
from bench.gpu.round import notes, short

LARGE: Final = 1 << 27
_CLONE: Final = 0.95
_POPULATION: Final = 0.70
_RIVALS: Final = ("torch.compile", "Liger")


@dataclass(frozen=True, slots=True)
class Goal:
    """What was wanted, whether it is so (None: nothing was measured), and what is below."""

    name: str
    met: bool | None
    missed: tuple[str, ...]


def goals(rows: Sequence[Row]) -> list[Goal]:
    """The goals of the round. A ratio counts as missed where even its 80th percentile over rounds is below."""
    measured = [r for r in rows if r.measured_seconds]
    near = {f"{r.what}: {r.clone_share:.1%}": r.clone_share >= _CLONE for r in measured if _is_large(r) and r.clone_share is not None}
    rivals = [(r, name, r.times_ours[name]) for r in measured if r.section == "kernels" for name in _RIVALS if name in r.times_ours]
    faster = {f"{r.what}: {name} takes {middle:.2f} times as long": high >= 1.0 for r, name, (_, middle, high) in rivals}
    steps = [r for r in measured if r.kind == "training step" and r.ratio is not None]
    predicted = {f"{r.what}: {r.ratio:.0%}": r.ratio >= _POPULATION for r in steps if r.ratio is not None}
    return [
        _goal(f"pointwise kernels at {LARGE:,} elements reach {_CLONE:.0%} of a copy", near),
        _goal("no pass is slower than by torch.compile or Liger", faster),
        _goal(f"populations train at {_POPULATION:.0%} of the predicted rate", predicted),
    ]


def _is_large(r: Row) -> bool:
    return r.section == "kernels" and r.kind.endswith(f"{LARGE:,}")


def _goal(name: str, found: Mapping[str, bool]) -> Goal:
    return Goal(name, all(found.values()) if found else None, tuple(text for text, met in found.items() if not met))


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
        state = {True: "met", False: "NOT met", None: "not measured"}[goal.met]
        lines += [f"- {goal.name}: **{state}**", *(f"  - {text}" for text in goal.missed)]
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
