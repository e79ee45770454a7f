"""A function and its derivatives of any order, from the graph: what a backend compiles.

Order 0 is the activation: inputs x and the parameters, one result y. Order k+1 is the vector-Jacobian product of order k: its
inputs are those of order k and one cotangent for each of its results; its results are the gradients of the order-k inputs.
Order 1 is therefore the backward pass, order 2 the backward pass of the backward pass.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from codegen.asymptotics import guard_products
from codegen.build import Function, LearnableParameter, build
from codegen.derivative import Result, derivative, pullback
from codegen.graph import Node, slot, source
from codegen.instructions import Span
from codegen.limits import is_pointwise, limits, may_be_undefined, settled
from codegen.simplify import make, simplify
from codegen.structure import abstract, serialise
from grammar.tree import Program

_X = source("x", Span.ELEMENT)


@dataclass(frozen=True, slots=True)
class Activation:
    """A program, simplified. `structure` is the graph with slots for constants, whose values are `constants`."""

    function: Function
    graph: Node
    structure: Node
    constants: tuple[float, ...]
    key: str
    undefined: tuple[bool, bool]  # whether value, derivative can be NaN at an infinity, so that their limits are among the constants

    @property
    def parameters(self) -> tuple[LearnableParameter, ...]:
        return self.function.parameters

    @property
    def slope(self) -> Node:
        """The derivative with respect to x, point by point: statistics, shifts and parameters count as constants."""
        return derivative(self.graph, _X)


def activation(program: Program) -> Activation:
    """The simplified graph of a program. Raises DSLError."""
    function = build(program)
    graph = simplify([function.result])[0]
    structures, constants = abstract([graph])
    spans = ",".join(f"{p.name}:{'channel' if p.per_channel else 'scalar'}" for p in function.parameters)
    undefined, ends = _ends(structures[0], constants)
    return Activation(function, graph, structures[0], constants + ends, f"{spans}|{serialise(structures)}", undefined)


def _ends(structure: Node, constants: tuple[float, ...]) -> tuple[tuple[bool, bool], tuple[float, ...]]:
    """Which of value and derivative need their limits at the infinities, and these: each at -inf, then at +inf."""
    guarded, undefined = _behaviour(structure)
    ends = limits([node for node, needed in zip(guarded, undefined, strict=True) if needed], constants)
    return undefined, tuple(value for pair in ends for value in pair)


@functools.lru_cache(maxsize=4096)
def _behaviour(structure: Node) -> tuple[tuple[Node, ...], tuple[bool, bool]]:
    """Value and derivative as the kernels compute them, and whether each can be NaN at an infinity; of pointwise functions."""
    if not is_pointwise(structure):
        return (structure, structure), (False, False)
    guarded = guard_products([structure, derivative(structure, _X)])
    value, slope = may_be_undefined(guarded)
    return tuple(guarded), (value, slope)


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs of a function of some order, by name and span (x first), and the spans of its results."""

    inputs: tuple[tuple[str, Span], ...]
    results: tuple[Span, ...]


@functools.lru_cache(maxsize=4096)
def signature(parameters: tuple[LearnableParameter, ...], order: int) -> Signature:
    """What goes in and comes out at that order; see the module's docstring. Cotangents are named `cotangent1.0`, ...: a name
    with a point cannot be a parameter's."""
    inputs: tuple[tuple[str, Span], ...] = (
        ("x", Span.ELEMENT),
        *((p.name, Span.CHANNEL if p.per_channel else Span.SCALAR) for p in parameters),
    )
    results: tuple[Span, ...] = (Span.ELEMENT,)
    for k in range(1, order + 1):
        cotangents = tuple((f"cotangent{k}.{i}", span) for i, span in enumerate(results))
        results = tuple(span for _, span in inputs)
        inputs = (*inputs, *cotangents)
    return Signature(inputs, results)


def derived(function: Activation, order: int) -> tuple[Result, ...]:
    """The results of the derivative of that order, as graphs over the inputs of its signature; constants are slots."""
    parameters = function.parameters
    results: tuple[Result, ...] = (Result(function.structure, Span.ELEMENT),)
    for k in range(1, order + 1):
        inner = [source(name, span) for name, span in signature(parameters, k - 1).inputs]
        cotangents = [source(name, span) for name, span in signature(parameters, k).inputs[len(inner) :]]
        results = tuple(pullback(results, cotangents, inner))
    if order < 2 and function.undefined[order]:
        first = len(function.constants) - (2 if order else 2 * sum(function.undefined))
        ends = [slot(first), slot(first + 1)]
        if order:
            ends = [make("mul", source(signature(parameters, 1).inputs[-1][0], Span.ELEMENT), end) for end in ends]
        results = (Result(settled(results[0].node, *ends), Span.ELEMENT), *results[1:])
    return results
