"""The evolution: generations, tournament selection, elites; every function is trained once. Or random search, to compare with.

The engine never prints. It tells an observer what happens, and whoever runs it may ask it to stop. All its choices come from one
generator of random numbers, and results come in the order of candidates, so a seed fixes the whole run.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from typing import Final, Protocol

import numpy as np

from gp.evolution.candidate import Candidate
from gp.evolution.config import Config
from gp.evolution.credit import Credit
from gp.evolution.genome import canonical_key, size, structure, text_of
from gp.evolution.screen import profile
from gp.evolution.space import seeds
from gp.evolution.variation import OPERATORS, ramped
from gp.lab.protocol import Measurement
from gp.lab.score import Score
from grammar.errors import DSLError
from grammar.tree import Expression

ATTEMPTS: Final = 50  # children made for each that is wanted, before a generation goes on with fewer
ALWAYS: Final = ("gelu", "relu")  # seeds that no run goes without
DUPLICATE: Final = "duplicate"
UNFIT: Final = "did not fit"


class Scorer(Protocol):
    """What the engine needs of `gp.evolution.evaluator.Evaluator`."""

    def scores(self, texts: Sequence[str], what: Measurement) -> Generator[Score | str]: ...


class Observer:
    """Hears what an engine does; does nothing itself."""

    def rejected(self, candidate: Candidate) -> None:
        """A candidate was turned away before training; its reason says why."""

    def evaluated(self, candidate: Candidate) -> None:
        """A candidate was trained."""

    def generation_started(self, generation: int, count: int) -> None:
        """So many new candidates are about to be trained; the first generation has number 0."""

    def finals_started(self, count: int) -> None:
        """So many measurements of finalists are about to be made."""

    def final_measured(self, text: str) -> None:
        """One of them was made."""


class Engine:
    """An evolution. `candidates` are those that were trained, in order; `rejections` counts by reason those that came to nothing,
    `credit` by operator of variation those that were better than their parents."""

    def __init__(self, config: Config, scorer: Scorer, observers: Sequence[Observer] = ()) -> None:
        self.config = config
        self.candidates: list[Candidate] = []
        self.rejections: Counter[str] = Counter()
        self.credit = Credit({name: operator.weight for name, operator in OPERATORS.items()})
        self.stopping = False
        self.scorer = scorer
        self.observers = list(observers)
        self._rng = np.random.default_rng(config.seed)
        self._known: set[str] = set()
        self._count = 0

    def stop(self) -> None:
        """End the run after the evaluation in flight; what was found stays."""
        self.stopping = True

    def best(self, count: int) -> list[Candidate]:
        """The best candidates so far that passed the gate, of each structure the best one alone."""
        return _distinct((c for c in self.candidates if c.reason is None), count)

    def run(self) -> None:
        """All generations, or as many as the budget of `Config` allows, or as there are before `stop`."""
        started = time.monotonic()
        config = self.config
        population = self._evaluate(0, self._initial(self._affordable(config.population)))
        for generation in range(1, config.generations):
            if self.stopping or self._is_spent(started):
                return
            if config.strategy == "random":
                wanted = self._affordable(config.population - config.elites)
                self._evaluate(generation, self._random([], generation, wanted))
            else:
                elites = _distinct(population, config.elites)
                children = self._breed(population, generation, self._affordable(config.population - len(elites)))
                evaluated = self._evaluate(generation, children)
                self._give_credit(population, evaluated)
                population = elites + evaluated

    def _affordable(self, wanted: int) -> int:
        """How many of the candidates that are wanted the bound on evaluations allows."""
        return min(wanted, self.config.evaluations - len(self.candidates)) if self.config.evaluations else wanted

    def _is_spent(self, started: float) -> bool:
        """Whether the evaluations or the time are used up, or the target is reached."""
        config = self.config
        if self._affordable(1) == 0 or (config.seconds and time.monotonic() - started >= config.seconds):
            return True
        return config.target is not None and any(c.fitness <= config.target for c in self.candidates)

    def _initial(self, wanted: int) -> list[Candidate]:
        """Catalogue functions for half of the population, random trees for the rest, whatever the strategy: both start alike."""
        pool = sorted(seeds(), key=lambda item: item[0] not in ALWAYS)
        first = [p for p in pool if p[0] in ALWAYS]
        others = [pool[len(first) + int(k)] for k in self._rng.permutation(len(pool) - len(first))]
        chosen: list[Candidate] = []
        for name, expression in (first + others)[: wanted // 2]:
            self._admit(chosen, 0, f"seed {name}", (), expression)
        return self._random(chosen, 0, wanted)

    def _random(self, chosen: list[Candidate], generation: int, wanted: int) -> list[Candidate]:
        """Those chosen with new random trees added, ramped half-and-half, until there are as many as wanted."""
        for attempt in range(ATTEMPTS * wanted):
            if len(chosen) == wanted:
                break
            tree = ramped(self._rng, self.config.max_size, self.config.max_depth, attempt)
            self._admit(chosen, generation, "random", (), tree)
        return chosen

    def _breed(self, population: Sequence[Candidate], generation: int, wanted: int) -> list[Candidate]:
        shares = self.credit.shares()
        names, probabilities = list(shares), list(shares.values())
        children: list[Candidate] = []
        for _ in range(ATTEMPTS * wanted):
            if len(children) == wanted:
                break
            name = names[int(self._rng.choice(len(names), p=probabilities))]
            parents = [self._tournament(population) for _ in range(OPERATORS[name].parents)]
            child = OPERATORS[name].make(self._rng, self.config.max_size, *(p.expression for p in parents))
            self._admit(children, generation, name, tuple(p.number for p in parents), child)
        return children

    def _give_credit(self, population: Sequence[Candidate], children: Sequence[Candidate]) -> None:
        """Tell the operators what became of their children, of which the population are the parents."""
        fitness = {candidate.number: candidate.fitness for candidate in population}
        for child in children:
            self.credit.record(child.origin, child.fitness, min(fitness[number] for number in child.parents))

    def _tournament(self, population: Sequence[Candidate]) -> Candidate:
        entrants = self._rng.integers(len(population), size=self.config.tournament)
        return min((population[int(k)] for k in entrants), key=lambda c: c.rank)

    def _admit(self, chosen: list[Candidate], generation: int, origin: str, parents: tuple[int, ...], expression: Expression) -> None:
        """Add a new candidate to those chosen, or turn it away."""
        text = text_of(expression)
        reason = "too large" if size(expression) > self.config.max_size else self._objection(text)
        candidate = Candidate(self._count, generation, origin, parents, expression, text, reason=reason)
        self._count += 1
        if reason is None:
            chosen.append(candidate)
            return
        self.rejections[reason] += 1
        for observer in self.observers:
            observer.rejected(candidate)

    def _objection(self, text: str) -> str | None:
        """Why a program is turned away, or None; duplicates are found by their graph, or else by their values."""
        try:
            key = canonical_key(text)
        except DSLError:  # past a bound of the language, for catalogue functions can be large
            return "too large"
        if not self._is_new(key):
            return DUPLICATE
        seen = profile(text)
        reason = seen.objection(self.config.max_operations)
        return reason if reason is not None or self._is_new(seen.fingerprint) else DUPLICATE

    def _is_new(self, key: str) -> bool:
        new = key not in self._known
        self._known.add(key)
        return new

    def _evaluate(self, generation: int, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates with their scores; fewer, where the run is stopped."""
        for observer in self.observers:
            observer.generation_started(generation, len(candidates))
        done: list[Candidate] = []
        results = self.scorer.scores([c.text for c in candidates], self.config.search)
        for candidate, result in zip(candidates, results, strict=True):
            done.append(self._judged(candidate, result))
            if self.stopping:
                results.close()
                break
        return done

    def _judged(self, candidate: Candidate, result: Score | str) -> Candidate:
        if isinstance(result, str):
            judged = dataclasses.replace(candidate, reason=result)
        else:
            judged = dataclasses.replace(candidate, score=result, reason=UNFIT if result.fit > self.config.gate else None)
        if judged.reason is not None:
            self.rejections[judged.reason.split(":")[0]] += 1
        self.candidates.append(judged)
        for observer in self.observers:
            observer.evaluated(judged)
        return judged


def _distinct(candidates: Iterable[Candidate], count: int) -> list[Candidate]:
    """The best candidates, one of each structure: variants of one formula would soon be all there is."""
    found: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.rank):
        found.setdefault(structure(candidate.text), candidate)
    return list(found.values())[:count]
