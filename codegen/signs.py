"""On which side of zero a value stays at every finite x, in exact arithmetic, as far as it is seen from its structure alone.

A sign is 2 (above zero), 1 (not below), 0 (nothing is known), -1 (not above) or -2 (below). An operator of one argument is described by its
NumPy definition, evaluated at a few places of its argument's sign; a new one needs nothing here.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence
from typing import Final, cast

import numpy as np

from codegen.graph import Node, is_structural, topological
from codegen.operators import Operator

_POSITIVE: Final = np.array([0.3, 1.0, 2.0, 5.0, 30.0])
_PLACES: Final = {
    2: _POSITIVE, 1: np.concatenate([[0.0], _POSITIVE]), 0: np.concatenate([-_POSITIVE, [0.0], _POSITIVE]),
    -1: np.concatenate([[0.0], -_POSITIVE]), -2: -_POSITIVE,
}  # fmt: skip
_KNOWN: Final[weakref.WeakKeyDictionary[Node, int]] = weakref.WeakKeyDictionary()
_NEVER_ZERO: Final[weakref.WeakKeyDictionary[Node, bool]] = weakref.WeakKeyDictionary()


def sign(node: Node) -> int:
    """The sign of a real value."""
    if node not in _KNOWN:
        for current in topological([node], through_means=False):
            if current not in _KNOWN:
                _KNOWN[current] = _sign(current, [_KNOWN.get(a, 0) for a in current.args])
    return _KNOWN[node]


def never_zero(node: Node) -> bool:
    """Whether a value has no zero at any finite x."""
    if node not in _NEVER_ZERO:
        for current in topological([node], through_means=False):
            if current not in _NEVER_ZERO:
                _NEVER_ZERO[current] = _is_never_zero(current)
    return _NEVER_ZERO[node]


def _is_never_zero(node: Node) -> bool:
    if node.name in ("mul", "absorb"):
        return all(_NEVER_ZERO[a] for a in node.args)
    if node.name in ("neg", "ipow", "square", "settle", "div"):
        return _NEVER_ZERO[node.args[0]]
    return abs(sign(node)) == 2 or node.operator == "slot" or (node.constant and node.attribute != 0.0)


def tame(node: Node) -> bool:
    """Whether it is seen at once that a value is never near 0: at least a structural constant."""
    if node.name == "sqrt":
        return tame(node.args[0])
    if node.name not in ("add", "sub"):
        return False
    turn = 1 if node.name == "add" else -1
    return any(a.operator == "constant" and sign(a) == 2 and s >= 1 for a, s in _with_other(node.args, turn))


def _with_other(args: Sequence[Node], turn: int) -> list[tuple[Node, int]]:
    a, b = args
    return [(a, turn * sign(b)), (b, sign(a))] if turn == 1 else [(a, turn * sign(b))]


def _sign(node: Node, args: Sequence[int]) -> int:
    if node.operator == "constant" and not node.boolean:
        value = cast(float, node.attribute)
        return 0 if not is_structural(node) or np.isnan(value) else 1 if value == 0 else int(2 * np.sign(value))
    if isinstance(node.operator, str) or node.boolean:
        return 0
    name = node.operator.name
    if name in ("add", "sub"):
        return _sum(args[0], args[1] if name == "add" else -args[1])
    if name == "neg":
        return -args[0]
    if name in ("mul", "absorb", "div"):
        return int(np.sign(args[0] * args[1])) * min(abs(args[0]), abs(args[1]))
    if name == "square" or (name == "ipow" and cast(int, node.attribute) % 2 == 0):
        return max(abs(args[0]), 1)
    if name in ("ipow", "settle"):
        return args[0]
    if name == "where":
        return min(args[1:], key=abs) if args[1] * args[2] > 0 else 0
    return _of_one(node.operator, args[0]) if node.operator.arity == 1 else 0


def _sum(a: int, b: int) -> int:
    return max(a, b, key=abs) if a * b > 0 else 0


@functools.cache
def _of_one(operator: Operator, argument: int) -> int:
    with np.errstate(all="ignore"):
        values = np.asarray(operator.reference(_PLACES[argument]), np.float64)
    if np.isnan(values).any():
        return 0
    least, most = float(values.min()), float(values.max())
    if least >= 0:
        return 2 if least > 0 else 1
    return 0 if most > 0 else -2 if most < 0 else -1
