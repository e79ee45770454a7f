"""The values at x = -inf and +inf, where floating-point arithmetic does not find them by itself.

x/(1 + |x|) is inf/inf there, x + 0.1 sin(x) is inf + NaN. The limit, where there is one, is found by evaluating the definition
farther and farther out, when a program is first launched: it is a constant of the kernel. Where there is none (sin), the value
stays NaN. This is done for functions of x alone; a learnable parameter could change the limit at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from codegen.graph import Node, apply, constant, limit, source, topological
from codegen.growth import growth
from codegen.instructions import Span
from codegen.numpy import evaluate
from codegen.operators import OPERATORS

_INF: Final = float("inf")
_X: Final = source("x", Span.ELEMENT)


def is_pointwise(root: Node) -> bool:
    """Whether a value depends on nothing but x at its own place and constants: no statistics, shifts or parameters."""
    leaves = (n for n in topological([root]) if n.operator in ("input", "mean"))
    return all(leaf is _X for leaf in leaves)


def may_be_undefined(roots: Sequence[Node]) -> list[bool]:
    """Whether each of some pointwise functions can be NaN at an infinity. By structure: slots are tried with either sign."""
    slots = 1 + max((n.attribute for n in topological(roots) if n.operator == "slot" and isinstance(n.attribute, int)), default=-1)
    x = np.array([-_INF, _INF])
    tries = [evaluate(roots, {"x": x}, [sign * (1.5 + k) for k in range(slots)]) for sign in (1.0, -1.0)]
    return [any(bool(np.isnan(values).any()) for values in both) for both in zip(*tries, strict=True)]


def _is_seen(function: Node, end: float) -> bool:
    """Whether values far out can say what the limit is: not where one that vanishes in floating point, or oscillates, is compared or
    rounded, or its sign taken."""
    jumps = (n for n in topological([function]) if n.boolean or n.name in ("sign", "floor", "round"))
    return all(a.boolean or (g := growth(a, end)).fixed or g.grows for n in jumps for a in n.args)


def settled(value: Node, function: Node, factor: Node | None = None) -> Node:
    """`value`, but where it is NaN at x = -inf or +inf the limit there of `function`, times `factor`."""
    seen = [_is_seen(function, e) for e in (-_INF, _INF)]
    if not any(seen):
        return value
    left = apply(OPERATORS["lt"], _X, constant(0.0))
    ends = (limit(function, e) if known else constant(np.nan) for e, known in zip((-_INF, _INF), seen, strict=True))
    end = apply(OPERATORS["where"], left, *ends)
    return apply(OPERATORS["settle"], value, _X, end if factor is None else apply(OPERATORS["mul"], factor, end))
