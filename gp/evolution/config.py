"""What a search is told: one frozen value, checked when it is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, get_args

from gp.lab.data import SetName, instances
from gp.lab.protocol import FIDELITIES, Measurement
from gp.lab.training import Training
from grammar.errors import nearest


class ConfigError(ValueError):
    """A setting out of its range; the message names the key and the allowed values."""


Strategy = Literal["gp", "random"]

WHOLE: Final[dict[str, tuple[int, int]]] = {
    "seed": (0, 2**63 - 1),
    "population": (4, 100_000),
    "generations": (1, 100_000),
    "evaluations": (0, 1_000_000_000),
    "tournament": (1, 1_000),
    "max_size": (3, 200),
    "max_depth": (2, 8),
    "max_operations": (3, 1_000),
    "steps": (1, 100_000),
    "networks": (1, 64),
    "finalists": (1, 1_000),
    "hall": (1, 1_000),
    "workers": (1, 256),
}
REAL: Final[dict[str, tuple[float, float]]] = {
    "learning_rate": (1e-6, 1.0),
    "gate": (-10.0, 2.0),
    "elite_share": (0.0, 0.9),
    "seconds": (0.0, 10_000_000.0),
    "target": (-5.0, 1.0),
}
OPTIONAL: Final = ("target",)  # settings that may be None, which is their default
CHOICES: Final[dict[str, tuple[str, ...]]] = {"strategy": get_args(Strategy)}


@dataclass(frozen=True, slots=True)
class Config:
    """`networks`: seeds of each data set in the search. `gate`: the highest mean ln(ID error) of a function that can fit at all.

    `max_size` bounds the nodes of a syntax tree, `max_operations` those of the simplified graph, where calls of catalogue
    functions are written out; `max_depth` is that of the first random trees. `finalists` are measured again, `hall` of them kept.
    `strategy`: "gp" breeds from the best, "random" makes new random trees only, as many.

    The search ends with the last of its `generations`, after so many trained candidates (`evaluations`), or with the generation in
    which the best score is `target` or less, or which ends after so many `seconds`. 0 evaluations or seconds are no bound. Seconds
    are the one setting that makes the outcome depend on the machine; a run that is resumed counts them anew. Raises ConfigError.
    """

    seed: int = 0
    strategy: Strategy = "gp"
    population: int = 64
    generations: int = 10
    evaluations: int = 0
    seconds: float = 0.0
    target: float | None = None
    tournament: int = 4
    elite_share: float = 0.25
    max_size: int = 24
    max_depth: int = 5
    max_operations: int = 60
    steps: int = 100
    networks: int = 1
    learning_rate: float = 1e-2
    gate: float = -1.5
    finalists: int = 16
    hall: int = 10
    workers: int = 1

    def __post_init__(self) -> None:
        for key, value in self.to_json().items():
            check(key, value)

    @property
    def elites(self) -> int:
        """How many of the best go on to the next generation as they are."""
        return max(1, round(self.elite_share * self.population))

    @property
    def planned(self) -> int:
        """How many candidates are trained in the search, if neither target nor time ends it before."""
        all_generations = self.population + (self.generations - 1) * (self.population - self.elites)
        return min(all_generations, self.evaluations or all_generations)

    @property
    def search(self) -> Measurement:
        """How every candidate is measured: the same data and initial weights for all, whatever the seed of the search."""
        return self._measurement("search", tuple(range(self.networks)), Training(self.steps, self.learning_rate))

    @property
    def final(self) -> Measurement:
        """How finalists are measured: on seeds that the search has not seen, twice as many, three times as long."""
        return self._measurement("search", self._final_seeds, Training(3 * self.steps, self.learning_rate / 2))

    @property
    def unseen(self) -> Measurement:
        """As `final`, on data sets that the search has not seen."""
        return self._measurement("validation", self._final_seeds, self.final.training)

    @property
    def _final_seeds(self) -> tuple[int, ...]:
        return tuple(range(100, 100 + 2 * self.networks))

    def _measurement(self, data: SetName, seeds: tuple[int, ...], training: Training) -> Measurement:
        return Measurement(instances(data), seeds, training, gate=self.gate, limit=FIDELITIES["full"].limit)

    def to_json(self) -> dict[str, Any]:
        """The settings by name."""
        return asdict(self)


KEYS: Final = tuple(field.name for field in fields(Config))


def allowed(key: str) -> str:
    """What a setting may be, in words."""
    if key in CHOICES:
        return " or ".join(f'"{word}"' for word in CHOICES[key])
    if key in WHOLE:
        return "a whole number from {} to {}".format(*WHOLE[key])
    return "a number from {:g} to {:g}".format(*REAL[key])


def check(key: str, value: object) -> None:
    """Raises ConfigError if there is no setting of that name, or if this is no value for it."""
    if key not in KEYS:
        near = nearest(key, KEYS)
        hint = f", did you mean '{near}'?" if near else ""
        raise ConfigError(f"there is no setting '{key}'{hint} (settings: {', '.join(KEYS)})")
    if not _is_allowed(key, value):
        raise ConfigError(f"{key} must be {allowed(key)}, not {value!r}")


def _is_allowed(key: str, value: object) -> bool:
    if value is None:
        return key in OPTIONAL
    if key in CHOICES:
        return value in CHOICES[key]
    if isinstance(value, bool):
        return False
    if key in WHOLE:
        return isinstance(value, int) and WHOLE[key][0] <= value <= WHOLE[key][1]
    return isinstance(value, int | float) and REAL[key][0] <= value <= REAL[key][1]
