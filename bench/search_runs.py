"""`python -m bench.search_runs`: what a search finds. Whole runs of a preset with several seeds, evolution beside random search.

Each run has a directory under --out, so that an interrupted measurement goes on where it was, and runs that are there are not made
again. 5 seeds of each strategy take about half an hour on 2 cores with the preset quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench.measure import Row, Target, exactly, print_rows
from gp.evolution.hall import Entry
from gp.run import Run, resume, search
from gp.run_file import FILE
from gp.timing import Spread

_STRATEGIES: Final = ("gp", "random")
_RESAMPLES: Final = 10_000
_BETTER_THAN_GELU: Final = Target(0.8, at_least=True)
_BETTER_THAN_GELUSINE: Final = Target(0.6, at_least=True)
_GAIN: Final = Target(0.0, at_least=False)

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the runs are kept.")] = Path("runs/bench"),
    preset: Annotated[str, typer.Option(help="quick, standard or thorough.")] = "quick",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each strategy, from 0.")] = 5,
    evolution_only: Annotated[bool, typer.Option("--evolution-only", help="No random search.")] = False,
) -> None:
    """Run the preset with every seed, by evolution and by random search, and compare the best functions on unseen data sets."""
    found: dict[str, list[Run]] = {}
    for strategy in _STRATEGIES[: 1 if evolution_only else 2]:
        found[strategy] = []
        for seed in range(seeds):
            folder = out / f"{preset}-{strategy}-{seed}"
            settings = {"strategy": strategy, "seed": seed}
            run = resume(folder) if (folder / FILE).exists() else search(settings, preset=preset, out=folder, device="cpu")
            found[strategy].append(run)
            Console().print(f"{folder}: {_best(run).formula}", highlight=False)
        _print(strategy, found[strategy])
    rows = list(_against_known(found["gp"]))
    if "random" in found:
        rows.append(_against_random(found["gp"], found["random"]))
    print_rows(f"What the search finds, preset {preset}, {seeds} seeds, on unseen data sets", rows)


def _best(run: Run) -> Entry:
    return run.hall.entries[0]


def _unseen(entry: Entry) -> float:
    return float("nan") if entry.unseen_score is None else entry.unseen_score


def _print(strategy: str, runs: list[Run]) -> None:
    table = Table(title=f"The best function of each run, chosen by the data of the search ({strategy})", title_justify="left")
    for name in ("seed", "score", "unseen", "vs gelu", "gelusine", "formula"):
        table.add_column(name, justify="left" if name == "formula" else "right", overflow="fold")
    for run in runs:
        best, change = _best(run), _best(run).unseen_difference
        shown = "" if change is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*change)
        table.add_row(str(run.config.seed), f"{best.score:+.3f}", f"{_unseen(best):+.3f}", shown, f"{_gelusine(run):+.3f}", best.formula)
    Console(width=None if Console().is_terminal else 180).print(table)


def _gelusine(run: Run) -> float:
    return next(_unseen(entry) for entry in run.hall.baselines if entry.name == "gelusine")


def _against_known(runs: list[Run]) -> Any:
    sure = [_best(run).unseen_difference is not None and _best(run).unseen_difference[2] < 0 for run in runs]  # type: ignore[index]
    better = [_unseen(_best(run)) < _gelusine(run) for run in runs]
    for what, flags, target in (
        ("runs whose best is better than gelu, 95% interval without zero", sure, _BETTER_THAN_GELU),
        ("runs whose best is better than gelusine", better, _BETTER_THAN_GELUSINE),
    ):
        yield Row("search 1", what, "", f"{sum(flags)} of {len(flags)}", exactly(sum(flags) / len(flags)), "", target)


def _against_random(evolved: list[Run], random: list[Run]) -> Row:
    """The difference of the medians, evolution less random, and its 95% interval by bootstrap over runs."""
    a, b = (np.array([_unseen(_best(run)) for run in runs]) for runs in (evolved, random))
    rng = np.random.default_rng(0)
    drawn = [np.median(rng.choice(a, len(a))) - np.median(rng.choice(b, len(b))) for _ in range(_RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    shown = f"medians {np.median(a):+.3f} and {np.median(b):+.3f}, 95% [{low:+.3f}, {high:+.3f}]"
    change = float(np.median(a) - np.median(b))
    return Row("search 2", "best unseen score, evolution less random", "", shown, Spread(float(low), change, float(high)), "", _GAIN)


if __name__ == "__main__":
    app(prog_name="python -m bench.search_runs")
