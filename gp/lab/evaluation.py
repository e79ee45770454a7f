"""Measuring candidates over seeds, in worker processes, with what was measured before taken from disk.

Everything is paired: networks, data and seeds are the same for all candidates. What one run has measured the next finds, so an
interrupted measurement goes on when it is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from gp.lab.data import DataError, Instance, SetName
from gp.lab.measure import Backend, Method, ResultCache, SeedResult, outcome
from gp.lab.pool import Pool, open_pool
from gp.lab.protocol import FidelityName, Measurement, ProtocolName, measurement
from gp.lab.score import Outcome, difference, score
from gp.workers import Failure, cores
from grammar import catalog, format_program
from kernels.programs import program

BASELINE: Final = "gelu"
# The columns of a row, before and after those of the families.
_BEFORE: Final = ("score", "difference", "low", "high", "inward", "outward")
_AFTER: Final = ("fit", "fits", "ood_loss", "diverged", "seconds", "reason")
OnSeed = Callable[[str, int], None]


def outcomes(texts: Sequence[str], what: Measurement, pool: Pool, *, on_seed: OnSeed | None = None) -> Iterator[tuple[int, Outcome | str]]:
    """(number of the text, what came of its networks or why there is nothing) as each is done; what is on disk first.

    `on_seed` is told of every seed of a text that is done, found or measured.
    """
    cache = ResultCache(what, pool.method)
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

    for k, text in enumerate(texts):
        if on_seed is not None:
            for seed in what.seeds:
                if (k, seed) in found:
                    on_seed(text, seed)
        result = finished(k)
        if result is not None:
            yield k, result
    reported = set()
    for number, measured in pool.measure([(texts[k], seed) for k, seed in missing], what):
        k, seed = missing[number]
        found[k, seed] = measured
        if isinstance(measured, SeedResult):
            cache.put(texts[k], seed, measured)
        if on_seed is not None:
            on_seed(texts[k], seed)
        total = finished(k)
        if total is not None and k not in reported:
            reported.add(k)
            yield k, total


def known(texts: Sequence[str], what: Measurement, method: Method = "compiled") -> int:
    """How many results, one for each text and seed, are on disk."""
    cache = ResultCache(what, method)
    return sum(cache.get(text, seed) is not None for text in texts for seed in what.seeds)


def canonical(expression: str) -> str:
    """The program text that a catalogue name, an `.act` file or an expression stands for. Raises DSLError, FileNotFoundError."""
    return format_program(program(catalog.load_text(expression)).function.program, separator="; ")


def evaluate(
    expressions: Sequence[str],
    fidelity: FidelityName = "standard",
    *,
    data: tuple[Instance, ...] | SetName = "search",
    seeds: Sequence[int] | None = None,
    protocol: ProtocolName = "lab-v1",
    device: str = "auto",
    workers: int | None = None,
    backend: Backend = "compiled",
    on_seed: OnSeed | None = None,
) -> list[dict[str, Any]]:
    """Score activations in the lab: a row for each, in the order given; `pandas.DataFrame(rows)` makes a table of them.

    `expressions`: texts, catalogue names or `.act` files. `data`: "search", "validation" or a tuple of instances. `seeds`: those
    of data and weights, by default 0, 1, ... as many as the fidelity has. `device`: "cpu", "cuda" (all GPUs), "cuda:1" or several such as
    "cuda:0,cuda:2"; "auto" are the GPUs, if there are any that work. Theirs are other numbers than the CPU's in the last digits.
    `workers`: processes on the CPU, by default one a core.

    A row has `expression`, the `program` that it stands for, `score` (lower is better, 0 is as bad as a constant), `difference` to
    gelu with its 95% interval `low` to `high`, `inward`, `outward`, a score for each family, `fit` (the mean of ln(ID MSE/variance))
    and whether it `fits` (None under `paper`, which has no gate), `ood_loss`, `diverged`, `seconds` of training, all seeds together,
    and `reason`: why there is no score, or None. Raises ValueError, before anything is trained, for a mistake in an expression (as
    DSLError) or another argument, a device (as DeviceError) included.
    """
    if isinstance(expressions, str):
        raise ValueError(f"expressions is a list of texts, as in: evaluate([{expressions!r}])")
    what = measurement(fidelity, data=data, seeds=None if seeds is None else tuple(seeds), protocol=protocol)
    programs = [(e, canonical(e)) for e in expressions]
    with open_pool(device, workers or cores(), backend=backend) as pool:
        return evaluate_programs(programs, what, pool, on_seed=on_seed)


def evaluate_programs(
    programs: Sequence[tuple[str, str]], what: Measurement, pool: Pool, *, on_seed: OnSeed | None = None
) -> list[dict[str, Any]]:
    """`evaluate` for pairs of an expression, as it is to be called in its row, and its canonical text."""
    _check(what)
    everything = list(dict.fromkeys([*(text for _, text in programs), canonical(BASELINE)]))
    found = {everything[k]: result for k, result in outcomes(everything, what, pool, on_seed=on_seed)}
    baseline = found[canonical(BASELINE)]
    return [{"expression": e, "program": text, **row(found[text], baseline, what)} for e, text in programs]


def _check(what: Measurement) -> None:
    """Raise ValueError for data and seeds that no score can be made of."""
    if not what.instances or not what.seeds:
        raise ValueError(f"there are no {'seeds' if what.instances else 'data sets'} to measure on; give at least one")
    if min(what.seeds) < 0 or len(set(what.seeds)) < len(what.seeds):
        raise ValueError(f"the seeds {', '.join(map(str, what.seeds))} are not different numbers from 0 on")
    for i in what.instances:
        if i.family in ("expression", "program", *_BEFORE, *_AFTER):
            raise DataError(f"{i.name}: a family cannot be called '{i.family}', which is a column of the results; choose another name")


def row(found: Outcome | str, baseline: Outcome | str, what: Measurement) -> dict[str, Any]:
    """What is reported of a candidate besides its name; see `evaluate`."""
    families = dict.fromkeys(i.family for i in what.instances)
    if isinstance(found, str):
        return {**dict.fromkeys([*_BEFORE, *families, *_AFTER]), "reason": found}
    result = score(found, what)
    change = (None, None, None) if isinstance(baseline, str) else difference(found, baseline, what)
    values = (result.score, *change, result.inward, result.outward)
    # The gate is a bound on errors of standardised data.
    fits = result.fit <= what.gate if what.standardise else None
    after = (result.fit, fits, result.ood_loss, result.diverged, result.seconds, None)
    return {**dict(zip(_BEFORE, values, strict=True)), **result.families, **dict(zip(_AFTER, after, strict=True))}
