"""What a search is told: one frozen value, checked when it is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from gp.lab.data import SetName, instances
from gp.lab.protocol import FIDELITIES, Measurement
from gp.lab.training import Training


class ConfigError(ValueError):
    """A setting out of its range; the message names the key and the allowed values."""


WHOLE: Final[dict[str, tuple[int, int]]] = {
    "seed": (0, 2**63 - 1),
    "population": (4, 100_000),
    "generations": (1, 100_000),
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
REAL: Final[dict[str, tuple[float, float]]] = {"learning_rate": (1e-6, 1.0), "gate": (-10.0, 2.0), "elite_share": (0.0, 0.9)}
# How often each operator of `gp.search.variation` makes a child.
OPERATORS: Final[dict[str, float]] = {"crossover": 0.35, "subtree": 0.25, "point": 0.2, "constant": 0.2}


@dataclass(frozen=True, slots=True)
class Config:
    """`networks`: seeds of each data set in the search. `gate`: the highest mean ln(ID error) of a function that can fit at all.

    `max_size` bounds the nodes of a syntax tree, `max_operations` those of the simplified graph, where calls of catalogue
    functions are written out; `max_depth` is that of the first random trees. `finalists` are measured again, `hall` of them kept.
    Raises ConfigError.
    """

    seed: int = 0
    population: int = 64
    generations: int = 10
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
        for key, (low, high) in WHOLE.items():
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ConfigError(f"{key} must be a whole number from {low} to {high}, not {value!r}")
        for key, (least, most) in REAL.items():
            value = getattr(self, key)
            if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
                raise ConfigError(f"{key} must be a number from {least:g} to {most:g}, not {value!r}")

    @property
    def elites(self) -> int:
        """How many of the best go on to the next generation as they are."""
        return max(1, round(self.elite_share * self.population))

    @property
    def evaluations(self) -> int:
        """How many candidates are trained in the search, at most."""
        return self.population + (self.generations - 1) * (self.population - self.elites)

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
