"""A function and its derivatives of any order, from the graph: what a backend compiles.

Order 0 is the activation: inputs x and the parameters, one result y. Order k+1 is the vector-Jacobian product of order k: its
inputs are those of order k and one cotangent for each of its results; its results are the gradients of the order-k inputs.
Order 1 is therefore the backward pass, order 2 the backward pass of the backward pass.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from codegen.asymptotics import guard_products
from codegen.build import Function, LearnableParameter, build
from codegen.derivative import Result, derivative, pullback
from codegen.graph import Node, rebuild, source, with_args
from codegen.instructions import Span
from codegen.limits import is_pointwise, may_be_undefined, settled
from codegen.simplify import simplify
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

    @property
    def parameters(self) -> tuple[LearnableParameter, ...]:
        return self.function.parameters

    @property
    def of_x_alone(self) -> bool:
        """Whether it is a function of x at its own place and has no learnable parameters, not even ones that cancel."""
        return not self.parameters and is_pointwise(self.structure)

    @property
    def slope(self) -> Node:
        """The derivative with respect to x, point by point: statistics, shifts and parameters count as constants."""
        return derivative(self.graph, _X)


def activation(program: Program) -> Activation:
    """The simplified graph of a program, of whatever size (`codegen.acceptance` has the bounds). Raises DSLError."""
    function = build(program)
    graph = simplify([function.result])[0]
    structures, constants = abstract([graph])
    return Activation(function, graph, structures[0], constants, _key(function.parameters, structures[0]))


def with_learnable_constants(function: Activation) -> Activation:
    """The same function with each constant as a learnable scalar, behind the parameters of its own: what constants are fitted with.

    Structural numbers (0, 1, 2, 1/2, whole exponents) stay. Constants of one value are one parameter. Their names, `fitted.0`, ... in the
    order of `constants`, cannot be a program's.
    """
    added = tuple(LearnableParameter(f"fitted.{k}", False, value) for k, value in enumerate(function.constants))

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        return source(added[cast(int, node.attribute)].name, Span.SCALAR) if node.name == "slot" else with_args(node, args)

    structure = rebuild([function.structure], visit)[0]
    inner = replace(function.function, parameters=(*function.parameters, *added))
    return Activation(inner, function.graph, structure, (), _key(inner.parameters, structure))


def _key(parameters: Sequence[LearnableParameter], structure: Node) -> str:
    spans = ",".join(f"{p.name}:{'channel' if p.per_channel else 'scalar'}" for p in parameters)
    return f"{spans}|{serialise([structure])}"


@functools.lru_cache(maxsize=256)  # value and derivative are asked for one after the other
def _undefined(structure: Node) -> tuple[Node | None, Node | None]:
    """Value and derivative as the kernels compute them, of pointwise functions; None where it cannot be NaN at an infinity."""
    if not is_pointwise(structure):
        return None, None
    guarded = guard_products([structure, derivative(structure, _X)])
    value, slope = (node if undefined else None for node, undefined in zip(guarded, may_be_undefined(guarded), strict=True))
    return value, slope


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs of a function of some order, by name and span (x first), and the spans of its results."""

    inputs: tuple[tuple[str, Span], ...]
    results: tuple[Span, ...]


@functools.lru_cache(maxsize=1024)
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
    undefined = _undefined(function.structure)[order] if order < 2 else None
    if undefined is not None:
        cotangent = source(signature(parameters, 1).inputs[-1][0], Span.ELEMENT) if order else None
        results = (Result(settled(results[0].node, undefined, cotangent), Span.ELEMENT), *results[1:])
    return results


def value_and_slope(function: Activation) -> tuple[Result, Result]:
    """y and dy/dx of a function of x alone, for a caller that keeps dy/dx from the forward pass: the backward pass is then a product."""
    nodes = (function.structure, derivative(function.structure, _X))
    ends = _undefined(function.structure)
    value, slope = (node if end is None else settled(node, end) for node, end in zip(nodes, ends, strict=True))
    return Result(value, Span.ELEMENT), Result(slope, Span.ELEMENT)
