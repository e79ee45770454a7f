"""A candidate: a program with its lineage, and what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gp.evolution.behaviour import Behaviour
from gp.lab.score import Score
from grammar.tree import Program


@dataclass(frozen=True, slots=True)
class Candidate:
    """A program, where it comes from, and its fate: what each stage of training said of it, or why it was turned away.

    `origin` is the operator that made it, or "seed", "random", "tuning" or "snapping"; `parents` are the numbers of candidates.
    `structure` is equal for programs that differ in the values of constants alone. `keys` are what duplicates are found by.
    `cost`: operations of value and derivative for an element, in units of the cost model; `size`: nodes of the syntax tree.
    `behaviour`: its cell in an archive; a candidate that was turned away has none.
    `differences`: for each stage that it completed, its score less gelu's on the same networks. `score`: that of the last of them.
    `reason` may come with a score: the networks were trained, but did not fit. `stopped` names the stage that was cut short, since
    the candidate could not be among its best.
    """

    number: int
    generation: int
    island: int
    origin: str
    parents: tuple[int, ...]
    program: Program
    text: str
    structure: int = 0
    keys: tuple[int, ...] = ()
    cost: int = 0
    size: int = 0
    behaviour: Behaviour | None = None
    differences: tuple[float, ...] = ()
    score: Score | None = None
    stopped: str | None = None
    reason: str | None = None

    @property
    def fitness(self) -> tuple[int, float]:
        """Lower is better: who completed more stages comes first, and in a stage who is better than gelu by more."""
        return (-len(self.differences), self.differences[-1]) if self.reason is None and self.differences else (1, math.inf)

    @property
    def rank(self) -> tuple[tuple[int, float], int, str]:
        """What candidates are sorted by: fitness, then the shorter text."""
        return self.fitness, len(self.text), self.text
