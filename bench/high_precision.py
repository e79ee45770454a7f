"""The operators in mpmath, written a second time and independently, and programs evaluated with them: the judge of accuracy.

There are no signed zeros and no overflow in mpmath: a division by 0 is NaN here, and exp(1e38) is a number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from mpmath import mp, mpf

from codegen.derivative import placeholders, templates
from codegen.graph import Node, Source, is_structural, topological
from codegen.instructions import Span
from codegen.operators import Operator

mp.dps = 50
Real = Any  # mpmath's number
_MOST_BITS: Final = 4000  # of an argument's whole part, for which exp and sin can still be computed


def exp(t: Real) -> Real:
    """exp, but for an argument so large that its result would not fit in memory."""
    if not mp.isfinite(t) or mp.mag(t) < _MOST_BITS:
        return mp.exp(t)
    return mp.inf if t > 0 else mpf(0)


def circular(function: Callable[[Real], Real]) -> Callable[[Real], Real]:
    """A function that goes around the circle; NaN for an argument so large that no place on it is known."""
    return lambda t: function(t) if mp.isfinite(t) and mp.mag(t) < _MOST_BITS else mp.nan


def hyperbolic(function: Callable[[Real], Real], limit: float) -> Callable[[Real], Real]:
    """A function that is odd, and 1 at infinity, from `limit` on."""
    return lambda t: function(t) if abs(t) < limit else mp.sign(t)


def erfc(t: Real) -> Real:
    """1 - erf(t); for large t the asymptotic series (Abramowitz and Stegun, 7.1.23)."""
    if t < -100:
        return mpf(2)
    if t < 1000:
        return mp.erfc(t)
    z = 1 / (2 * t * t)
    return exp(-t * t) / (t * mp.sqrt(mp.pi)) * (1 - z * (1 - 3 * z * (1 - 5 * z * (1 - 7 * z * (1 - 9 * z)))))


def sinc(t: Real) -> Real:
    if mp.mag(t) < -mp.prec:  # sinpi takes no numbers as small as exp(-1e16)
        return mpf(1)
    return mp.sinpi(t) / (mp.pi * t)


def sinc_slope(t: Real) -> Real:
    if abs(t) < mpf(10) ** -8:  # the closed form would lose 16 of the 50 digits and more
        return -(mp.pi**2) * t / 3 + mp.pi**4 * t**3 / 30 - mp.pi**6 * t**5 / 840
    return (mp.cospi(t) - sinc(t)) / t


def nearest(t: Real) -> Real:
    below = mp.floor(t)
    up = t - below > 0.5 or (t - below == 0.5 and below % 2 == 1)
    return below + (1 if up else 0)


def power(a: Real, b: Real) -> Real:
    if a > 0:
        size = b * mp.log(a)
        return mp.power(a, b) if mp.mag(size) < _MOST_BITS else exp(size)
    return mpf(0) if a == 0 and b > 0 else mp.power(a, int(b)) if b == int(b) else mp.nan


def softplus(t: Real) -> Real:
    return mp.log1p(exp(t)) if t < 0 else t + mp.log1p(exp(-t))


MP: Final[dict[str, Callable[..., Any]]] = {
    "neg": lambda a: -a, "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "absorb": lambda a, b: a * b,
    "div": lambda a, b: a / b, "pow": power, "ipow": lambda a, n: mp.power(a, int(n)), "square": lambda a: a * a,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "and": lambda a, b: a and b, "or": lambda a, b: a or b, "not": lambda a: not a,
    "settle": lambda value, a, limit: value,
    "quotient_slope": lambda other, value, numerator: value if 1e-30 < abs(numerator) < 1e30 else other,
    "where": lambda c, a, b: a if c else b, "min": min, "max": max, "clamp": lambda a, low, high: min(max(a, low), high),
    "abs": abs, "sign": mp.sign, "floor": mp.floor, "round": nearest, "sqrt": mp.sqrt, "root": mp.sqrt,
    "rsqrt": lambda a: 1 / mp.sqrt(a),
    "cbrt": lambda a: mp.sign(a) * mp.cbrt(abs(a)), "exp": exp, "expm1": lambda a: mp.expm1(a) if abs(a) < 1 else exp(a) - 1,
    "log": lambda a: mp.log(a) if a else -mp.inf, "log1p": lambda a: mp.log1p(a) if a != -1 else -mp.inf,
    "sin": circular(mp.sin), "cos": circular(mp.cos), "tan": circular(mp.tan),
    "asin": mp.asin, "acos": mp.acos, "atan": mp.atan, "sinh": lambda a: mp.sinh(a) if abs(a) < 1 else (exp(a) - exp(-a)) / 2,
    "cosh": lambda a: (exp(a) + exp(-a)) / 2, "tanh": hyperbolic(mp.tanh, 1e6),
    "tanh_slope": lambda a: 4 * exp(-2 * abs(a)) / (1 + exp(-2 * abs(a))) ** 2,
    "tanh_gap": lambda a: a - hyperbolic(mp.tanh, 1e6)(a), "asinh": mp.asinh, "acosh": mp.acosh,
    "atanh": mp.atanh, "sigmoid": lambda a: 1 / (1 + exp(-a)), "logsigmoid": lambda a: -softplus(-a),
    "softplus": softplus, "erf": hyperbolic(mp.erf, 1e3), "erfc": erfc, "sinc": circular(sinc), "sinc_slope": circular(sinc_slope),
    "normal_cdf": lambda a: erfc(-a / mp.sqrt(2)) / 2, "half_gaussian": lambda a: exp(-a * a / 2),
    "gaussian": lambda a: exp(-a * a),
}  # fmt: skip
# Whose result is one of the arguments, or a whole number: nothing is rounded.
EXACT: Final = frozenset({"neg", "abs", "sign", "floor", "round", "where", "min", "max", "clamp", "settle", "quotient_slope"})
_CIRCULAR: Final = ("sin", "cos", "tan", "sinc", "sinc_slope")
_CHOICES: Final = frozenset({"where"})


@dataclass(frozen=True, slots=True)
class Noise:
    """What rounding does to a result: it is off by a relative `unit`, up or down at random, and by the smallest number there is."""

    generator: random.Random
    unit: float
    least: float

    def disturb(self, value: Real) -> Real:
        if value == 0 or not mp.isfinite(value):
            return value
        up, further = self.generator.choice((-1, 0, 1)), self.generator.choice((-1, 0, 1))
        return value * (1 + up * self.unit) + further * self.least


def evaluate(node: Node, x: Real, noise: Noise | None = None) -> Real:
    """The value of a graph over x at one place, to the precision of `mp`; NaN out of an operator's domain. With `noise`, every result that
    floating point would round is disturbed."""
    return _values(node, {}, x, noise)[node]


def chain_rule(root: Node, x: Real, noise: Noise | None = None) -> Real:
    """The gradient of a graph over x at one place, by the rules of the operator table, operator by operator from the last to the first."""
    values = _values(root, {}, x, noise)
    adjoints: dict[Node, Any] = {root: mpf(1)}
    leaf = next((n for n in values if isinstance(n.attribute, Source)), None)
    for node in reversed(topological([root])):
        if node.boolean or not node.args or node not in adjoints:
            continue
        operator = cast(Operator, node.operator)
        stands = [*(values[a] for a in node.args), values[node], *([] if node.attribute is None else [mpf(node.attribute)])]
        known = dict(zip(placeholders(operator).values(), stands, strict=False))
        for argument, rule in zip(node.args, templates(operator), strict=True):
            if argument.boolean or argument.constant or adjoints[node] == 0 or (rule.operator == "constant" and rule.attribute == 0.0):
                continue
            sent = adjoints[node] * _values(rule, known, x, noise)[rule]
            total = adjoints.get(argument, mpf(0)) + (sent if noise is None else noise.disturb(sent))
            adjoints[argument] = total if noise is None else noise.disturb(total)
    return mpf(0) if leaf is None else adjoints.get(leaf, mpf(0))


def has_tie(root: Node, x: Real, *, jumps_alone: bool) -> bool:
    """Whether a choice, a jump or a kink of a graph is exactly at x, so that its slope there is a matter of convention; or a jump alone,
    where its value is one too (the sign of a zero)."""
    values = _values(root, {}, x, None)
    for node in topological([root]):
        numbers = [values[a] for a in node.args if not a.boolean]
        if node.boolean and any(map(mp.isnan, numbers)):
            return True
        if node.name == "sign" and numbers[0] == 0:
            return True
        if jumps_alone:
            continue
        if node.name in ("min", "max", "clamp", "lt", "le", "gt", "ge", "eq", "ne") and len(set(numbers)) < len(numbers):
            return True
        if node.name in ("abs", "sqrt", "rsqrt", "cbrt", "pow") and numbers[0] == 0:
            return True
        if node.name in ("floor", "round") and 2 * numbers[0] == mp.floor(2 * numbers[0]):
            return True
    return False


def has_lost_angle(root: Node, x: Real, unit: float) -> bool:
    """Whether something goes around a circle so far out that rounding decides where it comes to lie."""
    values = _values(root, {}, x, None)
    turning = (values[n.args[0]] for n in topological([root]) if n.name in _CIRCULAR and not isinstance(n.args[0].attribute, Source))
    return any(mp.isnan(angle) or abs(angle) * unit > 1e-3 for angle in turning)


def _values(root: Node, known: Mapping[Node, Any], x: Real, noise: Noise | None) -> dict[Node, Any]:
    values: dict[Node, Any] = dict(known)
    for node in topological([root]):
        if node in values:
            continue
        if isinstance(node.attribute, Source):
            values[node] = x
        elif node.operator == "constant":
            values[node] = bool(node.attribute) if node.boolean else mpf(node.attribute)
            if noise is not None and not node.boolean and not is_structural(node):
                values[node] = noise.disturb(values[node])
        else:
            extra = () if node.attribute is None else (node.attribute,)
            value = _applied(node, [values[a] for a in node.args], extra)
            rounded = not node.boolean and node.name not in EXACT and node.span is Span.ELEMENT
            values[node] = noise.disturb(value) if noise is not None and rounded else value
    return values


def _applied(node: Node, arguments: Sequence[Any], extra: tuple[Any, ...]) -> Any:
    if node.name not in _CHOICES and any(not isinstance(a, bool) and mp.isnan(a) for a in arguments):
        return node.name == "ne" if node.boolean else mp.nan
    try:
        value = MP[node.name](*arguments, *extra)
    except (ValueError, ZeroDivisionError, OverflowError):  # a pole, or out of the domain
        return mp.nan
    if node.boolean:
        return bool(value)
    return mp.nan if isinstance(value, mp.mpc) else value
