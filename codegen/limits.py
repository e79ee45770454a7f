"""The values at x = -inf and +inf, where floating-point arithmetic does not find them by itself.

x/(1 + |x|) is inf/inf there, x + 0.1 sin(x) is inf + NaN. The limit, where there is one, is found once for a program by
evaluating the definition farther and farther out, and handed to the kernel as a constant. Where there is none (sin), the value
stays NaN. This is done for functions of x alone; a learnable parameter could change the limit at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from codegen.graph import Node, apply, constant, source, topological
from codegen.instructions import Span
from codegen.numpy import Array, evaluate
from codegen.operators import OPERATORS

_INF: Final = float("inf")
_X: Final = source("x", Span.ELEMENT)
# Four orders of magnitude, at arguments without a common period: a bounded oscillation shows.
_FAR: Final = np.array([1.0e60, 1.7e61, 2.3e90, 3.1e120])
_CLOSE: Final = 1e-9  # relative; a limit approached more slowly than this at 1e60 is not recognised


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


def limits(roots: Sequence[Node], slots: Sequence[float]) -> list[tuple[float, float]]:
    """The limits of each pointwise function at -inf and +inf; NaN where there is none."""
    x = np.concatenate([[-_INF], -_FAR, [_INF], _FAR])
    values = [np.broadcast_to(v, x.shape) for v in evaluate(roots, {"x": x}, slots)] if roots else []
    half = len(_FAR) + 1
    return [(_limit(float(v[0]), v[1:half]), _limit(float(v[half]), v[half + 1 :])) for v in values]


def _limit(at_infinity: float, far: Array) -> float:
    """The limit, given the value at infinity, which counts unless it is NaN, and the values on the way there."""
    if not np.isnan(at_infinity) or np.isnan(far).any():
        return at_infinity
    if (np.abs(far) > 1e15).all() and len(set(np.sign(far))) == 1:
        return float(np.sign(far[0])) * _INF
    last = float(far[-1])
    with np.errstate(invalid="ignore"):  # inf - inf
        close = np.abs(far - last) <= _CLOSE * max(abs(last), 1.0)
    return (0.0 if abs(last) < 1e-15 else last) if close.all() else at_infinity


def settled(value: Node, below: Node, above: Node) -> Node:
    """`value`, but where it is NaN `below` at x = -inf and `above` at x = +inf."""
    left = apply(OPERATORS["lt"], _X, constant(0.0))
    return apply(OPERATORS["settle"], value, _X, apply(OPERATORS["where"], left, below, above))
