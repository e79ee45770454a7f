"""The hall of fame: the best of a run and the known functions that they stand beside, as plain values."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from gp.evolution.candidate import Candidate
from gp.evolution.config import Config
from gp.evolution.genome import canonical_key
from gp.lab.protocol import Measurement
from gp.lab.score import Score
from grammar import catalog
from grammar.printer import format_program

REFERENCE: Final = "gelu"
BASELINES: Final = ("relu", REFERENCE, "gelusine")
_FORMAT: Final = "hall-of-fame/6"
Difference = tuple[float, float, float]  # to the reference, and its 95% interval by paired bootstrap


@dataclass(frozen=True, slots=True)
class Entry:
    """A function and its scores. `name`: its name in the catalogue, if it is there. `score` and its parts are on the data sets of the
    search, `selection_score` on those that finalists are ranked on, `unseen_score` on those that had no part in finding or choosing
    it; the differences are those of the three to gelu. `cost` and `size` as in `Candidate`; `candidate` and `generation` say where it
    comes from, `origin` who made it. What there is not is None."""

    formula: str
    name: str | None
    score: float
    difference: Difference | None
    selection_score: float | None
    selection_difference: Difference | None
    unseen_score: float | None
    unseen_difference: Difference | None
    families: Mapping[str, float]
    inward: float
    outward: float
    fit: float
    ood_loss: float | None
    diverged: int
    cost: int | None
    size: int | None
    candidate: int | None
    generation: int | None
    origin: str | None

    @property
    def wins_here_alone(self) -> bool:
        """Whether it is surely better than gelu on the data of the search, and not so on data sets that the search has not seen."""
        return _wins(self.difference) and self.unseen_difference is not None and not _wins(self.unseen_difference)


@dataclass(frozen=True, slots=True)
class Compared:
    """A score, and its difference to that of gelu, if that could be measured."""

    score: float
    difference: Difference | None


def _wins(difference: Difference | None) -> bool:
    return difference is not None and difference[2] < 0


@dataclass(frozen=True, slots=True)
class Measured:
    """How the scores of a hall were measured."""

    seeds: tuple[int, ...]
    steps: int
    learning_rate: float

    @classmethod
    def of(cls, what: Measurement) -> Measured:
        return cls(what.seeds, what.training.steps, what.training.learning_rate)


@dataclass(frozen=True, slots=True)
class Hall:
    """Entries from the best on, and the baselines. `complete`: measured again after the search; if not, scores are those of the search.
    `missing`: why finalists and baselines are not there that could not be measured again, by their names."""

    entries: tuple[Entry, ...]
    baselines: tuple[Entry, ...]
    complete: bool
    seed: int
    measured: Measured
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def lacks_baselines(self) -> bool:
        """Whether a baseline is missing: it failed for a reason that is not its own, since it is known to work."""
        return any(name in self.missing for name in BASELINES)

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed: no times, no paths."""
        return {
            "format": _FORMAT,
            "seed": self.seed,
            "complete": self.complete,
            "measured": asdict(self.measured),
            "entries": [{"rank": k, **asdict(e)} for k, e in enumerate(self.entries, 1)],
            "baselines": [asdict(e) for e in self.baselines],
            "missing": dict(self.missing),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Hall:
        """What `to_json` returned, read back."""
        measured = value["measured"]
        return cls(
            tuple(_read(e) for e in value["entries"]),
            tuple(_read(e) for e in value["baselines"]),
            value["complete"],
            value["seed"],
            Measured(tuple(measured["seeds"]), measured["steps"], measured["learning_rate"]),
            value["missing"],
        )


def _read(value: Mapping[str, Any]) -> Entry:
    plain = {key: item for key, item in value.items() if key != "rank"}
    for key in ("difference", "selection_difference", "unseen_difference"):
        plain[key] = None if plain[key] is None else tuple(plain[key])
    return Entry(**plain)


def entry_of(
    text: str,
    candidate: Candidate | None,
    found: Score,
    difference: Difference | None,
    selected: Compared | None = None,
    judged: Compared | None = None,
) -> Entry:
    """The entry of a program with its scores: on the data of the search, those that it was selected on, and those that judge it."""
    facts = (None,) * 5 if candidate is None else (candidate.cost, candidate.size, candidate.number, candidate.generation, candidate.origin)
    loss = found.ood_loss if math.isfinite(found.ood_loss) else None
    selection, unseen = ((None, None) if c is None else (c.score, c.difference) for c in (selected, judged))
    return Entry(
        text, known_as(text), found.score, difference, selection[0], selection[1], unseen[0], unseen[1], dict(found.families),
        found.inward, found.outward, found.fit, loss, found.diverged, *facts,
    )  # fmt: skip


def unfinished(best: Sequence[Candidate], config: Config) -> Hall:
    """The best so far with the scores of the search."""
    stage = config.cascade[max((len(c.differences) for c in best), default=1) - 1]
    entries = tuple(entry_of(c.text, c, c.score, None) for c in best if c.score is not None)
    return Hall(entries, (), False, config.seed, Measured.of(stage.measurement))


@functools.cache
def text_by_name(name: str) -> str:
    """The program of a catalogue function, in one line."""
    return format_program(catalog.entry(name).program, separator="; ")


def known_as(text: str) -> str | None:
    """The catalogue's name for a function that is there."""
    return _names().get(canonical_key(text))


@functools.cache
def _names() -> dict[str, str]:
    return {canonical_key(catalog.entry(name).text): name for name in reversed(catalog.names())}
