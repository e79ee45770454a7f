"""What `gp compare` prints: two activations family by family, or a ranking of more with the difference of every one to every other."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

from rich import box
from rich.table import Table

from gp.cli.lab_report import Report, Row
from gp.cli.lab_table import Column, print_columns, score_column, table_console
from gp.lab.comparison import Effect, Pair, Verdict

_INTERVAL: Final = "with its 95% interval by paired bootstrap"
_WINS: Final = "the share of networks, one for each data set and seed, that are better than with {}; ties count half"
_VERDICT: Final = "better or worse where the interval leaves out 0, after Holm's correction for all {}"
_SENTENCES: Final[dict[Verdict, str]] = {
    "better": "{} is better than {}.",
    "worse": "{} is worse than {}.",
    "no difference": "No difference between {} and {} could be seen.",
    "too few": "There are too few data sets and seeds to tell {} from {}; --seeds 0:8 are enough.",
    "equal": "{} and {} are equal on every network.",
}


def print_pair(report: Report, pair: Pair) -> None:
    """Print two activations: a row for each family, one for all data sets, and a sentence."""
    out = table_console()
    rows = {row["expression"]: row for row in report.rows}
    for letter, name in (("A", pair.first), ("B", pair.second)):
        out.print("; ".join([f"{letter}: {name}", *report.notes(rows[name])]))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for header in ("", "A", "B", "A less B", "A wins", "A is"):
        table.add_column(header, justify="left" if header in ("", "A is") else "right", no_wrap=True)

    def add(label: str, key: str, effect: Effect) -> None:
        scores = (f"{rows[name][key]:+.3f}" for name in (pair.first, pair.second))
        table.add_row(label, *scores, _interval(effect), f"{effect.wins:.0%}", effect.verdict)

    if len(pair.families) > 1:
        for family, effect in pair.families.items():
            add(family, family, effect)
        table.add_section()
    add("all", "score", pair.total)
    out.print(table)
    out.print(_SENTENCES[pair.total.verdict].format(pair.first, pair.second), style="bold")
    out.print(f"{report.title}; lower is better")
    out.print(f"A, B: {score_column().meaning}", style="dim")
    out.print(f"A less B: the difference, {_INTERVAL}", style="dim")
    out.print(f"A wins: {_WINS.format('B')}", style="dim")
    out.print(f"A is: {_VERDICT.format('families together')}", style="dim")


def print_ranking(report: Report, pairs: list[Pair]) -> None:
    """Print three activations or more, the best first: a row for each, with its differences to the best, the next and all others."""
    known = {(pair.first, pair.second): pair for pair in (*pairs, *(pair.turned for pair in pairs))}
    ranking = [row["expression"] for row in report.rows if row["score"] is not None]
    best, following = ranking[0], dict(itertools.pairwise(ranking))

    def against(other: str | None, text: Callable[[Pair], str], header: str, meaning: str = "") -> Column:
        """What `text` says of a row and another activation (None: the next), where these are a pair."""

        def cell(row: Row) -> str:
            name = row["expression"]
            pair = known.get((name, other or following.get(name, "")))
            return "" if pair is None else text(pair)

        return Column(header, cell, meaning)

    def in_family(family: str) -> Column:
        return against(best, lambda pair: _marked(pair.families[family]), family)

    families = report.families if len(report.families) > 1 else []
    columns = [
        score_column(),
        against(best, lambda pair: _interval(pair.total), "vs best", f"the score less that of the best, {_INTERVAL}"),
        against(best, lambda pair: f"{pair.total.wins:.0%}", "wins", _WINS.format("the best")),
        against(best, lambda pair: pair.total.verdict, "verdict", _VERDICT.format(f"{len(pairs)} pairs together")),
        against(None, lambda pair: _interval(pair.total), "vs next", "the same, less that of the next in the table"),
        *map(in_family, families),
        *(against(name, lambda pair: _marked(pair.total), f"vs {rank}") for rank, name in enumerate(ranking, 1)),
    ]
    print_columns(report, columns)
    out = table_console()
    if families:
        out.print(f"{', '.join(families)}: the score in it less that of the best; * as in verdict, for all families together", style="dim")
    out.print("vs 1 and so on: the score less that of the rank; * where the verdict is better or worse", style="dim")


def _interval(effect: Effect) -> str:
    return "0" if effect.verdict == "equal" else f"{_signed(effect.difference)} [{_signed(effect.low)}, {_signed(effect.high)}]"


def _marked(effect: Effect) -> str:
    return _signed(effect.difference) + ("*" if effect.verdict in ("better", "worse") else " ")


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"  # never -0.000
