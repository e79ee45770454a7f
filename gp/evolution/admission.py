"""Admission: what a new program must pass before anything is trained. It is small and cheap enough, new, and worth training.

Duplicates are found by the canonical structure with its constants, and by the values of function and derivative, across the whole
run; equal functions, however they are written, are trained once.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from codegen.acceptance import accepted
from codegen.function import activation
from gp.evolution.behaviour import Behaviour, describe
from gp.evolution.genome import key_of, size, text_of
from gp.evolution.screen import profile_of
from grammar.errors import DSLError
from grammar.tree import Program

DUPLICATE: Final = "duplicate"
TOO_LARGE: Final = "too large"


def digest(text: str) -> int:
    """64 bits of a text, the same everywhere; SQLite's signed integers hold them."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of a program without training it; `reason` says why it is turned away, or is None. The fields are those of
    `gp.evolution.candidate.Candidate`."""

    text: str
    size: int
    reason: str | None
    keys: tuple[int, ...] = ()
    structure: int = 0
    cost: int = 0
    behaviour: Behaviour | None = None


class Admission:
    """`known` are the keys of every function that was seen; `rejections` counts what was turned away, by reason."""

    def __init__(self, max_size: int, max_cost: int) -> None:
        self.known: set[int] = set()
        self.rejections: Counter[str] = Counter()
        self._max_size, self._max_cost = max_size, max_cost

    def judge(self, program: Program) -> Judgement:
        """Whether a program is to be trained. From now on it is known, and all that equals it is a duplicate."""
        found = self._judge(program)
        if found.reason is not None:
            self.rejections[found.reason] += 1
        return found

    def _judge(self, program: Program) -> Judgement:
        text, nodes = text_of(program), size(program)
        if nodes > self._max_size:
            return Judgement(text, nodes, TOO_LARGE)
        spelling = digest(text)
        if spelling in self.known:
            return Judgement(text, nodes, DUPLICATE)
        try:
            function = accepted(program)
        except DSLError as error:  # past a bound of the language, for catalogue functions can be large
            return Judgement(text, nodes, TOO_LARGE if "MAX_" in str(error) else "not in the language")
        structure = digest(function.key)
        seen = profile_of(function)
        keys = [spelling, digest(key_of(function))]
        reason = None if self._are_new(keys) else DUPLICATE
        reason = reason or seen.objection(self._max_cost)
        if reason is None:
            values = seen.fingerprints
            keys += values
            reason = None if self._are_new(values) else DUPLICATE
        self.known.update(keys)
        if reason is not None:
            return Judgement(text, nodes, reason, tuple(keys), structure)
        return Judgement(text, nodes, None, tuple(keys), structure, seen.cost, describe(seen.value, seen.slope))

    def _are_new(self, keys: Iterable[int]) -> bool:
        return self.known.isdisjoint(keys)


def behaviour(program: Program) -> Behaviour:
    """What a genome's function does."""
    seen = profile_of(activation(program))
    return describe(seen.value, seen.slope)
