"""The space of a search: which productions it has and how often each is drawn, and random trees made of them."""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from codegen.build import STATISTICS
from gp.evolution.genome import number, places, to_genome
from gp.evolution.productions import Needs, Production, all_productions, names_of, needs
from grammar import catalog, nearest
from grammar.tree import Call, Expression, Name, Parameter, Program

X_SHARE: Final = 0.7  # of the terminals; the rest are constants
PARAMETER_SHARE: Final = 0.3  # of the terminals that are not x, where there are parameters
GROW_STOP: Final = 0.3  # how often a branch of a grown tree ends early
CONSTANT_SPREAD: Final = 1.0  # deviation of the logarithm of a constant's size

Learnable = Literal["none", "scalar", "channel", "both"]
Below = tuple[bool, ...] | Literal["any", "numbers"]  # which children are conditions; any that can be made; no conditions
_PER_CHANNEL: Final[dict[str, frozenset[bool]]] = {
    "none": frozenset(),
    "scalar": frozenset({False}),
    "channel": frozenset({True}),
    "both": frozenset({False, True}),
}


@dataclass(frozen=True, slots=True)
class Choices:
    """Productions to draw from, and their weights summed up."""

    productions: tuple[Production, ...]
    cumulative: tuple[float, ...]

    def draw(self, rng: np.random.Generator) -> Production:
        """A production by weight."""
        return self.productions[bisect.bisect_right(self.cumulative, rng.random() * self.cumulative[-1], hi=len(self.cumulative) - 1)]


@dataclass(frozen=True)
class Space:
    """The functions that a search can find.

    `weights` holds weights of productions by name, in place of the default ones; what has weight 0 is not in the space.
    `parameters`: which kinds of learnable parameter there may be. Statistics and shifts make a function of the whole tensor. The
    functions of the catalogue take part as far as they need no more than that. Raises ValueError for a weight that is none, and
    where nothing is left to make a function of.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    parameters: Learnable = "none"
    statistics: bool = False
    shifts: bool = False

    def __post_init__(self) -> None:
        known = list(dict.fromkeys(p.name for p in all_productions()))
        for name, weight in self.weights.items():
            if name not in known:
                near = nearest(name, known)
                hint = f", did you mean '{near}'?" if near else ""
                raise ValueError(f"there is no production '{name}'{hint} (gp run --print-config lists all)")
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                raise ValueError(f"the weight of '{name}' must be a number from 0 on, not {weight!r}")
        if (False, "numbers") not in self._choices:
            raise ValueError("there is nothing to make functions of: all productions that take numbers and give numbers have weight 0")

    @property
    def per_channel(self) -> frozenset[bool]:
        """Whether a parameter of the space may be per channel (True), one value (False), or either."""
        return _PER_CHANNEL[self.parameters]

    @functools.cached_property
    def excluded(self) -> frozenset[str]:
        """The names of what is not in the space."""
        names = {name for name, weight in self.weights.items() if weight == 0}
        names |= {name for name in catalog.names() if not self._meets(needs(name))}
        if not self.statistics:
            names |= set(STATISTICS)
        if not self.shifts:
            names.add("shift")
        return frozenset(names)

    def _meets(self, needed: Needs) -> bool:
        return needed.parameters <= self.per_channel and (self.statistics or not needed.statistics) and (self.shifts or not needed.shifts)

    def allows(self, genome: Program) -> bool:
        """Whether a genome is in the space."""
        kinds = {s.per_channel for s in genome.statements if isinstance(s, Parameter)}
        return kinds <= self.per_channel and not any(
            name in self.excluded for place in places(genome.result) for name in names_of(place.node)
        )

    @functools.cached_property
    def productions(self) -> tuple[Production, ...]:
        """Every production of the space, in the tables' order."""
        found = [p for p in all_productions() if p.name not in self.excluded]
        count = Counter(p.name for p in found)
        return tuple(replace(p, weight=self.weights[p.name] / count[p.name]) if p.name in self.weights else p for p in found)

    @functools.cached_property
    def has_conditions(self) -> bool:
        """Whether there are productions of conditions."""
        return any(p.boolean for p in self.productions)

    @functools.cached_property
    def _choices(self) -> dict[tuple[bool, Below], Choices]:
        found: defaultdict[tuple[bool, Below], list[Production]] = defaultdict(list)
        for production in self.productions:
            numbers = not any(production.children)
            if numbers or self.has_conditions:
                found[production.boolean, production.children].append(production)
                found[production.boolean, "any"].append(production)
            if numbers:
                found[production.boolean, "numbers"].append(production)
        return {key: Choices(tuple(group), tuple(itertools.accumulate(p.weight for p in group))) for key, group in found.items()}

    def draw(self, rng: np.random.Generator, boolean: bool, below: Below = "any") -> Production | None:
        """A production of real numbers or of conditions, by weight: one that takes what is to be below it. None if there is none."""
        choices = self._choices.get((boolean, below))
        return None if choices is None else choices.draw(rng)

    def draw_terminal(self, rng: np.random.Generator, parameters: Sequence[str] = ()) -> Expression:
        """x, one of the parameters, or a constant: log-normal around 1, of either sign."""
        if rng.random() < X_SHARE:
            return Name("x")
        if parameters and rng.random() < PARAMETER_SHARE:
            return Name(parameters[int(rng.integers(len(parameters)))])
        return number(tidy(float(np.exp(CONSTANT_SPREAD * rng.standard_normal())) * float(rng.choice((-1.0, 1.0)))))

    def grow(self, rng: np.random.Generator, depth: int, full: bool, boolean: bool = False, parameters: Sequence[str] = ()) -> Expression:
        """A random tree at most `depth` levels deep (a condition needs two): every branch that deep, or ending anywhere."""
        production = None
        if boolean or (depth > 1 and (full or rng.random() >= GROW_STOP)):
            production = self.draw(rng, boolean, "any" if depth > 2 else "numbers")
        if production is None:
            return self.draw_terminal(rng, parameters)
        return production.make(tuple(self.grow(rng, depth - 1, full, kind, parameters) for kind in production.children))

    @functools.cached_property
    def catalogue(self) -> tuple[str, ...]:
        """The catalogue functions that are in the space."""
        return tuple(name for name in catalog.names() if name not in self.excluded)

    def seeds(self) -> tuple[tuple[str, Program], ...]:
        """The catalogue as genomes: a function's own formula where that is one expression, so that it can vary, else a call."""
        found = []
        for name in self.catalogue:
            own = catalog.entry(name).program
            written_out = all(isinstance(s, Parameter) for s in own.statements)
            found.append((name, to_genome(own) if written_out else Program((), Call(name, (Name("x"),)))))
        return tuple((name, seed) for name, seed in found if self.allows(seed))


def tidy(value: float) -> float:
    """The value to three significant digits, so that formulas stay readable."""
    return float(f"{value:.3g}")
