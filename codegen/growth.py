"""How fast values grow or vanish as x goes to an end of the line: what it takes to know that a zero wins over an infinity.

exp(-exp(x)) times exp(x) goes to 0, exp(x) times exp(-x) does not, and when both overflow, floating point has the same 0*inf for them. So a
zero may win only where its factor vanishes faster than the other one grows, which is a matter of ranks:

    (0, p) as a power x^p    (1, p) as exp(x^p)    (2, p) as exp(exp(x^p))

Ranks are bounds, whatever the constants of a program are: x^2 - x^2 may grow as (0, 2). An operator of one argument is described by its
NumPy definition, evaluated at a few places far out and near 0; a new one needs nothing here.
"""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np

from codegen.graph import Node, Source, is_structural, topological
from codegen.numpy import evaluate
from codegen.operators import Operator
from codegen.signs import never_zero, sign, tame

Rank = tuple[int, float]
_INF: Final = float("inf")
_UNKNOWN: Final[Rank] = (9, 0.0)  # faster than anything
_FAR: Final = np.geomspace(6.1, 24.4, 13)  # where exp(-x^2) is still a float64; the middle is twice the first, the last twice that
_HALF: Final = len(_FAR) // 2
_FARTHER: Final = np.array([1.1e3, 1.3e6, 1.7e9])
_SMALL: Final = 10.0
_NEAR: Final = np.array([-5.0, -2.0, -1.0, -0.3, 0.0, 0.3, 1.0, 2.0, 5.0])
_FLAT: Final = 0.05  # of a logarithm over a factor of two: bounded away from 0 and infinity


@dataclass(frozen=True, slots=True)
class Growth:
    """Of a value at one end. `most`: it grows no faster (None: it stays bounded). `least`: it grows at least so, if it grows; None where
    nothing is known. `decay`: it vanishes at least so fast, if it vanishes; None where nothing is known. `fixed`: x is not in it. `grows`,
    `vanishes`: it surely does. `apart`: in the end it stays away from zero. `side`: of zero, on which it is then; 0 if nothing is known."""

    most: Rank | None = None
    least: Rank | None = None
    decay: Rank | None = None
    fixed: bool = False
    grows: bool = False
    vanishes: bool = False
    apart: bool = False
    side: int = 0


_FIXED: Final = Growth(fixed=True)
_ANY: Final = Growth(_UNKNOWN)
_POLE_FREE: Final[weakref.WeakKeyDictionary[Node, bool]] = weakref.WeakKeyDictionary()
_KNOWN: Final[dict[float, weakref.WeakKeyDictionary[Node, Growth]]] = {end: weakref.WeakKeyDictionary() for end in (-_INF, _INF)}


def zero_wins(zero: Node, other: Node, end: float) -> bool:
    """Whether zero*other is 0, or goes to it, wherever floating point has 0*inf on the way to `end`: the first vanishes faster than the
    second grows, and neither has a pole, so that what is infinite is an overflow."""
    first, second = growth(zero, end), growth(other, end)
    faster = first.decay is not None and (second.most is None or second.most < first.decay)
    return faster and pole_free(other) and (pole_free(zero) or never_zero(other) or (_vanishes_at_0_alone(other) and _is_finite_at_0(zero)))


def growth(node: Node, end: float) -> Growth:
    """The ranks of a value as x goes to `end`; all else that it reads stays finite."""
    known = _KNOWN[end]
    for current in topological([node]):
        if current not in known:
            known[current] = _seen(_growth(current, [known[a] for a in current.args], end), current)
    return known[node]


def _seen(found: Growth, node: Node) -> Growth:
    """With what follows: what vanishes is bounded, what grows is away from zero, and its sign may be known everywhere."""
    most = None if found.vanishes else found.most
    apart = found.apart or found.grows or (found.fixed and never_zero(node))
    return replace(found, most=most, apart=apart, side=found.side or int(np.sign(sign(node))))


def _growth(node: Node, args: Sequence[Growth], end: float) -> Growth:
    if isinstance(node.attribute, Source) and node.attribute.name == "x":
        return Growth((0, 1.0), (0, 1.0), grows=True, side=1 if end > 0 else -1)
    if isinstance(node.operator, str) or node.boolean or all(a.fixed for a in args):
        return _FIXED
    rule = _RULES.get(node.operator.name)
    if rule is not None:
        return rule(node, args)
    return _of_one(node.operator, args[0]) if node.operator.arity == 1 else _ANY


def _larger(ranks: Iterable[Rank | None]) -> Rank | None:
    return max((r for r in ranks if r is not None), default=None)


def _least_of(ranks: Sequence[Rank | None]) -> Rank | None:
    return None if None in ranks else min(cast("Sequence[Rank]", ranks))


def _together(a: Rank | None, b: Rank | None) -> Rank | None:
    """The rank of a product of what grows, or of what vanishes."""
    if a is None or b is None:
        return b if a is None else a
    return (0, a[1] + b[1]) if a[0] == b[0] == 0 else max(a, b)


def _product(node: Node, args: Sequence[Growth]) -> Growth:
    one, other = args
    decays = [x.decay for x, y in ((one, other), (other, one)) if x.decay is not None and (y.most is None or y.most < x.decay)]
    both = _together(one.least, other.least) if one.least is not None and other.least is not None else None
    least = other.least if one.fixed else one.least if other.fixed else both
    vanishes = any(x.vanishes and x.decay in decays for x in args)
    grows = all(x.grows or (x.fixed and never_zero(n)) for x, n in zip(args, node.args, strict=True))
    apart, side = one.apart and other.apart, one.side * other.side
    return Growth(_together(one.most, other.most), least, _larger(decays), grows=grows, vanishes=vanishes, apart=apart, side=side)


def _quotient(node: Node, args: Sequence[Growth]) -> Growth:
    one, other = args
    if other.fixed or (other.most is None and (other.apart or tame(node.args[1]))):
        return replace(one, side=one.side * other.side)
    if other.least is None or other.decay is not None:  # it may vanish
        return Growth(_UNKNOWN, None, other.least if one.most is None else None)
    decays = one.most is None or one.most < other.least
    decay = _together(one.decay, other.least) if decays else one.decay
    return Growth(one.most, None, decay, vanishes=decays and other.grows, side=one.side * other.side)


def _sum(node: Node, args: Sequence[Growth]) -> Growth:
    one, other = args[0], args[1] if node.name == "add" else _turned(args[1])
    first = next((x for x, y in ((one, other), (other, one)) if x.least is not None and (y.most is None or y.most < x.least)), None)
    least, grows = (None, False) if first is None else (first.least, first.grows)
    if one.side * other.side > 0 and (one.grows or other.grows):
        grows, side = True, one.side
    else:
        side = first.side if first is not None and first.grows else one.side if one.side == other.side else 0
    apart = any(x.apart and (y.vanishes or x.side * y.side > 0) for x, y in ((one, other), (other, one)))
    most, decay, vanishes = _larger((one.most, other.most)), _least_of([one.decay, other.decay]), one.vanishes and other.vanishes
    return Growth(most, least, decay, grows=grows, vanishes=vanishes, apart=apart, side=side)


def _turned(value: Growth) -> Growth:
    return replace(value, side=-value.side)


def _choice(node: Node, args: Sequence[Growth]) -> Growth:
    values = [a for a, n in zip(args, node.args, strict=True) if not n.boolean]
    grows, vanishes = all(v.grows for v in values), all(v.vanishes for v in values)
    sides = {v.side for v in values}
    most, least, decay = _larger(v.most for v in values), _least_of([v.least for v in values]), _least_of([v.decay for v in values])
    return Growth(most, least, decay, grows=grows, vanishes=vanishes, side=sides.pop() if len(sides) == 1 else 0)


def _power(node: Node, args: Sequence[Growth]) -> Growth:
    """x^n by whole n; that of a growing rank (1, p) is of the same rank."""
    (x,), n = args, cast(int, node.attribute) if node.attribute is not None else 2
    side = 1 if n % 2 == 0 else x.side
    if n < 0:
        most = None if x.least is not None and x.decay is None else _UNKNOWN
        return Growth(most, None, _times(x.least, -n), vanishes=x.grows and x.least is not None, side=side)
    return Growth(_times(x.most, n), _times(x.least, n), _times(x.decay, n), grows=x.grows, vanishes=x.vanishes, side=side)


def _times(rank: Rank | None, n: float) -> Rank | None:
    return rank if rank is None or rank[0] else (0, n * rank[1])


def _same(node: Node, args: Sequence[Growth]) -> Growth:
    return args[0]


_RULES: Final[dict[str, Callable[[Node, Sequence[Growth]], Growth]]] = {
    "neg": lambda node, args: _turned(args[0]), "abs": lambda node, args: replace(args[0], side=1), "mul": _product, "absorb": _product,
    "div": _quotient, "add": _sum, "sub": _sum, "where": _choice,
    "min": _choice, "max": _choice, "clamp": _choice, "ipow": _power, "square": _power, "settle": _same,
}  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _of_one(operator: Operator, argument: Growth) -> Growth:
    """An operator of one argument: what it makes of one that grows, in either direction or to one side alone, or vanishes."""
    small = argument.decay if _vanishes_at_zero(operator) else None
    if argument.most is None:
        vanishes = argument.vanishes and small is not None
        return Growth(_UNKNOWN if _has_pole(operator) and not vanishes else None, None, small, vanishes=vanishes)
    both = [_far(operator, side) for side in (-1.0, 1.0) if argument.side in (0, side)]
    most = _larger(_composed(f, argument.most) for f in both if f is not None and f > (-1, 0.0) and f[0] >= 0)
    growing = [f for f in both if f is not None and f[0] >= 0]
    vanishing = [(-f[0] - 1, f[1]) for f in both if f is not None and f[0] < 0]
    least = None if argument.least is None or len(growing) < 1 else min(_composed(f, argument.least) for f in growing)
    far = None if argument.least is None or not vanishing else min(_composed(f, argument.least) for f in vanishing)
    decay = far if small is None else small if not vanishing else _least_of([far, small])
    known = argument.grows and argument.least is not None and argument.side != 0
    most = _UNKNOWN if _has_pole(operator) and argument.least is None else most
    side = _side(operator, argument.side) if known else 0
    return Growth(most, least, decay, grows=known and bool(growing), vanishes=known and bool(vanishing), side=side)


@functools.cache
def _side(operator: Operator, side: int) -> int:
    """On which side of zero f(t) is far out; 0 where it is on both."""
    with np.errstate(all="ignore"):
        signs = set(np.sign(np.asarray(operator.reference(side * _FAR), np.float64)).tolist())
    return int(signs.pop()) if len(signs) == 1 and signs <= {-1.0, 1.0} else 0


def _composed(outer: Rank, inner: Rank) -> Rank:
    if outer[0] == 0:
        return _times(inner, outer[1]) or inner
    return (outer[0] + inner[0], outer[1] * inner[1] if inner[0] == 0 else inner[1])


@functools.cache
def _far(operator: Operator, side: float) -> Rank | None:
    """How f(t) grows as t goes to -inf or inf, by its logarithm far out; None where it is bounded. One that vanishes as rank (k, p) is
    (-k - 1, p); of one that oscillates and does not stay small nothing is known."""
    with np.errstate(all="ignore"):
        size = np.log(np.abs(np.asarray(operator.reference(side * _FAR), np.float64)))
        farther = np.abs(np.asarray(operator.reference(side * _FARTHER), np.float64))
    if np.isnan(size).all():  # there is nothing on that side
        return None
    steps = np.diff(size)
    if not np.isfinite(size).all() or not ((steps >= 0).all() or (steps <= 0).all()):
        return None if (farther <= _SMALL).all() else _UNKNOWN
    first, second = size[_HALF] - size[0], size[-1] - size[_HALF]
    if max(abs(first), abs(second)) < _FLAT:
        return None
    power = round(2 * math.log2(max(abs(second / first), 1.0)) if first else 0.0) / 2
    rank = (1, power) if power > 0 else (0, round(abs(float(second)) / math.log(2), 2))
    return rank if second > 0 else (-rank[0] - 1, rank[1])


@functools.cache
def _vanishes_at_zero(operator: Operator) -> bool:
    """Whether f(t) vanishes with t, at least in proportion."""
    with np.errstate(all="ignore"):
        small = np.abs(np.asarray(operator.reference(np.array([-1e-8, 0.0, 1e-8])), np.float64))
    return bool(small[1] == 0 and small.max() < 1e-6)


@functools.cache
def _has_pole(operator: Operator) -> bool:
    with np.errstate(all="ignore"):
        return bool(np.isinf(np.asarray(operator.reference(_NEAR), np.float64)).any())


def pole_free(node: Node) -> bool:
    """Whether a value is finite at every finite x, in exact arithmetic, as far as can be seen."""
    if node not in _POLE_FREE:
        for current in topological([node], through_means=False):
            if current not in _POLE_FREE:
                _POLE_FREE[current] = all(_POLE_FREE.get(a, True) for a in current.args) and not _is_pole(current)
    return _POLE_FREE[node]


def _is_pole(node: Node) -> bool:
    """Whether an operation may be infinite where its arguments are finite."""
    if isinstance(node.operator, str) or node.boolean or node.constant:
        return False
    name, arity = node.operator.name, node.operator.arity
    if name == "div":
        return not never_zero(node.args[1])
    if name == "ipow":
        return cast(int, node.attribute) < 0
    return name == "pow" or (arity == 1 and _has_pole(node.operator))


def is_calm(node: Node) -> bool:
    """Whether a value is within the range of numbers wherever x is well within it: it has no pole, and grows no faster than x."""
    return pole_free(node) and all((growth(node, end).most or (0, 0.0)) <= (0, 1.0) for end in (-_INF, _INF))


def overflows(node: Node) -> bool:
    """Whether a value surely grows exponentially at an end."""
    return any((growth(node, end).least or (0, 0.0)) >= (1, 0.0) for end in (-_INF, _INF))


def _vanishes_at_0_alone(node: Node) -> bool:
    """Whether a value is seen to be 0 nowhere but at x = 0."""
    found: dict[Node, bool] = {}
    for current in topological([node]):
        factors = current.args[:1] if current.name == "div" else current.args
        is_x = isinstance(current.attribute, Source) and current.attribute.name == "x"
        found[current] = is_x or (current.name in _KEEP_ZEROS and all(never_zero(a) or found[a] for a in factors))
    return found[node]


_KEEP_ZEROS: Final = ("mul", "absorb", "div", "neg", "abs", "square", "ipow", "sqrt")


def _is_finite_at_0(node: Node) -> bool:
    """Whether a function of x and constants is a number at 0, whatever the signs of its constants."""
    inputs = {n.attribute.name for n in topological([node]) if isinstance(n.attribute, Source)}
    slots = 1 + max((cast(int, n.attribute) for n in topological([node]) if n.operator == "slot"), default=-1)
    tries = (
        [evaluate([node], {"x": 0.0}, [turn * (1.5 + k) for k in range(slots)])[0] for turn in (1.0, -1.0)] if inputs <= {"x"} else [_INF]
    )
    return bool(np.isfinite(tries).all())


def is_bounded(node: Node) -> bool:
    """Whether a value stays bounded at both ends, and has no pole."""
    return pole_free(node) and all(growth(node, end).most is None for end in (-_INF, _INF))


def at_most_linear(products: Sequence[tuple[Node, Node]]) -> bool:
    """Whether products of functions of x alone, without constants of a program, grow no faster than x, so that none overflows first."""
    return all(_is_linear(a, b, end) for a, b in products for end in (-_INF, _INF))


def _is_linear(a: Node, b: Node, end: float) -> bool:
    for node in topological([a, b]):
        other_input = isinstance(node.attribute, Source) and node.attribute.name != "x"
        if other_input or (isinstance(node.operator, str) and node.operator not in ("input", "constant")):
            return False
        if node.operator == "constant" and not node.boolean and not is_structural(node):
            return False
    ranks = [growth(node, end).most for node in (a, b)]
    return pole_free(a) and pole_free(b) and all(r is None or r[0] == 0 for r in ranks) and sum(r[1] for r in ranks if r) <= 1
