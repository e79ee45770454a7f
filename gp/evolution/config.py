"""What a search is told: one frozen value, checked when it is made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from gp.evolution.cascade import Stage
from gp.evolution.genome import genome
from gp.evolution.space import Learnable, Space
from gp.lab.data import SetName, instances
from gp.lab.protocol import FIDELITIES, FidelityName, Measurement
from gp.lab.training import Training
from grammar import DSLError, catalog
from grammar.errors import nearest
from grammar.tree import Program


class ConfigError(ValueError):
    """A setting out of its range; the message names the key and the allowed values."""


Strategy = Literal["gp", "random"]

WHOLE: Final[dict[str, tuple[int, int]]] = {
    "seed": (0, 2**63 - 1),
    "population": (4, 100_000),
    "islands": (1, 64),
    "generations": (1, 100_000),
    "evaluations": (0, 1_000_000_000),
    "migration": (0, 10_000),
    "migrants": (1, 100),
    "tournament": (1, 1_000),
    "max_size": (3, 200),
    "max_depth": (2, 8),
    "max_cost": (10, 10_000),
    "stages": (1, 3),
    "steps": (1, 100_000),
    "networks": (1, 64),
    "tuned": (0, 1_000),
    "finalists": (1, 1_000),
    "hall": (1, 1_000),
    "workers": (1, 256),
    "memory": (0, 1_000_000),
}
REAL: Final[dict[str, tuple[float, float]]] = {
    "learning_rate": (1e-6, 1.0),
    "gate": (-10.0, 2.0),
    "promote": (0.01, 1.0),
    "elite_share": (0.0, 0.9),
    "archive_share": (0.0, 1.0),
    "seconds": (0.0, 10_000_000.0),
    "target": (-5.0, 1.0),
}
OPTIONAL: Final = ("target",)  # settings that may be None, which is their default
CHOICES: Final[dict[str, tuple[str, ...]]] = {"strategy": get_args(Strategy), "parameters": get_args(Learnable)}
SWITCHES: Final = ("statistics", "shifts")
TEXTS: Final = ("initial",)  # lists of programs
TABLES: Final = ("weights",)  # numbers by name

# The stages of the cascade by name, each with what its settings are of those of the first: steps, seeds, learning rate, gate. With
# the default settings they are the fidelities of the lab.
_STAGES: Final[dict[FidelityName, tuple[int, int, float, float]]] = {
    "quick": (1, 1, 1.0, 1.0),
    "standard": (3, 2, 0.5, 2.0),
    "full": (10, 4, 0.5, 2.0),
}
_FINAL_SEEDS: Final = 100  # the first of the seeds that only finalists are measured on


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a search. Raises ConfigError.

    What is searched: `max_size` bounds the nodes of a syntax tree; `max_cost` the operations of value and derivative together for an
    element, in units of the cost model (`gp.evolution.screen.Profile.cost`); `max_depth` the first random trees. `parameters` says
    which learnable ones may occur; `statistics` and `shifts` let a function see beyond its own element. `weights` say how often a
    production is drawn (`gp.evolution.space`), 0 for never. `initial` are programs that the first generation starts from.

    How: `population` candidates on `islands`, which send `migrants` to the next one every `migration` generations (0: never).
    A parent comes from an island's archive with probability `archive_share`, else it is the best of `tournament` of its population.
    `elite_share` of a population are its best, the rest is chosen by NSGA-II. `strategy`: "gp" breeds, "random" makes new random
    trees only, as many.

    What it takes: each candidate passes up to `stages` stages of training (quick, standard, full), of which the first has `networks`
    seeds for each data set, `steps` and `learning_rate`, and rejects a mean ln(ID error) above `gate`; `promote` of each stage reach
    the next. At the end the constants of the best `tuned` are tuned, `finalists` are measured again on other data, and `hall` of them kept.

    A search ends with the last of its `generations`, after so many trained candidates (`evaluations`), or with the generation in
    which the best score is `target` or less, or which ends after so many `seconds`. 0 evaluations or seconds are no bound. Seconds
    are the one setting that makes the outcome depend on the machine. `workers` processes train on the CPU; one that takes more
    than `memory` MB fails (0: no limit). GPUs have neither.
    """

    seed: int = 0
    strategy: Strategy = "gp"
    population: int = 64
    islands: int = 2
    generations: int = 8
    evaluations: int = 0
    seconds: float = 0.0
    target: float | None = None
    migration: int = 4
    migrants: int = 1
    tournament: int = 4
    elite_share: float = 0.25
    archive_share: float = 0.15
    max_size: int = 24
    max_depth: int = 5
    max_cost: int = 400
    parameters: Learnable = "none"
    statistics: bool = False
    shifts: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)
    initial: tuple[str, ...] = ()
    stages: int = 2
    promote: float = 1 / 3
    steps: int = 100
    networks: int = 1
    learning_rate: float = 1e-2
    gate: float = -1.5
    tuned: int = 2
    finalists: int = 10
    hall: int = 10
    workers: int = 1
    memory: int = 4000

    def __post_init__(self) -> None:
        for key in KEYS:
            check(key, getattr(self, key))
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))
        object.__setattr__(self, "initial", tuple(self.initial))
        if self.population < 4 * self.islands:
            raise ConfigError(f"population must be at least 4 for each of the {self.islands} islands, not {self.population}")

    @property
    def space(self) -> Space:
        """What candidates are made of. Raises ConfigError where the weights leave nothing."""
        try:
            return Space(self.weights, self.parameters, self.statistics, self.shifts)
        except ValueError as error:
            raise ConfigError(f"weights: {error}") from error

    @property
    def programs(self) -> tuple[Program, ...]:
        """The genomes of `initial`: expressions, or names of the catalogue. Raises ConfigError for one that is a mistake, or is not in
        the space."""
        space = self.space
        return tuple(_genome(text, space) for text in self.initial)

    @property
    def planned(self) -> int:
        """How many candidates are trained in the search, if neither target nor time ends it before."""
        return min(self.population * self.generations, self.evaluations or self.population * self.generations)

    @property
    def cascade(self) -> tuple[Stage, ...]:
        """The stages of training: the same data and initial weights for all candidates, whatever the seed of the search."""
        return tuple(self._stage(name) for name in list(_STAGES)[: self.stages])

    @property
    def tuning(self) -> Measurement:
        """How constants are compared: as in the second stage, where there is one."""
        return self.cascade[min(1, self.stages - 1)].measurement

    @property
    def final(self) -> Measurement:
        """How finalists are measured again on the data sets of the search: on seeds that it has not seen, trained as in the last stage."""
        return self._after("search")

    @property
    def selection(self) -> Measurement:
        """As `final`, on data sets that the search has not seen: finalists are ranked by both."""
        return self._after("selection")

    @property
    def validation(self) -> Measurement:
        """How those that are kept are judged: as `selection`, on data sets that had no part in choosing them."""
        return self._after("validation")

    def _after(self, data: SetName) -> Measurement:
        seeds = tuple(range(_FINAL_SEEDS, _FINAL_SEEDS + 2 * self.networks))
        like, members = self.cascade[-1].measurement, instances(data)
        return dataclasses.replace(like, instances=members, seeds=seeds, limit=like.limit * len(members) / len(like.instances))

    def _stage(self, name: FidelityName) -> Stage:
        steps, seeds, rate, gate = _STAGES[name]
        training = Training(steps * self.steps, rate * self.learning_rate)
        limit = FIDELITIES[name].limit * max(1.0, self.steps / FIDELITIES["quick"].steps)
        networks = tuple(range(seeds * self.networks))
        return Stage(name, Measurement(instances("search"), networks, training, gate=gate * self.gate, limit=limit))

    def to_json(self) -> dict[str, Any]:
        """The settings by name, as plain values."""
        return {**{key: getattr(self, key) for key in KEYS}, "weights": dict(self.weights), "initial": list(self.initial)}


KEYS: Final = tuple(f.name for f in fields(Config))


def _genome(text: str, space: Space) -> Program:
    try:
        found = genome(catalog.entry(text).text if text in catalog.names() else text)
    except DSLError as error:
        raise ConfigError(f"initial: {text!r} is not a program: {error}") from error
    if not space.allows(found):
        hint = "the settings parameters, statistics, shifts and weights make room for it"
        raise ConfigError(f"initial: {text!r} is not in the space of the search; {hint}")
    return found


def allowed(key: str) -> str:
    """What a setting may be, in words."""
    if key in CHOICES:
        return " or ".join(f'"{word}"' for word in CHOICES[key])
    if key in SWITCHES:
        return "true or false"
    if key in TEXTS:
        return "a list of programs"
    if key in TABLES:
        return "a table of numbers from 0 on, by the names of operators and functions"
    if key in WHOLE:
        return "a whole number from {} to {}".format(*WHOLE[key])
    return "a number from {:g} to {:g}".format(*REAL[key])


def check(key: str, value: object) -> None:
    """Raises ConfigError if there is no setting of that name, or if this is no value for it."""
    if key not in KEYS:
        near = nearest(key, KEYS)
        hint = f", did you mean '{near}'?" if near else ""
        raise ConfigError(f"there is no setting '{key}'{hint} (gp run --print-config lists all)")
    if not _is_allowed(key, value):
        raise ConfigError(f"{key} must be {allowed(key)}, not {value!r}")


def _is_allowed(key: str, value: object) -> bool:
    if value is None:
        return key in OPTIONAL
    if key in CHOICES:
        return value in CHOICES[key]
    if key in SWITCHES:
        return isinstance(value, bool)
    if key in TEXTS:
        return isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)
    if key in TABLES:
        return isinstance(value, Mapping) and all(isinstance(k, str) and _is_weight(v) for k, v in value.items())
    if isinstance(value, bool):
        return False
    if key in WHOLE:
        return isinstance(value, int) and WHOLE[key][0] <= value <= WHOLE[key][1]
    return isinstance(value, int | float) and REAL[key][0] <= value <= REAL[key][1]


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
