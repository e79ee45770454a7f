"""Measuring candidates over seeds, in worker processes, with what was measured before taken from disk.

Everything is paired: networks, data and seeds are the same for all candidates. What one run has measured the next finds, so an
interrupted measurement goes on when it is asked for again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from gp.lab.measure import Backend, ResultCache, SeedResult, outcome
from gp.lab.protocol import FidelityName, Measurement, ProtocolName, measurement
from gp.lab.score import Outcome, difference, score
from gp.workers import Failure, Job, Workers
from grammar import catalog, format_program
from kernels.programs import program

BASELINE: Final = "gelu"
_EAGER_LIMIT: Final = 100.0  # times as long as compiled code may take
OnSeed = Callable[[str, int], None]


def outcomes(
    texts: Sequence[str], what: Measurement, workers: Workers, *, backend: Backend = "compiled", on_seed: OnSeed | None = None
) -> Iterator[tuple[int, Outcome | str]]:
    """(number of the text, what came of its networks or why there is nothing) as each is done; what is on disk first.

    `on_seed` is told of every seed of a text that is done, found or measured.
    """
    cache = ResultCache(what, backend)
    found: dict[tuple[int, int], SeedResult | Failure] = {}
    missing: list[tuple[int, int]] = []
    for k, text in enumerate(texts):
        for seed in what.seeds:
            known = cache.get(text, seed)
            if known is None:
                missing.append((k, seed))
            else:
                found[k, seed] = known

    def finished(k: int) -> Outcome | str | None:
        results = [found.get((k, seed)) for seed in what.seeds]
        reason = next((r.reason for r in results if isinstance(r, Failure)), None)
        if reason is not None:
            return reason
        done = [r for r in results if isinstance(r, SeedResult)]
        return outcome(done) if len(done) == len(what.seeds) else None

    reported = set()
    for k, text in enumerate(texts):
        if on_seed is not None:
            for seed in what.seeds:
                if (k, seed) in found:
                    on_seed(text, seed)
        result = finished(k)
        if result is not None:
            reported.add(k)
            yield k, result
    limit = what.limit * (_EAGER_LIMIT if backend == "eager" else 1.0)
    jobs = [Job("gp.lab.measure:measure_seed", (texts[k], what, seed, backend), limit) for k, seed in missing]
    for number, result in workers.run(jobs):
        k, seed = missing[number]
        found[k, seed] = result
        if isinstance(result, SeedResult):
            cache.put(texts[k], seed, result)
        if on_seed is not None:
            on_seed(texts[k], seed)
        total = finished(k)
        if total is not None and k not in reported:
            reported.add(k)
            yield k, total


def canonical(expression: str) -> str:
    """The program text that a catalogue name, an `.act` file or an expression stands for. Raises DSLError, FileNotFoundError."""
    return format_program(program(catalog.load_text(expression)).function.program, separator="; ")


def evaluate(
    expressions: Sequence[str],
    fidelity: FidelityName = "standard",
    *,
    data: Any = "search",
    seeds: Sequence[int] | None = None,
    protocol: ProtocolName = "lab-v1",
    workers: int | None = None,
    backend: Backend = "compiled",
    on_seed: OnSeed | None = None,
) -> list[dict[str, Any]]:
    """Score activations in the lab: a row for each, in the order given; `pandas.DataFrame(rows)` makes a table of them.

    `expressions`: texts, catalogue names or `.act` files. `data`: "search", "validation" or a tuple of instances. `seeds`: those
    of data and weights, by default 0, 1, ... as many as the fidelity has. `workers`: processes, by default one a core.

    A row has `expression`, `score` (lower is better, 0 is as bad as a constant), `difference` to gelu with its 95% interval `low`
    to `high`, `inward`, `outward`, a score for each family, `fit` (the mean of ln(ID MSE/variance)) and whether it `fits`,
    `ood_loss`, `diverged`, `seconds` of training, all seeds together, and `reason`: why there is no score, or None. Raises DSLError
    (a ValueError) for a mistake in an expression, before anything is trained.
    """
    what = measurement(fidelity, data=data, seeds=None if seeds is None else tuple(seeds), protocol=protocol)
    texts = [canonical(e) for e in expressions]
    everything = list(dict.fromkeys([*texts, canonical(BASELINE)]))
    with Workers(workers or os.cpu_count() or 1) as pool:
        found = {everything[k]: result for k, result in outcomes(everything, what, pool, backend=backend, on_seed=on_seed)}
    baseline = found[canonical(BASELINE)]
    return [row(e, found[t], baseline, what) for e, t in zip(expressions, texts, strict=True)]


def row(expression: str, found: Outcome | str, baseline: Outcome | str, what: Measurement) -> dict[str, Any]:
    """What is reported of a candidate; see `evaluate`."""
    families = dict.fromkeys(i.family for i in what.instances)
    if isinstance(found, str):
        names = ("score", "difference", "low", "high", "inward", "outward", *families, "fit", "fits", "ood_loss", "diverged", "seconds")
        return {"expression": expression, **dict.fromkeys(names), "reason": found}
    result = score(found, what)
    change = (None, None, None) if isinstance(baseline, str) else difference(found, baseline, what)
    return {
        "expression": expression,
        "score": result.score,
        **dict(zip(("difference", "low", "high"), change, strict=True)),
        "inward": result.inward,
        "outward": result.outward,
        **result.families,
        "fit": result.fit,
        "fits": result.fit <= what.gate,
        "ood_loss": result.ood_loss,
        "diverged": result.diverged,
        "seconds": result.seconds,
        "reason": None,
    }
