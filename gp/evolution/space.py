"""What expressions are made of: productions with weights, read off the operator table and the catalogue.

An operator that is added to `codegen.operators` is part of the space from then on. Weights say how often a production is drawn.
Only pointwise functions without learnable parameters take part: a stack of networks shares the tensor that they act on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from codegen.limits import is_pointwise
from codegen.operators import FUNCTIONS, Operator
from gp.evolution.genome import number
from grammar import catalog
from grammar.tree import Call, Chain, Expression, Name, Number, Unary
from kernels.programs import program

ARITHMETIC: Final = {"+": 8.0, "-": 4.0, "*": 10.0, "/": 3.0}
NEGATION: Final = 1.0
CUBE: Final = 0.5
COMPARISONS: Final = ("<", ">")
FUNCTION: Final = 1.0
# Operators that are undefined on part of the line, or have no gradient, make few candidates that can be trained.
UNLIKELY: Final = 0.2
CATALOGUE: Final = 6.0  # the weight of all catalogue functions together
X_SHARE: Final = 0.7  # of the terminals; the rest are constants
GROW_STOP: Final = 0.3  # how often a branch of a grown tree ends early
CONSTANT_SPREAD: Final = 1.0  # deviation of the logarithm of a constant's size


@dataclass(frozen=True, slots=True)
class Production:
    """A way to make a node: which of its children are conditions, whether it is one, its weight, and how it is made."""

    name: str
    children: tuple[bool, ...]
    boolean: bool
    weight: float
    make: Callable[[tuple[Expression, ...]], Expression]


def _call(name: str, children: tuple[Expression, ...]) -> Expression:
    return Call(name, children)


def _chain(sign: str, children: tuple[Expression, ...]) -> Expression:
    return Chain((sign,), children)


def _prefix(sign: Literal["-", "not"], children: tuple[Expression, ...]) -> Expression:
    return Unary(sign, children[0])


def _cube(children: tuple[Expression, ...]) -> Expression:
    return Chain(("^",), (children[0], Number(3.0)))


def _function_weight(operator: Operator) -> float:
    trainable = any(rule != "0" for rule, boolean in zip(operator.derivative, operator.boolean_arguments, strict=True) if not boolean)
    return FUNCTION if trainable and operator.domain == "all reals" else UNLIKELY


@functools.cache
def catalogue() -> tuple[str, ...]:
    """The catalogue's pointwise functions."""
    return tuple(name for name in catalog.names() if is_pointwise(program(catalog.entry(name).text).structure))


@functools.cache
def productions() -> tuple[Production, ...]:
    """Every production, in the tables' order."""
    made = [Production(s, (False, False), False, w, functools.partial(_chain, s)) for s, w in ARITHMETIC.items()]
    made.append(Production("neg", (False,), False, NEGATION, functools.partial(_prefix, "-")))
    made.append(Production("cube", (False,), False, CUBE, _cube))
    for name, operator in FUNCTIONS.items():
        make = functools.partial(_call, name)
        made.append(Production(name, operator.boolean_arguments, operator.boolean_result, _function_weight(operator), make))
    weight = CATALOGUE / max(len(catalogue()), 1)
    made += [Production(name, (False,), False, weight, functools.partial(_call, name)) for name in catalogue()]
    made += [Production(s, (False, False), True, 1.0, functools.partial(_chain, s)) for s in COMPARISONS]
    return tuple(made)


@functools.cache
def matching(boolean: bool, children: tuple[bool, ...] | None = None) -> tuple[tuple[Production, ...], tuple[float, ...]]:
    """The productions of real numbers or of conditions, only those with such children if these are given, and probabilities."""
    found = tuple(p for p in productions() if p.boolean is boolean and children in (None, p.children))
    total = sum(p.weight for p in found)
    return found, tuple(p.weight / total for p in found)


def draw(rng: np.random.Generator, boolean: bool, children: tuple[bool, ...] | None = None) -> Production:
    """A production by weight."""
    found, probabilities = matching(boolean, children)
    return found[int(rng.choice(len(found), p=probabilities))]


def tidy(value: float) -> float:
    """The value to three significant digits, so that formulas stay readable."""
    return float(f"{value:.3g}")


def draw_terminal(rng: np.random.Generator) -> Expression:
    """x, or a constant: log-normal around 1, of either sign."""
    if rng.random() < X_SHARE:
        return Name("x")
    return number(tidy(float(np.exp(CONSTANT_SPREAD * rng.standard_normal())) * float(rng.choice((-1.0, 1.0)))))


def grow(rng: np.random.Generator, depth: int, full: bool, boolean: bool = False) -> Expression:
    """A random tree at most `depth` levels deep (a condition needs two): every branch that deep, or ending anywhere."""
    if not boolean and (depth == 1 or (not full and rng.random() < GROW_STOP)):
        return draw_terminal(rng)
    production = draw(rng, boolean)
    while depth < 3 and any(production.children):  # there is no room for a condition below
        production = draw(rng, boolean)
    children = tuple(grow(rng, depth - 1, full, kind) for kind in production.children)
    return production.make(children)


def seeds() -> tuple[tuple[str, Expression], ...]:
    """The catalogue as genomes: a function's own formula where that is one expression, so that it can vary, else a call."""
    found = []
    for name in catalogue():
        entry = catalog.entry(name)
        body = entry.program.result if not entry.program.statements else Call(name, (Name("x"),))
        found.append((name, body))
    return tuple(found)
