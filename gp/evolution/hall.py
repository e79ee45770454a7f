"""The hall of fame: the best of a run, measured again from the text that is shown.

The search picks the best of many noisy scores, which flatters them. So finalists are measured again on other seeds and for
longer, and those that are kept once more on data sets that the search has not seen. Known functions are measured likewise, and
differences to gelu are paired, network by network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gp.evolution.candidate import Candidate, score_json
from gp.evolution.engine import Engine
from gp.evolution.genome import canonical_key, short_text
from gp.evolution.space import catalogue
from gp.lab.protocol import Measurement
from gp.lab.score import Score, paired_difference
from grammar import catalog
from grammar.printer import format_program

REFERENCE: Final = "gelu"
BASELINES: Final = ("relu", REFERENCE, "gelusine")
Difference = tuple[float, float, float]  # to the reference, and its 95% interval


@dataclass(frozen=True, slots=True)
class Entry:
    """A function and its scores. `name`: its name in the catalogue, if it is there. `unseen`: on data sets that the search has not
    seen. The differences are those of `score` and `unseen` to gelu. What was not measured is None."""

    formula: str
    name: str | None
    score: Score
    unseen: Score | None
    candidate: Candidate | None
    difference: Difference | None = None
    unseen_difference: Difference | None = None

    @property
    def wins_here_alone(self) -> bool:
        """Whether it is surely better than gelu on the data of the search, and not so on data sets that the search has not seen."""
        return _wins(self.difference) and self.unseen_difference is not None and not _wins(self.unseen_difference)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found = {} if self.candidate is None else {"candidate": self.candidate.number, "generation": self.candidate.generation}
        return {
            "formula": self.formula,
            "name": self.name,
            **score_json(self.score),
            "difference": self.difference,
            "unseen_score": None if self.unseen is None else self.unseen.score,
            "unseen_difference": self.unseen_difference,
            **found,
        }


def _wins(difference: Difference | None) -> bool:
    return difference is not None and difference[2] < 0


@dataclass(frozen=True, slots=True)
class Hall:
    """Entries from the best on, and the baselines. `complete`: measured again; if not, scores are those of the search."""

    entries: tuple[Entry, ...]
    baselines: tuple[Entry, ...]
    complete: bool
    seed: int
    measurement: Measurement

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed: no times, no paths."""
        training = self.measurement.training
        return {
            "format": "hall-of-fame/3",
            "seed": self.seed,
            "complete": self.complete,
            "measured": {"seeds": self.measurement.seeds, "steps": training.steps, "learning_rate": training.learning_rate},
            "entries": [{"rank": k, **e.to_json()} for k, e in enumerate(self.entries, 1)],
            "baselines": [e.to_json() for e in self.baselines],
        }


def finals(engine: Engine) -> int:
    """How many measurements `make_hall` makes, at most."""
    return engine.config.finalists + engine.config.hall + 2 * len(BASELINES)


def make_hall(engine: Engine) -> Hall:
    """The hall of fame of a finished search; of one that is stopped, before or while this runs, the best so far."""
    config = engine.config
    finalists = {short_text(c.text): c for c in engine.best(config.finalists)}
    baselines = [_text(name) for name in BASELINES]
    texts = [*baselines, *(t for t in finalists if t not in baselines)]
    for observer in engine.observers:
        observer.finals_started(len(texts) + min(len(finalists), config.hall) + len(BASELINES))
    final, unseen = (dataclasses.replace(what, parts=True) for what in (config.final, config.unseen))
    measured = _measure(texts, final, engine)
    ranked = sorted(finalists.keys() & measured.keys(), key=lambda t: (measured[t].score, len(t), t))[: config.hall]
    again = _measure([*baselines, *(t for t in ranked if t not in baselines)], unseen, engine)
    if engine.stopping:
        return _unfinished(engine)

    def entry(text: str, candidate: Candidate | None = None) -> Entry:
        return Entry(
            text, _known_as(text), measured[text], again.get(text), candidate, _to_reference(text, measured, final),
            _to_reference(text, again, unseen),
        )  # fmt: skip

    first = tuple(entry(text) for text in baselines if text in measured)
    return Hall(tuple(entry(text, finalists[text]) for text in ranked), first, True, config.seed, final)


def _to_reference(text: str, measured: Mapping[str, Score], what: Measurement) -> Difference | None:
    """The difference to gelu, where both were measured and all their networks have finite scores."""
    found, reference = measured.get(text), measured.get(_text(REFERENCE))
    if found is None or found.parts is None or reference is None or reference.parts is None:
        return None
    change = paired_difference(np.array(found.parts), np.array(reference.parts), what)
    return change if np.isfinite(change).all() else None


def _measure(texts: Sequence[str], what: Measurement, engine: Engine) -> dict[str, Score]:
    """The scores of those programs that have one; fewer, where the run is stopped."""
    found: dict[str, Score] = {}
    if engine.stopping:
        return found
    results = engine.scorer.scores(texts, what)
    for text, result in zip(texts, results, strict=True):
        if isinstance(result, Score):
            found[text] = result
        for observer in engine.observers:
            observer.final_measured(text)
        if engine.stopping:
            results.close()
            break
    return found


def _unfinished(engine: Engine) -> Hall:
    """The best so far with the scores of the search."""
    seeds = {c.origin.removeprefix("seed "): c for c in engine.candidates if c.origin.startswith("seed ")}

    def entry(candidate: Candidate) -> Entry | None:
        return Entry(candidate.text, _known_as(candidate.text), candidate.score, None, candidate) if candidate.score else None

    entries = [entry(c) for c in engine.best(engine.config.hall)]
    baselines = [entry(seeds[name]) for name in BASELINES if name in seeds]
    config = engine.config
    return Hall(tuple(e for e in entries if e), tuple(e for e in baselines if e), False, config.seed, config.search)


def _text(name: str) -> str:
    return format_program(catalog.entry(name).program, separator="; ")


def _known_as(text: str) -> str | None:
    """The catalogue's name for a function that is there."""
    key = canonical_key(text)
    return next((name for name in catalogue() if canonical_key(catalog.entry(name).text) == key), None)
