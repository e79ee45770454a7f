"""The constants of finalists, tuned by a local search on the data of the search, then shortened where that costs nothing measurable.

Constants are run-time arguments of a kernel, so nothing is compiled for a new value. The search is a (1 + 6) evolution strategy on
the logarithms of all constants together, with the one-fifth rule's idea: steps grow after a success and shrink without one. Every
proposal is trained on the same networks, and one is believed only when it is ahead by more than two standard errors of the paired
difference, for the best of several noisy values flatters: with scores that do not depend on the constants, one error lets 62% of
candidates be "tuned", two 25%. Finalists are measured again on other seeds, with and without tuning.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Steps, by_text, parts_of
from gp.evolution.genome import number, places, text_of
from gp.evolution.genome import replace as replaced
from gp.evolution.variation.parts import parameters_of
from gp.lab.protocol import Measurement
from gp.lab.score import instance_weights
from grammar.tree import Chain, Expression, Number, Program, Unary

PROPOSALS: Final = 6
ROUNDS: Final = 4
_FIRST_STEP: Final = 0.2  # deviation of the logarithm of a constant's change
_GROWTH, _SHRINKAGE = 1.5, 0.6
_SURE: Final = 2.0  # standard errors by which a proposal must be ahead
_DIGITS: Final = (2, 1)  # of constants that are snapped, one after the other

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tuned:
    """A program that tuning found, how it was made ("tuning" or "snapping"), and the candidate that it comes from."""

    origin: str
    program: Program
    parent: int


def constants(program: Program) -> list[float]:
    """The constants that can be varied: literals, and initial values of parameters, but no exponents."""
    return [value for _, value in _literals(program)] + [_value(p.initial) for p in parameters_of(program).values()]


def with_constants(program: Program, values: Sequence[float]) -> Program:
    """The program with other constants, in the order of `constants`, each of the sign that it had."""
    result, literals = program.result, _literals(program)
    for (path, _), value in zip(literals, values, strict=False):
        result = replaced(result, path, Number(value))
    initial = values[len(literals) :]
    parameters = [replace(p, initial=number(v)) for p, v in zip(parameters_of(program).values(), initial, strict=True)]
    return Program(tuple(parameters), result)


def shortened(value: float, digits: int) -> float:
    """The value to so many significant digits."""
    return float(f"{value:.{digits}g}")


def tune(candidates: Sequence[Candidate], what: Measurement, rng: np.random.Generator) -> Steps[list[Tuned]]:
    """Better or shorter constants for those candidates where they are found."""
    searches = [_search(c, what, np.random.default_rng(stream)) for c, stream in zip(candidates, rng.spawn(len(candidates)), strict=True)]
    return (yield from _together(searches, what))


_Texts = tuple[str, ...]
_Search = Generator[_Texts, Mapping[str, Array], list[Tuned]]


def _together(searches: Sequence[_Search], what: Measurement) -> Steps[list[Tuned]]:
    """Several searches at once, so that workers have enough to do: each round measures what all of them ask for."""
    found: list[Tuned] = []
    wanted: dict[int, _Texts] = {}

    def go_on(k: int, parts: Mapping[str, Array] | None) -> None:
        """Run a search up to what it asks for next."""
        wanted.pop(k, None)
        try:
            wanted[k] = next(searches[k]) if parts is None else searches[k].send(parts)
        except StopIteration as end:
            found.extend(end.value)

    for k in range(len(searches)):
        go_on(k, None)
    while wanted:
        texts = tuple(dict.fromkeys(text for asked in wanted.values() for text in asked))
        results = yield Batch("tuning", what, tuple((text, seed) for text in texts for seed in what.seeds))
        parts = {text: np.mean([parts_of(r, what) for r in group], axis=0) for text, group in by_text(texts, results, what).items()}
        for k, asked in list(wanted.items()):
            go_on(k, {text: parts[text] for text in asked if text in parts})
    return found


def _search(candidate: Candidate, what: Measurement, rng: np.random.Generator) -> _Search:
    """The local search for one candidate: it asks for programs, and is sent their networks' scores."""
    program, values = candidate.program, np.array(constants(candidate.program))
    if not len(values):
        return []
    weights = instance_weights(what.instances, what.protocol)
    parts = yield (candidate.text,)
    if candidate.text not in parts:
        return []
    best, step, found = parts[candidate.text], _FIRST_STEP, []
    for _ in range(ROUNDS):
        changed = [values * np.exp(step * rng.standard_normal(len(values))) for _ in range(PROPOSALS)]
        proposals = {text_of(p): p for v in changed if np.isfinite(v).all() and (p := with_constants(program, _tidied(v)))}
        parts = yield tuple(proposals)
        ahead = {text: _difference(found_parts, best, weights) for text, found_parts in parts.items()}
        winner = min(ahead, key=lambda text: ahead[text][0], default=None)
        if winner is not None and ahead[winner][0] < -_SURE * ahead[winner][1]:
            program, best = proposals[winner], parts[winner]
            values, step = np.array(constants(program)), step * _GROWTH
        else:
            step *= _SHRINKAGE
    if program is not candidate.program:
        found.append(Tuned("tuning", program, candidate.number))
    for digits in _DIGITS:
        snapped = with_constants(program, [shortened(v, digits) for v in constants(program)])
        if snapped == program:
            continue
        parts = yield (text_of(snapped),)
        if text_of(snapped) not in parts:
            break
        change, error = _difference(parts[text_of(snapped)], best, weights)
        if change > error:
            break
        program = snapped
        found.append(Tuned("snapping", program, candidate.number))
    return found


def _difference(candidate: Array, other: Array, weights: Array) -> tuple[float, float]:
    """The paired difference of two scores, and its standard error over instances."""
    pairs = candidate - other
    mean = float(pairs @ weights)
    return mean, math.sqrt(float(np.square(weights) @ np.square(pairs - mean)))


def _tidied(values: Array) -> list[float]:
    return [shortened(float(v), 3) for v in values]


def _literals(program: Program) -> list[tuple[tuple[int, ...], float]]:
    found = []
    for place in places(program.result):
        if isinstance(place.node, Number) and not _is_exponent(program.result, place.path):
            found.append((place.path, place.node.value))
    return found


def _is_exponent(result: Expression, path: tuple[int, ...]) -> bool:
    node = result
    for k in path:
        if isinstance(node, Chain) and node.operators[0] == "^" and k == 1:
            return True
        node = node.children[k]
    return False


def _value(initial: Expression) -> float:
    if isinstance(initial, Unary):
        return -_value(initial.operand)
    assert isinstance(initial, Number)
    return initial.value
