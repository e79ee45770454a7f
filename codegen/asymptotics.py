"""Where a product needs care at the far ends of the line, found from the operator table alone.

In exact arithmetic x*sigmoid(x) goes to 0 on the far left; in floating point it ends as inf*0 = NaN, and x*exp(x)*sech(exp(x))^2
does so at x = 100 already, where exp overflows float32. A product whose one factor may vanish where the other may grow without
bound becomes `absorb`, in which the exact zero wins.

Each node's behaviour at an end is a set of classes: -inf, negative, 0, positive, inf. An operator's effect on classes is read
off its NumPy definition at representatives of each class, so a new operator needs nothing here. The sets depend on structure,
never on the value of a constant that a kernel receives at launch.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Mapping, Sequence
from typing import Final, cast

import numpy as np

from codegen.graph import Node, Source, apply, constant, is_structural, rebuild, source, topological, with_args
from codegen.growth import zero_wins
from codegen.instructions import Span
from codegen.operators import OPERATORS, Operator

Classes = frozenset[float]
_INF: Final = float("inf")
_X: Final = source("x", Span.ELEMENT)
_FINITE: Final[Classes] = frozenset({-1.0, 1.0})
_ANY: Final[Classes] = frozenset({-_INF, -1.0, 0.0, 1.0, _INF})
# Two representatives on either side of 1, so that log or a difference of two of one class shows both of its signs.
_REPRESENTATIVES: Final[dict[float, tuple[float, ...]]] = {-_INF: (-_INF,), -1.0: (-1.7, -0.6), 0.0: (0.0,), 1.0: (0.6, 1.7), _INF: (_INF,)}


def guard_products(roots: Sequence[Node]) -> list[Node]:
    """The roots with every product that could be 0*inf, at finite or infinite x, replaced by `absorb` where it is known that the zero wins:
    on both sides of x = 0, or on one."""
    ends = [(end, _classes(roots, end)) for end in (-_INF, _INF)]

    def outcome(node: Node, end: float, classes: Mapping[Node, Classes]) -> bool | None:
        """Whether the zero wins wherever it may be 0*inf on the way to an end; None where it cannot be."""
        (a, b), found = node.args, []
        for zero, other in ((a, b), (b, a)):
            if 0.0 in classes[zero] and _grows(classes[other]):
                found.append(zero_wins(zero, other, end))
        return all(found) if found else None

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        if node.name != "mul":
            return with_args(node, args)
        left, right = (outcome(node, end, classes) for end, classes in ends)
        if not left and not right:
            return with_args(node, args)
        absorbed, plain = apply(OPERATORS["absorb"], *args), apply(OPERATORS["mul"], *args)
        if left is not False and right is not False:
            return absorbed
        return apply(OPERATORS["where"], apply(OPERATORS["lt"], _X, constant(0.0)), *((absorbed, plain) if left else (plain, absorbed)))

    return rebuild(roots, visit)


def _grows(classes: Classes) -> bool:
    return _INF in classes or -_INF in classes


# A value, its derivative and the backward pass share most of their nodes, so what is known of a node is kept with it.
_KNOWN: Final[dict[float, weakref.WeakKeyDictionary[Node, Classes]]] = {end: weakref.WeakKeyDictionary() for end in (-_INF, _INF)}


def _classes(roots: Sequence[Node], end: float) -> Mapping[Node, Classes]:
    """The classes of every node as x goes to `end`; the graph's other inputs are finite."""
    found = _KNOWN[end]
    for node in topological(roots):
        if node in found:
            continue
        if isinstance(node.attribute, Source):
            found[node] = frozenset({end}) if node.attribute.name == "x" else _FINITE
        elif node.operator == "constant":
            found[node] = _class_of(cast(float, node.attribute)) if is_structural(node) or node.boolean else _FINITE
        elif isinstance(node.operator, str):
            found[node] = _FINITE
        elif node.name == "where":
            condition, a, b = (found[arg] for arg in node.args)
            found[node] = (a if condition != frozenset({0.0}) else frozenset()) | (b if 0.0 in condition else frozenset())
        else:
            attribute = node.attribute if isinstance(node.attribute, int) else None
            found[node] = _transfer(node.operator, attribute, tuple(found[a] for a in node.args))
    return found


def _class_of(value: float) -> Classes:
    if np.isnan(value):  # a limit that nobody knows
        return _FINITE
    return frozenset({value if value == 0 or np.isinf(value) else float(np.sign(value))})


@functools.lru_cache(maxsize=2048)
def _transfer(operator: Operator, attribute: int | None, arguments: tuple[Classes, ...]) -> Classes:
    points = [[r for c in sorted(classes) for r in _REPRESENTATIVES[c]] for classes in arguments]
    grid = [np.array(column) for column in zip(*itertools.product(*points), strict=True)]
    if operator.boolean_arguments and operator.boolean_arguments[0]:
        grid = [column != 0 for column in grid]
    extra = () if attribute is None else (attribute,)
    with np.errstate(all="ignore"):
        values = np.asarray(operator.reference(*grid, *extra), dtype=np.float64)
    result: Classes = frozenset()
    for value in values:
        if np.isnan(value):
            # inf - inf and 0*inf can be anything; sin(inf) stays bounded, and log(-1) is nobody's limit.
            result |= _ANY if operator.arity == 2 else _FINITE
        else:
            result |= _class_of(float(value))
    return result
