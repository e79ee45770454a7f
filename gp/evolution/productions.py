"""What expressions are made of: productions with default weights, read off the operator table and the catalogue.

An operator that is added to `codegen.operators` is a production from then on. Weights say how often a production is drawn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from codegen.build import STATISTICS
from codegen.function import activation
from codegen.graph import OVER_SPAN, Source, topological
from codegen.operators import FUNCTIONS, Operator
from gp.evolution.genome import number
from grammar import catalog
from grammar.tree import Call, Chain, Expression, Number, Unary

ARITHMETIC: Final = {"+": 8.0, "-": 4.0, "*": 10.0, "/": 3.0}
NEGATION: Final = 1.0
CUBE: Final = 0.5
COMPARISONS: Final = ("<", ">")
FUNCTION: Final = 1.0
# Operators that are undefined on part of the line, or have no gradient, make few candidates that can be trained.
UNLIKELY: Final = 0.2
CATALOGUE: Final = 6.0  # the weight of all catalogue functions together
STATISTIC: Final = 0.3
SHIFT: Final = 1.0
SHIFTS: Final = (-2, -1, 1, 2)


@dataclass(frozen=True, slots=True)
class Production:
    """A way to make a node: which of its children are conditions, whether it is one, its weight, and how it is made.

    A statistic or a shift is several productions of one name.
    """

    name: str
    children: tuple[bool, ...]
    boolean: bool
    weight: float
    make: Callable[[tuple[Expression, ...]], Expression]


def _call(name: str, options: tuple[tuple[str, str], ...], children: tuple[Expression, ...]) -> Expression:
    return Call(name, children, options)


def _chain(sign: str, children: tuple[Expression, ...]) -> Expression:
    return Chain((sign,), children)


def _prefix(sign: Literal["-", "not"], children: tuple[Expression, ...]) -> Expression:
    return Unary(sign, children[0])


def _cube(children: tuple[Expression, ...]) -> Expression:
    return Chain(("^",), (children[0], Number(3.0)))


def _shift(channels: int, children: tuple[Expression, ...]) -> Expression:
    return Call("shift", (children[0], number(float(channels))))


def _function_weight(operator: Operator) -> float:
    trainable = any(rule != "0" for rule, boolean in zip(operator.derivative, operator.boolean_arguments, strict=True) if not boolean)
    return FUNCTION if trainable and operator.domain == "all reals" else UNLIKELY


@functools.cache
def all_productions() -> tuple[Production, ...]:
    """Every production, in the tables' order."""
    made = [Production(s, (False, False), False, w, functools.partial(_chain, s)) for s, w in ARITHMETIC.items()]
    made.append(Production("neg", (False,), False, NEGATION, functools.partial(_prefix, "-")))
    made.append(Production("cube", (False,), False, CUBE, _cube))
    for name, operator in FUNCTIONS.items():
        make = functools.partial(_call, name, ())
        made.append(Production(name, operator.boolean_arguments, operator.boolean_result, _function_weight(operator), make))
    weight = CATALOGUE / len(catalog.names())
    made += [Production(name, (False,), False, weight, functools.partial(_call, name, ())) for name in catalog.names()]
    for name in STATISTICS:
        for over in OVER_SPAN:
            options = () if over == "tensor" else (("over", over),)
            made.append(Production(name, (False,), False, STATISTIC / len(OVER_SPAN), functools.partial(_call, name, options)))
    made += [Production("shift", (False,), False, SHIFT / len(SHIFTS), functools.partial(_shift, k)) for k in SHIFTS]
    made += [Production(s, (False, False), True, 1.0, functools.partial(_chain, s)) for s in COMPARISONS]
    return tuple(made)


def names_of(node: Expression) -> tuple[str, ...]:
    """The names of the productions that make a node; what variation never makes, such as `<=`, goes by its sign."""
    if isinstance(node, Call):
        return (node.function,)
    if isinstance(node, Chain):
        return (*node.operators, "cube") if node.operators == ("^",) and node.operands[1] == Number(3.0) else node.operators
    if isinstance(node, Unary) and not isinstance(node.operand, Number):
        return ("neg",) if node.operator == "-" else ("not",)
    return ()


@dataclass(frozen=True, slots=True)
class Needs:
    """What a catalogue function has besides pointwise operations: parameters of one kind or both, statistics, shifts."""

    parameters: frozenset[bool]  # whether each is per channel
    statistics: bool
    shifts: bool


@functools.cache
def needs(name: str) -> Needs:
    """What the catalogue function of that name needs."""
    function = activation(catalog.entry(name).program)
    nodes = topological([function.graph])
    return Needs(
        frozenset(p.per_channel for p in function.parameters),
        any(n.operator == "mean" for n in nodes),
        any(isinstance(n.attribute, Source) and n.attribute.shift != 0 for n in nodes),
    )
