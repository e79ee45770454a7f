"""`gp compare`: activations against each other, by the networks of `gp lab`. What it shows is made in compare_table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gp.cli.choices import DeviceName
from gp.cli.errors import CommandError, warn
from gp.cli.lab_options import Data, Expressions, Fidelities, Fidelity, Json, Seeds, Set, WorkerCount, read_measurement, read_programs
from gp.cli.plain import say

if TYPE_CHECKING:
    from gp.cli.lab_report import Report
    from gp.lab.comparison import Pair
    from gp.lab.pool import Pool
    from gp.lab.protocol import Measurement
    from gp.lab.score import Outcome


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    expressions: Expressions,
    *,
    fidelity: Fidelity = Fidelities.STANDARD,
    seeds: Seeds = None,
    set_: Set = None,
    data: Data = None,
    device: DeviceName = "auto",
    workers: WorkerCount = None,
    json_: Json = None,
) -> None:
    """Compare activations with each other: which is better, by how much, and whether that could be chance.

    They are measured as in `gp lab`, with which this shares what is kept on disk. Two are compared in each family of data sets;
    more are ranked, with the difference of every one to every other. Ctrl-C (status 130) loses little.
    """
    from gp.cli.lab_report import Report  # noqa: PLC0415 - `gp --help` does without what these import
    from gp.cli.output import check_output  # noqa: PLC0415
    from gp.lab import comparison  # noqa: PLC0415
    from gp.lab.evaluation import row  # noqa: PLC0415
    from gp.lab.pool import open_pool  # noqa: PLC0415
    from gp.lab.score import Outcome, score  # noqa: PLC0415
    from gp.workers import cores  # noqa: PLC0415

    if json_ is not None:
        check_output("--json", json_)
    programs = _different(expressions)
    what, source = read_measurement(fidelity, seeds, set_, data)
    with open_pool(device, workers or cores(), say=warn) as pool:
        results = _measure(programs, what, pool)
    found = {name: result for name, result in results.items() if isinstance(result, Outcome)}
    if len(found) < 2:
        reasons = "; ".join(f"{name} has no score: {result}" for name, result in results.items() if isinstance(result, str))
        raise CommandError(f"there are no two activations to compare, since {reasons}")
    best = min(found.values(), key=lambda outcome: score(outcome, what).score)
    rows = [{"expression": name, "program": programs[name], **row(result, best, what)} for name, result in results.items()]
    report = Report(what, fidelity.value, source, pool.method, tuple(programs), rows)
    _show(report, comparison.compare(found, what), json_)


def _different(expressions: Sequence[str]) -> dict[str, str]:
    """Canonical text by name, of each function once. Raises CommandError unless there are two."""
    if len(expressions) < 2:
        raise CommandError(f"give at least two activations, as in: gp compare {expressions[0]} silu (gp lab scores one)")
    programs: dict[str, str] = {}
    names: dict[object, str] = {}
    repeated = []
    for name, text, named in read_programs(expressions):
        function = named.function
        first = names.setdefault((function.key, function.constants, function.parameters), name)
        if first in programs:
            repeated.append(f"{name} is there twice" if name == first else f"{name} is the same function as {first}")
        else:
            programs[first] = text
    if len(programs) < 2:
        raise CommandError(f"{'; '.join(repeated)}; give another one to compare {expressions[0]} with")
    for message in repeated:
        say(f"gp: {message}; it is compared once", error=True)
    return programs


def _measure(programs: Mapping[str, str], what: Measurement, pool: Pool) -> dict[str, Outcome | str]:
    """By name, what came of each activation's networks or why there is nothing."""
    from gp.cli.lab_progress import measuring  # noqa: PLC0415
    from gp.lab.evaluation import outcomes  # noqa: PLC0415

    names, texts = list(programs), list(programs.values())
    with measuring(dict(zip(texts, names, strict=True)), what, pool.method) as on_seed:
        found = dict(outcomes(texts, what, pool, on_seed=on_seed))
    return {name: found[k] for k, name in enumerate(names)}


def _show(report: Report, pairs: list[Pair], json_: Path | None) -> None:
    """Write the file and print the tables."""
    from gp.cli.compare_table import print_pair, print_ranking  # noqa: PLC0415
    from gp.cli.output import write_output  # noqa: PLC0415

    if json_ is not None:
        text = report.to_json(pairs=[asdict(pair) for pair in pairs])
        write_output(json_, lambda path: path.write_text(text, encoding="utf-8"))
    if len(report.rows) == 2:
        print_pair(report, pairs[0])
    else:
        print_ranking(report, pairs)
    if json_ is not None:
        say(f"wrote {json_}")
