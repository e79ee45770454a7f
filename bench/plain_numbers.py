"""The plain program: its graph as written, operator by operator in one precision, and its gradient by the plain chain rule.

Nothing is simplified, fused or guarded. Each operator is its NumPy definition, rounded to the precision, and each partial derivative its
rule from the operator table: what a careful user would get from an array library with autograd.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bench.high_precision import EXACT
from codegen.derivative import placeholders, templates
from codegen.graph import Node, Source, topological
from codegen.instructions import Span
from codegen.operators import Operator

Array = NDArray[Any]


def plain(root: Node, x: Array, noise: np.random.Generator | None = None) -> tuple[Array, Array]:
    """Value and gradient of a pointwise program without parameters at every x, in the precision of x.

    With `noise`, every result that is rounded goes to one of its neighbours, or stays, at random: how far such results spread says how
    wrong rounding makes the plain program.
    """
    with np.errstate(all="ignore"):
        values = _values([root], {}, x, noise)
        adjoints: dict[Node, Array] = {root: np.ones_like(x)}
        for node in reversed(topological([root])):
            if node.boolean or not node.args or node not in adjoints:
                continue
            operator = cast(Operator, node.operator)
            stands = [*(values[a] for a in node.args), values[node]]
            if node.attribute is not None:
                stands.append(x.dtype.type(node.attribute))
            bound = dict(zip(placeholders(operator).values(), stands, strict=False))
            for argument, rule in zip(node.args, templates(operator), strict=True):
                if argument.boolean or argument.constant or (rule.operator == "constant" and rule.attribute == 0.0):
                    continue
                sent = _disturbed(adjoints[node] * _values([rule], bound, x, noise)[rule], noise)
                adjoints[argument] = sent if argument not in adjoints else _disturbed(adjoints[argument] + sent, noise)
    gradient = next((adjoints[n] for n in values if isinstance(n.attribute, Source) and n in adjoints), np.zeros_like(x))
    return np.broadcast_to(values[root], x.shape), np.broadcast_to(gradient, x.shape)


def _values(roots: list[Node], known: Mapping[Node, Any], x: Array, noise: np.random.Generator | None) -> dict[Node, Any]:
    values: dict[Node, Any] = dict(known)
    for node in topological(roots):
        if node in values:
            continue
        if isinstance(node.attribute, Source):
            values[node] = x
        elif node.operator == "constant":
            values[node] = bool(node.attribute) if node.boolean else x.dtype.type(cast(float, node.attribute))
        else:
            arguments = [values[a] if a.boolean else np.asarray(values[a], np.float64) for a in node.args]
            extra = () if node.attribute is None else (node.attribute,)
            value = np.asarray(cast(Operator, node.operator).reference(*arguments, *extra))
            values[node] = value if node.boolean else value.astype(x.dtype)
            if node.name not in EXACT and not node.boolean and node.span is Span.ELEMENT:
                values[node] = _disturbed(values[node], noise)
    return values


def _disturbed(value: Array, noise: np.random.Generator | None) -> Array:
    """Each number, or one of its two neighbours; 0 and what is not finite stay."""
    if noise is None:
        return value
    toward = noise.choice(np.array([-np.inf, 0.0, np.inf]), size=value.shape).astype(value.dtype)
    moved = np.where(toward == 0, value, np.nextafter(value, toward))
    return np.where((value == 0) | ~np.isfinite(value), value, moved)
