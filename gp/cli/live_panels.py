"""The parts of the live view: functions from what is known to lines of a given width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
from rich.text import Text

from gp.cli.finalists import MEASURED, Standing
from gp.cli.plots import panel, sparkline
from gp.cli.sampling import Curve
from gp.evolution.candidate import Candidate
from gp.tally import Passage

Lines = list[Text]
_BAR: Final = 20  # columns of the bars of funnel and operators; longer ones show no more
_CURVE: Final = 72  # columns of the curve
_NARROW: Final = 40  # columns; in fewer the cascade has no bars


def cut(width: int, *parts: str | tuple[str, str]) -> Text:
    """A line of exactly `width` columns; what does not fit ends in an ellipsis."""
    line = Text.assemble(*parts, no_wrap=True)
    line.truncate(max(0, width), overflow="ellipsis", pad=True)
    return line


def title(words: str, width: int) -> Text:
    """What a part is called."""
    return cut(width, (f"{words} ", "bold"), ("─" * max(0, width - len(words) - 1), "dim"))


def beside(left: Lines, right: Lines, widths: tuple[int, int], gap: int = 2) -> Lines:
    """Two parts side by side."""
    rows = max(len(left), len(right))
    pad = [[*part, *[cut(width)] * (rows - len(part))] for part, width in zip((left, right), widths, strict=True)]
    return [Text.assemble(a, " " * gap, b, no_wrap=True) for a, b in zip(*pad, strict=True)]


def clock(seconds: float) -> str:
    """As in 0:01:23."""
    return str(timedelta(seconds=round(seconds)))


def head(place: str, trained: int, speed: float | None, elapsed: float, left: float | None, width: int) -> Text:
    """Where the run is; on a narrow terminal without what the cascade says as well."""
    unit, count = (" measurements/s", f"  {trained} trained") if width >= 80 else ("/s", "")
    pace = f"{'?' if speed is None else f'{speed:.3g}'}{unit}"
    until = f"{'?' if left is None else clock(left)} left"
    return cut(width, (place, "bold cyan"), f"{count}  {pace}  {clock(elapsed)}  {until}")


def progress(share: float, doing: str, width: int) -> Text:
    """A bar over the whole run, and what is being done."""
    words = f" {share:4.0%}  {doing}"
    room = max(10, width - len(words))
    full = round(share * room)
    return cut(width, ("━" * full, "cyan"), ("━" * (room - full), "dim"), words)


def funnel(now: Mapping[str, Passage], total: Mapping[str, Passage], width: int) -> Lines:
    """The cascade: candidates that entered a stage and that completed it, in this generation and in all."""
    room = min(_BAR, width - 33) if width >= _NARROW else 0
    lines = [title("cascade", width), cut(width, (f"{'':<{9 + room}}{'generation':>11} {'in all':>12}", "dim"))]
    widest = max([1, *(p.entered for p in now.values())])
    for name, here in now.items():
        entered, completed = round(here.entered / widest * room), round(here.completed / widest * room)
        bar = ("█" * completed, "cyan"), ("█" * max(0, entered - completed), "dim"), " " * (room - max(entered, completed))
        passed = f"{f'{here.entered}→{here.completed}':>11} {f'{total[name].entered}→{total[name].completed}':>12}"
        lines.append(cut(width, f"{name:<9}", *bar, passed))
    return lines


def rejections(counts: Mapping[str, int], width: int, most: int) -> Lines:
    """Why candidates were rejected, the most frequent reasons."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
    shown = [cut(width, f"{reason:<{max(0, width - 8)}.{max(0, width - 8)}}{count:>8}") for reason, count in rows]
    return [title("rejected", width), *(shown or [cut(width, ("none", "dim"))])]


def operators(credit: Mapping[str, Mapping[str, Any]], width: int, most: int) -> Lines:
    """The operators with the largest shares of the children, and how many of theirs succeeded."""
    rows = sorted(credit.items(), key=lambda item: (-item[1]["share"], item[0]))[:most]
    name_width = max((len(name) for name in credit), default=0)
    room = max(0, min(_BAR, width - name_width - 18))
    lines = [title("operators", width)]
    for name, found in rows:
        full = round(found["share"] * room)
        bar = ("█" * full, "cyan"), " " * (room - full)
        lines.append(cut(width, f"{name:<{name_width}} ", *bar, f"{found['share']:>5.0%}{found['successes']:>6}/{found['children']}"))
    return lines


def best(candidate: Candidate | None, curve: Curve | None, stages: Sequence[str], width: int, height: int, words: str = "best") -> Lines:
    """The best function so far with its curve: of `height` lines, or of one where there are fewer than 4."""
    if candidate is None or candidate.score is None or curve is None:
        return [title(words, width), cut(width, ("nothing fits yet", "dim"))]
    facts = f"{candidate.differences[-1]:+.3f} to gelu, score {candidate.score.score:+.3f}"
    origin = f" ({stages[len(candidate.differences) - 1]}, generation {candidate.generation + 1})"
    lines = [title(words, width), cut(width, facts, (origin, "dim")), cut(width, (candidate.text, "green"))]
    columns = min(width, _CURVE)
    if height < 4:
        at = np.linspace(0, len(curve.value) - 1, columns).round().astype(int)
        return [*lines, cut(width, (sparkline(curve.value[at]), "cyan"))]
    return [*lines, *(cut(width, (line, "cyan")) for line in panel("", curve.x, curve.value, columns, height - 3)[1:])]


def finalists(standings: Sequence[Standing], width: int, most: int) -> Lines:
    """What is known so far of those that are measured again, the best first."""
    lines = [title("finalists so far", width), cut(width, ("  score  selection  unseen  formula", "dim"))]
    for s in standings[:most]:
        cells = [f"{s.scores[purpose]:+.3f}" if purpose in s.scores else "" for purpose in MEASURED]
        name = f"  ({s.name})" if s.name else ""
        lines.append(cut(width, f"{cells[0]:>7}{cells[1]:>11}{cells[2]:>8}  ", s.text, (name, "dim")))
    return lines


def front(candidates: Sequence[Candidate], stages: Sequence[str], width: int, most: int) -> Lines:
    """Candidates that none surpasses in fitness, cost and size at once, the best first."""
    lines = [title("Pareto front", width), cut(width, ("vs gelu  stage     cost  size  formula", "dim"))]
    for c in candidates[:most]:
        stage = stages[len(c.differences) - 1]
        lines.append(cut(width, f"{c.differences[-1]:+7.3f}  {stage:<8}{c.cost:>6}{c.size:>6}  ", c.text))
    return lines
