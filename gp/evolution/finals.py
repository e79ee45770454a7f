"""The finals: finalists and known functions are measured on seeds that the search has not seen, and the best on unseen data as well.

The search picks the best of many noisy scores, which flatters them; so what it found counts only after this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Steps
from gp.evolution.config import Config
from gp.evolution.genome import short_text
from gp.evolution.hall import BASELINES, REFERENCE, Difference, Entry, Hall, Measured, entry_of, text_by_name
from gp.lab.measure import SeedResult, outcome
from gp.lab.protocol import Measurement
from gp.lab.score import Outcome, difference, score


def finals(finalists: Sequence[Candidate], config: Config) -> Steps[Hall]:
    """The hall of fame of a search whose best candidates these are."""
    known = {name: text_by_name(name) for name in BASELINES}
    texts: dict[str, Candidate] = {}
    for candidate in sorted(finalists, key=lambda c: c.rank):
        texts.setdefault(short_text(candidate.text), candidate)
    here = yield from _measure([*known.values(), *texts], "final", config.final)
    scores = {text: score(found, config.final) for text, found in here.items()}
    ranked = sorted(texts.keys() & scores.keys(), key=lambda t: (scores[t].score, len(t), t))
    best: dict[int, str] = {}  # of each structure: a finalist stands there with its own constants and with tuned ones
    for text in ranked:
        best.setdefault(texts[text].structure, text)
    chosen = list(best.values())[: config.hall]
    unseen = yield from _measure([*known.values(), *chosen], "validation", config.unseen)

    def entry(text: str, candidate: Candidate | None) -> Entry:
        again = score(unseen[text], config.unseen).score if text in unseen else None
        changes = _to_reference(text, here, config.final), _to_reference(text, unseen, config.unseen)
        return entry_of(text, candidate, scores[text], changes[0], again, changes[1])

    baselines = tuple(entry(text, None) for text in known.values() if text in scores)
    return Hall(tuple(entry(text, texts[text]) for text in chosen), baselines, True, config.seed, Measured.of(config.final))


def _to_reference(text: str, found: Mapping[str, Outcome], what: Measurement) -> Difference | None:
    """The difference to gelu, where both were measured."""
    reference = found.get(text_by_name(REFERENCE))
    return None if text not in found or reference is None else difference(found[text], reference, what)


def _measure(texts: Sequence[str], purpose: str, what: Measurement) -> Steps[dict[str, Outcome]]:
    """What came of those programs all of whose networks could be trained."""
    texts = list(dict.fromkeys(texts))
    results = yield Batch(purpose, what, tuple((text, seed) for text in texts for seed in what.seeds))
    count = len(what.seeds)
    found = {}
    for k, text in enumerate(texts):
        mine = [r for r in results[k * count : (k + 1) * count] if isinstance(r, SeedResult)]
        if len(mine) == count:
            found[text] = outcome(mine)
    return found
