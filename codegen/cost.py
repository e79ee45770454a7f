"""The cost model: operations per element, counted on the graph, each shared subexpression once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codegen.graph import Node, topological
from codegen.instructions import Span
from codegen.operators import Operator


@dataclass(frozen=True, slots=True)
class Cost:
    """Per element: floating-point operations (a division or square root counts 4) and calls of elementary functions."""

    flops: int
    transcendental: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.transcendental + other.transcendental)


def cost(roots: Sequence[Node]) -> Cost:
    """The cost of evaluating all roots together. What varies over the whole launch alone (scalars) costs nothing an element."""
    operators = [n.operator for n in topological(roots) if isinstance(n.operator, Operator) and n.span is not Span.SCALAR]
    return Cost(sum(o.flops for o in operators), sum(o.transcendental for o in operators))
