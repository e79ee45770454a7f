"""An island: a population that breeds on its own, its archive of behaviours, and its generator of random numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from gp.evolution.archive import Archive
from gp.evolution.behaviour import Behaviour
from gp.evolution.candidate import Candidate
from gp.evolution.config import Config
from gp.evolution.pareto import select

# How much worse than gelu a candidate may be to compete by cost and size as well: without a bound, the cheapest functions of all,
# which generalise badly, are nondominated and fill the population.
_COMPETITIVE: Final = 0.05


def distinct(candidates: Iterable[Candidate], count: int) -> list[Candidate]:
    """The best candidates, one of each structure: variants of one formula would soon be all there is."""
    found: dict[int, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.rank):
        found.setdefault(candidate.structure, candidate)
    return list(found.values())[:count]


def is_competitive(candidate: Candidate) -> bool:
    """Whether cost and size count for a candidate."""
    return bool(candidate.differences) and candidate.differences[-1] <= _COMPETITIVE


def objectives(candidates: Sequence[Candidate]) -> list[tuple[float, float, float]]:
    """What NSGA-II minimises: the place in the order of fitness (which compares candidates of different stages), cost and size."""
    order = {fitness: k for k, fitness in enumerate(sorted({c.fitness for c in candidates}))}
    return [(float(order[c.fitness]), float(c.cost), float(c.size)) for c in candidates]


class Island:
    """`population` are the candidates that breed, the best first; `archive` has the best of every behaviour that was seen."""

    def __init__(self, number: int, size: int, config: Config, rng: np.random.Generator) -> None:
        self.number = number
        self.size = size
        self.rng = rng
        self.population: list[Candidate] = []
        self.archive: Archive[Behaviour, Candidate] = Archive()
        self._config = config

    def parent(self) -> Candidate:
        """A parent: an elite of the archive, or the winner of a tournament."""
        if len(self.archive) and self.rng.random() < self._config.archive_share:
            return self.archive.draw(self.rng)
        entrants = self.rng.integers(len(self.population), size=self._config.tournament)
        return self.population[int(entrants.min())]

    def take(self, candidates: Iterable[Candidate]) -> None:
        """Let candidates compete for places in population and archive: those that fit, and came as far as the second stage.

        While hardly any has come so far, the others will do.
        """
        stages = min(2, self._config.stages)
        fit = [c for c in candidates if c.reason is None and c.differences]
        newcomers = [c for c in fit if len(c.differences) >= stages]
        for candidate in newcomers:
            self._offer(candidate)
        if len(self.population) + len(newcomers) < self._config.tournament:
            newcomers = fit
        self.population = self._survivors([*self.population, *newcomers])

    def _survivors(self, pool: Sequence[Candidate]) -> list[Candidate]:
        """The elites by score alone; then those that compete by cost and size too, by NSGA-II; then the others by score."""
        pool = list({c.number: c for c in pool}.values())
        elites = distinct(pool, max(1, round(self._config.elite_share * self.size)))
        taken = {c.number for c in elites}
        others = [c for c in pool if c.number not in taken]
        competing = [c for c in others if is_competitive(c)]
        chosen = [competing[k] for k in select(objectives(competing), self.size - len(elites))]
        behind = sorted((c for c in others if not is_competitive(c)), key=lambda c: c.rank)
        return sorted([*elites, *chosen, *behind][: self.size], key=lambda c: c.rank)

    def emigrants(self, count: int) -> list[Candidate]:
        """The best, to be copied to another island."""
        return distinct(self.population, count)

    def welcome(self, migrants: Iterable[Candidate]) -> None:
        """Let migrants compete; from now on they belong to this island as well."""
        self.take(dataclasses.replace(c, island=self.number) for c in migrants)

    def to_json(self) -> dict[str, Any]:
        """The island's state; candidates by number."""
        return {
            "rng": self.rng.bit_generator.state,
            "population": [c.number for c in self.population],
            "archive": [c.number for c in self.archive.elites()],
        }

    def restore(self, state: Mapping[str, Any], candidates: Mapping[int, Candidate]) -> None:
        """Take on a state that `to_json` returned."""
        self.rng.bit_generator.state = state["rng"]
        mine = {n: dataclasses.replace(candidates[n], island=self.number) for n in {*state["population"], *state["archive"]}}
        self.population = [mine[n] for n in state["population"]]
        for number in state["archive"]:
            self._offer(mine[number])

    def _offer(self, candidate: Candidate) -> None:
        if candidate.behaviour is not None:
            self.archive.offer(candidate.behaviour, candidate)
