"""The evolution: islands breed, the cascade trains and judges, the best go on. Or random search, to compare with.

An engine trains nothing. `ask` says what is to be measured next, `tell` takes the results, and the course of a run is a function of
its settings and of what it is told: all choices come from generators of random numbers that are part of its state. It never prints;
observers hear what happens. `drive` does the asking and telling with a scorer.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from gp.evolution.admission import Admission
from gp.evolution.behaviour import Behaviour
from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Cascade, Result, Steps
from gp.evolution.config import Config
from gp.evolution.credit import Credit
from gp.evolution.finals import finals
from gp.evolution.hall import REFERENCE, Hall, text_by_name, unfinished
from gp.evolution.island import Island, distinct, is_competitive
from gp.evolution.leaders import Leaders
from gp.evolution.tuning import tune
from gp.evolution.variation import operators, ramped
from grammar.tree import Program

ATTEMPTS: Final = 50  # children made for each that is wanted, before a generation goes on with fewer
ALWAYS: Final = ("gelu", "relu")  # seeds that no run goes without


class Observer:
    """Hears what an engine does; does nothing itself."""

    def rejected(self, candidate: Candidate) -> None:
        """A candidate was turned away before training; its reason says why."""

    def generation_started(self, generation: int, candidates: Sequence[Candidate]) -> None:
        """These new candidates are about to be trained; the first generation has number 0."""

    def batch_started(self, batch: Batch) -> None:
        """So much is about to be measured."""

    def measured(self, batch: Batch, index: int, result: Result) -> None:
        """The task of that index was done."""

    def judged(self, candidate: Candidate) -> None:
        """A candidate came as far as it comes."""

    def generation_finished(self, generation: int) -> None:
        """All candidates of a generation were judged, and the islands are ready for the next one."""


class Scorer(Protocol):
    """What `drive` needs: the results of a batch, in its order, one after another."""

    def measure(self, batch: Batch) -> Generator[Result]: ...


class Engine:
    """An evolution. `generation` is the number of those that are finished, `trained` that of the candidates that were trained;
    `hall` is the hall of fame once the search is over."""

    def __init__(self, config: Config, observers: Iterable[Observer] = ()) -> None:
        self.config = config
        self.observers = list(observers)
        self.generation = 0
        self.made = 0
        self.trained = 0
        self.hall: Hall | None = None
        self.stopping = False
        self.space = config.space
        self.operators = operators(self.space)
        self.admission = Admission(config.max_size, config.max_cost)
        self.cascade = Cascade(config.cascade, config.promote, text_by_name(REFERENCE))
        self.credit = Credit({name: operator.weight for name, operator in self.operators.items()})
        self.leaders = Leaders(4 * max(config.finalists, config.hall))
        *streams, self._last_stream = np.random.SeedSequence(config.seed).spawn(config.islands + 1)
        share, rest = divmod(config.population, config.islands)
        self.islands = [Island(k, share + (k < rest), config, np.random.default_rng(stream)) for k, stream in enumerate(streams)]
        self._started = time.monotonic()
        self._steps = self._search()
        self._batch: Batch | None = None
        self._begun = False

    def stop(self) -> None:
        """Make `drive` end after the measurement in flight; what was found stays."""
        self.stopping = True

    def best(self, count: int) -> list[Candidate]:
        """The best candidates so far, of each structure the best one alone."""
        return self.leaders.best(count)

    def ask(self) -> Batch | None:
        """What is to be measured next; the same until `tell`. None when the search is over."""
        if not self._begun:
            self._begun = True
            self._go_on(None)
        return self._batch

    def tell(self, results: Sequence[Result]) -> None:
        """The results of the batch that `ask` returned, in the order of its tasks. Raises ValueError if they are not as many."""
        if self._batch is None or len(results) != len(self._batch.tasks):
            wanted = 0 if self._batch is None else len(self._batch.tasks)
            raise ValueError(f"{wanted} results are wanted, not {len(results)}; ask() says of what")
        self._go_on(results)

    def _go_on(self, results: Sequence[Result] | None) -> None:
        """Run the search up to the next batch that is not empty."""
        try:
            self._batch = next(self._steps) if results is None else self._steps.send(results)
            while not self._batch.tasks:
                self._batch = self._steps.send(())
        except StopIteration:
            self._batch = None

    def _search(self) -> Steps[None]:
        """The whole search, from the generation that is next."""
        config = self.config
        yield from self.cascade.prepare()
        while self.generation < config.generations and not (self.generation and self._is_spent()):
            newcomers = [c for island in self.islands for c in self._newcomers(island)]
            for observer in self.observers:
                observer.generation_started(self.generation, newcomers)
            judged = yield from self.cascade.evaluate(newcomers)
            self._settle(judged)
            self.generation += 1
            for observer in self.observers:
                observer.generation_finished(self.generation - 1)
        finalists = self._finalists()
        rng = np.random.default_rng(self._last_stream)
        tuned = yield from tune(finalists[: config.tuned], config.tuning, rng)
        found = [self._candidate(t.program, t.origin, (t.parent,), 0) for t in tuned]
        for candidate in found:
            for observer in self.observers:
                observer.judged(candidate)
        self.hall = yield from finals([*finalists, *(c for c in found if c.reason is None)], config)

    def _finalists(self) -> list[Candidate]:
        """Half of them the best of different behaviours, the others simply the best: a score on few data sets says little about which
        of several kinds of function is the better one, and the leaders of a run are mostly of one kind."""
        elites = [c for island in self.islands for c in island.archive.elites() if is_competitive(c)]
        pool = distinct([*self.best(4 * self.config.finalists), *elites], 10 * self.config.finalists)
        kinds: dict[Behaviour | None, Candidate] = {}
        for candidate in pool:
            kinds.setdefault(candidate.behaviour, candidate)
        first = list(kinds.values())[: (self.config.finalists + 1) // 2]
        taken = {c.number for c in first}
        others = [c for c in pool if c.number not in taken]
        return sorted([*first, *others[: self.config.finalists - len(first)]], key=lambda c: c.rank)

    def _is_spent(self) -> bool:
        """Whether the evaluations or the time are used up, or the target is reached."""
        config = self.config
        if self._affordable(1) == 0 or (config.seconds and time.monotonic() - self._started >= config.seconds):
            return True
        return config.target is not None and any(c.score is not None and c.score.score <= config.target for c in self.best(1))

    def _affordable(self, wanted: int) -> int:
        """How many of the candidates that are wanted the bound on evaluations allows."""
        return min(wanted, self.config.evaluations - self.trained) if self.config.evaluations else wanted

    def _newcomers(self, island: Island) -> list[Candidate]:
        """An island's new candidates of this generation: the first, children, or random ones where the strategy is random."""
        wanted = self._affordable(island.size)
        if self.generation == 0:
            chosen = self._first(island, wanted)
        elif self.config.strategy == "gp" and island.population:
            chosen = self._children(island, wanted)
        else:
            chosen = self._random(island, [], wanted)
        self.trained += len(chosen)
        return chosen

    def _first(self, island: Island, wanted: int) -> list[Candidate]:
        """Programs that the settings name, catalogue functions for half of the rest, then random trees; all strategies start alike."""
        chosen: list[Candidate] = []
        for program in self.config.programs[island.number :: self.config.islands]:
            if len(chosen) < wanted:
                self._admit(chosen, island, "seed", (), program)
        pool = self.space.seeds()
        always = [program for name, program in pool if name in ALWAYS] if island.number == 0 else []
        others = [program for name, program in pool if name not in ALWAYS]
        order = np.random.default_rng(self.config.seed).permutation(len(others))[island.number :: self.config.islands]
        half = len(chosen) + (wanted - len(chosen)) // 2
        for program in [*always, *(others[int(k)] for k in order)]:
            if len(chosen) < half:
                self._admit(chosen, island, "seed", (), program)
        return self._random(island, chosen, wanted)

    def _random(self, island: Island, chosen: list[Candidate], wanted: int) -> list[Candidate]:
        """Those chosen with new random trees added, ramped half-and-half, until there are as many as wanted."""
        config = self.config
        for attempt in range(ATTEMPTS * wanted):
            if len(chosen) >= wanted:
                break
            tree = ramped(island.rng, self.space, config.max_size, config.max_depth, attempt)
            self._admit(chosen, island, "random", (), tree)
        return chosen

    def _children(self, island: Island, wanted: int) -> list[Candidate]:
        shares = self.credit.shares()
        names, ends = list(shares), np.cumsum(list(shares.values()))
        children: list[Candidate] = []
        for _ in range(ATTEMPTS * wanted):
            if len(children) == wanted:
                break
            name = names[min(int(np.searchsorted(ends, island.rng.random(), side="right")), len(names) - 1)]
            operator = self.operators[name]
            parents = [island.parent() for _ in range(operator.parents)]
            child = operator.make(island.rng, self.space, self.config.max_size, *(p.program for p in parents))
            self._admit(children, island, name, tuple(p.number for p in parents), child)
        return children

    def _admit(self, chosen: list[Candidate], island: Island, origin: str, parents: tuple[int, ...], program: Program) -> None:
        """Add a new candidate to those chosen, or turn it away."""
        candidate = self._candidate(program, origin, parents, island.number)
        if candidate.reason is None:
            chosen.append(candidate)
            return
        for observer in self.observers:
            observer.rejected(candidate)

    def _candidate(self, program: Program, origin: str, parents: tuple[int, ...], island: int) -> Candidate:
        seen = self.admission.judge(program)
        self.made += 1
        return Candidate(
            self.made - 1, self.generation, island, origin, parents, program, seen.text, seen.structure, seen.keys, seen.cost, seen.size,
            seen.behaviour, reason=seen.reason,
        )  # fmt: skip

    def _settle(self, judged: Sequence[Candidate]) -> None:
        """Let the candidates of a generation take their places, and migrants go from island to island."""
        for candidate in judged:
            if candidate.reason is not None:
                self.admission.rejections[candidate.reason.split(":")[0]] += 1
            self.leaders.offer(candidate)
            for observer in self.observers:
                observer.judged(candidate)
        for island in self.islands:
            mine = [c for c in judged if c.island == island.number]
            self._give_credit(island, mine)
            island.take(mine)
        period = self.config.migration
        if period and (self.generation + 1) % period == 0 and len(self.islands) > 1:
            groups = [island.emigrants(self.config.migrants) for island in self.islands]
            for island, migrants in zip([*self.islands[1:], self.islands[0]], groups, strict=True):
                island.welcome(migrants)

    def _give_credit(self, island: Island, children: Sequence[Candidate]) -> None:
        """Tell the operators what became of their children, of which the island's candidates are the parents."""
        known = {c.number: c for c in (*island.archive.elites(), *island.population)}
        for child in children:
            if child.origin in self.operators:
                self.credit.record(child, [known[number] for number in child.parents])

    def state(self) -> dict[str, Any]:
        """All that the course of the run depends on besides settings, candidates and keys, between two generations; plain values."""
        return {
            "generation": self.generation,
            "made": self.made,
            "trained": self.trained,
            "rejections": dict(self.admission.rejections),
            "entered": dict(self.cascade.entered),
            "completed": dict(self.cascade.completed),
            "credit": self.credit.counts_json(),
            "leaders": self.leaders.to_json(),
            "islands": [island.to_json() for island in self.islands],
        }

    def restore(self, state: Mapping[str, Any], candidates: Mapping[int, Candidate], known: Iterable[int]) -> None:
        """Go on from a state that `state` returned. `candidates` are at least those that it names; `known`: the keys of all."""
        self.generation, self.made, self.trained = state["generation"], state["made"], state["trained"]
        self.admission.rejections.update(state["rejections"])
        self.admission.known.update(known)
        self.cascade.entered.update(state["entered"])
        self.cascade.completed.update(state["completed"])
        self.credit.restore(state["credit"])
        self.leaders.restore(candidates[number] for number in state["leaders"])
        for island, saved in zip(self.islands, state["islands"], strict=True):
            island.restore(saved, candidates)


def named_in(state: Mapping[str, Any]) -> set[int]:
    """The numbers of the candidates that a state names."""
    islands = state["islands"]
    return {*state["leaders"], *(n for island in islands for key in ("population", "archive") for n in island[key])}


def drive(engine: Engine, scorer: Scorer) -> Hall:
    """Measure what the engine asks for until its search is over, or is stopped. The hall of fame, or the best so far."""
    with _rare_collection():
        _drive(engine, scorer)
    return engine.hall or unfinished(engine.best(engine.config.hall), engine.config)


@contextlib.contextmanager
def _rare_collection() -> Iterator[None]:
    """Collect garbage rarely: graphs have no cycles, and to look for them takes a fifth of the engine's time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _drive(engine: Engine, scorer: Scorer) -> None:
    while not engine.stopping and (batch := engine.ask()) is not None:
        for observer in engine.observers:
            observer.batch_started(batch)
        results: list[Result] = []
        with contextlib.closing(scorer.measure(batch)) as arriving:
            for result in arriving:
                results.append(result)
                for observer in engine.observers:
                    observer.measured(batch, len(results) - 1, result)
                if engine.stopping:
                    break
        if len(results) == len(batch.tasks):
            engine.tell(results)
