"""The finals: finalists are ranked on data sets that the search has not seen, and the best judged on others again.

The search picks the best of many noisy scores, which flatters them, and data sets differ by more than seeds do: the variance of a
paired difference is 0.98 between data sets and 0.31 between seeds. So there are three sets, as is usual: the search scores candidates on
one; finalists are ranked by the second ("selection"), and by the first again on other seeds; the third ("validation") judges what was
chosen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Steps, by_text
from gp.evolution.config import Config
from gp.evolution.genome import short_text
from gp.evolution.hall import BASELINES, REFERENCE, Compared, Difference, Entry, Hall, Measured, entry_of, known_as, text_by_name
from gp.lab.measure import outcome
from gp.lab.protocol import Measurement
from gp.lab.score import Outcome, difference, score
from gp.workers import Failure

_LONG: Final = re.compile(r"\d*\.\d{5,}(e[+-]?\d+)?")  # a number with more decimals than anybody wrote


def finals(finalists: Sequence[Candidate], config: Config) -> Steps[Hall]:
    """The hall of fame of a search whose best candidates these are."""
    known = {name: text_by_name(name) for name in BASELINES}
    texts: dict[str, Candidate] = {}
    for candidate in sorted(finalists, key=lambda c: c.rank):
        texts.setdefault(shown_text(candidate.text), candidate)
    missing: dict[str, str] = {}
    here = yield from _measure([*known.values(), *texts], "final", config.final, missing)
    elsewhere = yield from _measure([*known.values(), *texts], "selection", config.selection, missing)
    scores = {text: score(found, config.selection).score for text, found in elsewhere.items() if text in here}
    counts = len(config.final.instances), len(config.selection.instances)
    means = {t: float(np.average((score(here[t], config.final).score, scores[t]), weights=counts)) for t in texts if t in scores}
    ranked = sorted(means, key=lambda t: (means[t], len(t), t))
    best: dict[int, str] = {}  # of each structure: a finalist stands there with its own constants and with tuned ones
    for text in ranked:
        best.setdefault(texts[text].structure, text)
    chosen = list(best.values())[: config.hall]
    unseen = yield from _measure([*known.values(), *chosen], "validation", config.validation, missing)

    def entry(text: str, candidate: Candidate | None) -> Entry:
        selected = Compared(scores[text], _to_reference(text, elsewhere, config.selection))
        judged = Compared(score(unseen[text], config.validation).score, _to_reference(text, unseen, config.validation))
        found = score(here[text], config.final)
        return entry_of(text, candidate, found, _to_reference(text, here, config.final), selected, judged)

    baselines = tuple(entry(text, None) for text in known.values() if text in scores and text in unseen)
    entries = tuple(entry(t, texts[t]) for t in chosen if t in unseen)
    return Hall(entries, baselines, True, config.seed, Measured.of(config.final), missing)


def shown_text(text: str) -> str:
    """The program that stands for a finalist, and is measured: the shortest spelling, whose folded constants have four digits unless
    it is a function of the catalogue."""
    short = short_text(text)
    return short if known_as(short) else short_text(_LONG.sub(lambda found: f"{float(found[0]):.4g}", short))


def _to_reference(text: str, found: Mapping[str, Outcome], what: Measurement) -> Difference | None:
    """The difference to gelu, where both were measured."""
    reference = found.get(text_by_name(REFERENCE))
    return None if text not in found or reference is None else difference(found[text], reference, what)


def _measure(texts: Sequence[str], purpose: str, what: Measurement, missing: dict[str, str]) -> Steps[dict[str, Outcome]]:
    """What came of those programs all of whose networks could be trained; why not goes to `missing`, by the name of each other one."""
    texts = list(dict.fromkeys(texts))
    results = yield Batch(purpose, what, tuple((text, seed) for text in texts for seed in what.seeds))
    for k, result in enumerate(results):
        if isinstance(result, Failure):
            text = texts[k // len(what.seeds)]
            missing.setdefault(known_as(text) or text, result.reason)
    return {text: outcome(found) for text, found in by_text(texts, results, what).items()}
