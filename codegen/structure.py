"""Structure apart from constants: what a compiled kernel is keyed by.

`abstract` takes the constants out of a graph: each becomes a slot, numbered by first appearance, equal values sharing one, and
the values become a list that a kernel receives when it is launched. Structural numbers (0, 1, 2, 1/2, their negatives,
infinities and whole exponents) stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from codegen.extrapolation import PLACES, limit_of
from codegen.graph import Node, is_structural, rebuild, slot, topological, with_args
from codegen.operators import OPERATORS


def abstract(roots: Sequence[Node]) -> tuple[list[Node], tuple[float, ...]]:
    """The roots with slots for constants, and the constants."""
    values: dict[float, int] = {}

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        if node.name == "constant" and not node.boolean and not is_structural(node):
            return slot(values.setdefault(cast(float, node.attribute), len(values)))
        return with_args(node, args)

    abstracted = rebuild(roots, visit)
    return abstracted, tuple(values)


def serialise(roots: Sequence[Node]) -> str:
    """The structure as text: equal texts are equal graphs, node for node. One line a node, arguments by line number."""
    order = topological(roots)
    index = {node: str(k) for k, node in enumerate(order)}
    lines = [f"{n.name}[{n.attribute}]{'?' if n.boolean else ''}({','.join(map(index.__getitem__, n.args))})" for n in order]
    return ";".join([*lines, ",".join([index[root] for root in roots])])


Tape = tuple[tuple[str, "float | int | None", tuple[int, ...]], ...]


def tape(roots: Sequence[Node]) -> tuple[Tape, tuple[int, ...]]:
    """Expressions of constants and slots as plain data, to be stored with a kernel and evaluated at its launches.

    The only input is the x of an expression that a limit closes over.
    """
    order = topological(roots)
    index = {node: k for k, node in enumerate(order)}
    lines = tuple((n.name, n.attribute if isinstance(n.attribute, int | float) else None, tuple(index[a] for a in n.args)) for n in order)
    return lines, tuple(index[root] for root in roots)


def evaluate_tape(lines: Tape, roots: Sequence[int], slots: Sequence[float]) -> list[float]:
    """The values of a tape's roots for the given slots, in float64. What a limit closes over is evaluated at `extrapolation.PLACES`."""
    values: list[Any] = []
    with np.errstate(all="ignore"):
        for name, attribute, args in lines:
            if name == "constant":
                values.append(np.float64(cast(float, attribute)))
            elif name == "slot":
                values.append(np.float64(slots[cast(int, attribute)]))
            elif name == "input":
                values.append(PLACES)
            elif name == "limit":
                values.append(np.float64(limit_of(values[args[0]], cast(float, attribute))))
            else:
                extra = () if attribute is None else (attribute,)
                values.append(OPERATORS[name].reference(*[values[a] for a in args], *extra))
    return [float(values[r]) for r in roots]
