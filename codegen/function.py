"""A function and its derivatives of any order, from the graph: what a backend compiles.

Order 0 is the activation: inputs x and the parameters, one result y. Order k+1 is the vector-Jacobian product of order k: its
inputs are those of order k and one cotangent for each of its results; its results are the gradients of the order-k inputs.
Order 1 is therefore the backward pass, order 2 the backward pass of the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codegen.build import Function, LearnableParameter, build
from codegen.derivative import Result, derivative, pullback
from codegen.graph import Node, source
from codegen.instructions import Span
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
    def slope(self) -> Node:
        """The derivative with respect to x, point by point: statistics, shifts and parameters count as constants."""
        return derivative(self.graph, _X)


def activation(program: Program) -> Activation:
    """The simplified graph of a program. Raises DSLError."""
    function = build(program)
    graph = simplify([function.result])[0]
    structures, constants = abstract([graph])
    spans = ",".join(f"{p.name}:{'channel' if p.per_channel else 'scalar'}" for p in function.parameters)
    return Activation(function, graph, structures[0], constants, f"{spans}|{serialise(structures)}")


@dataclass(frozen=True, slots=True)
class Derived:
    """A derivative of a function: its inputs (unshifted input nodes, x first) and its results."""

    inputs: tuple[Node, ...]
    results: tuple[Result, ...]


def derived(structure: Node, parameters: Sequence[LearnableParameter], order: int) -> Derived:
    """The derivative of that order; see the module's docstring."""
    spans = [Span.CHANNEL if p.per_channel else Span.SCALAR for p in parameters]
    inputs = (_X, *(source(p.name, span) for p, span in zip(parameters, spans, strict=True)))
    current = Derived(inputs, (Result(structure, Span.ELEMENT),))
    for k in range(1, order + 1):
        # A name with a sign cannot clash with a parameter's.
        cotangents = tuple(source(f"cotangent{k}.{i}", r.span) for i, r in enumerate(current.results))
        current = Derived((*current.inputs, *cotangents), tuple(pullback(current.results, cotangents, current.inputs)))
    return current
