"""The elementary functions of the language, each spelled once in instructions: straight lines, no branches and no tables.

`trigonometry.py` has those that go around the circle. Every function takes the block and values of one type, and emits for it:

- float32: kernels of our own, made to vectorise: reduce the argument, evaluate a minimax polynomial, put the result together
  through its bits. At most 4.4 ulp over all float32 numbers, subnormal ones included (`tests/test_elementary.py` has the figures).
- float64: a call of the mathematics library wherever that has the function.

Limits and signs are those of C99 (annex F): f(NaN) is NaN, an overflow is inf, a pole is inf, outside of the domain is NaN, and an
odd function keeps the sign of zero.

Polynomials were fitted by iteratively reweighted least squares (Lawson 1961) at 700-900 Chebyshev points against 40 digits; each
coefficient was rounded to float32 and the rest fitted again. The comment beside each gives the largest relative error of the function
that it makes; one ulp is between 6e-8 and 1.2e-7. Rounding to an integer is by adding 1.5*2^23 (Muller et al., Handbook of
Floating-Point Arithmetic, 2nd edition, section 11.1): the sum's last bits are then the integer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Final

from codegen.instructions import Block, Value

Unary = Callable[[Block, Value], Value]

ROUNDER: Final = 1.5 * 2.0**23  # has the integers of at most 22 bits in its last bits
SIGN: Final = -(2**31)  # the sign bit of a float32
_EXPONENT: Final = -(2**23)  # mask: sign and exponent
_ONE: Final = 0x3F800000  # the bits of 1
_ROOT_HALF: Final = 0x3F3504F3  # the bits of sqrt(1/2)

# exp(r), |r| <= ln 2: 1.5e-8
_EXP: Final = (0.00019631025, 0.0014105557, 0.008335964, 0.041661195, 0.16666616, 0.50000036, 1.0, 1.0)
# ((exp(r) - 1)/r - 1)/r, |r| <= ln(2)/2: 1.4e-8
_EXPM1: Final = (0.0013868435, 0.008366432, 0.04166746, 0.16666545, 0.49999997)
# (log(1 + f) - f)/f^2, sqrt(1/2) <= 1 + f <= sqrt(2): 3.2e-8
_LOG: Final = (0.087003574, -0.14266913, 0.14914511, -0.16577654, 0.199631, -0.25001335, 0.3333391, -0.5)
# log(1 + t)/t, 0 <= t <= 1: 3.3e-8
_LOG1P: Final = (0.0053654225, -0.0300683, 0.07920883, -0.13754188, 0.19153848, -0.24857217, 0.3332133, -0.49999648, 1.0)
# The denominators start at 1.75 and not at 1, because the rounding error of a number just above a power of two is relatively twice that
# of one just below: it saves an ulp.
# tanh(x/2)/x in x^2, |x| <= 9: 7.8e-9 of tanh(x)
_TANH_ABOVE: Final = (0.000100030215, 0.026054928, 0.875)
_TANH_BELOW: Final = (2.153008e-06, 0.0021120484, 0.19794314, 1.75)
# T(x)/x in x^2 with 2T/(1 + T^2) = erf(x), |x| <= 3.91: 3.2e-8 of erf(x). 1.7600096/sqrt(pi) is very nearly a float32
_ERF_ABOVE: Final = (-6.0389925e-06, 0.00056489365, 0.017612772, 0.14226626, 0.9929791)
_ERF_BELOW: Final = (0.0040185926, 0.06297657, 0.27860168, 1.7600096)
# exp(-a^2)/erfc(a) - sqrt(pi)*a, 0 <= a <= 10.2: 4.6e-8 of erfc(a)
_ERFC_ABOVE: Final = (0.070613846, 0.4467292, 1.2283995, 1.75)
_ERFC_BELOW: Final = (0.07975138, 0.50223446, 1.4857665, 2.3555257, 1.75)
# sinh(a)/a in a^2, 0 <= a <= 1: 2.6e-8
_SINH: Final = (0.00020376634, 0.008330223, 0.16666718, 1.0)
# In float64: 2*atanh(s)/s in s^2, s <= (sqrt(2) - 1)/(sqrt(2) + 1): 4.8e-12
_WIDE_LOG: Final = (0.2358229581430351, 0.2853730135095473, 0.4000033529697968, 0.6666666564502126, 2.0)
# In float64: exp(r), |r| <= ln(2)/2: 3.1e-9
_WIDE_EXP: Final = (0.0013814593848522814, 0.008368717024410059, 0.0416683880946819, 0.1666652062983905, 0.49999993447560237, 1.0, 1.0)


def in_library(spell: Unary) -> Unary:
    """In float64 a call of the mathematics library's function of that name, in float32 the spelling below."""

    @functools.wraps(spell)
    def either(b: Block, x: Value) -> Value:
        return b.call(spell.__name__, x) if x.type == "f64" else spell(b, x)

    return either


def magnitude(b: Block, x: Value) -> Value:
    """|x|. What is even in x starts here: a sign change below it is dropped, so that f(-x) and f(x) are the same instructions."""
    instruction = b.instructions[x.index]
    return magnitude(b, Value(b, instruction.args[0])) if instruction.opcode in ("neg", "abs") else b.emit("abs", x)


def with_sign(b: Block, positive: Value, x: Value) -> Value:
    """`positive`, a number without sign, with the sign of x."""
    sign_bit = SIGN if x.type == "f32" else -(2**63)
    return b.emit("from_bits", b.emit("bits", positive) | (b.emit("bits", x) & sign_bit))


def at_most(b: Block, x: Value, limit: float) -> Value:
    """min(x, limit), NaN for NaN. Compare and select make one machine instruction."""
    return b.select(x > limit, limit, x)


def at_least(b: Block, x: Value, limit: float) -> Value:
    """max(x, limit), NaN for NaN."""
    return b.select(x < limit, limit, x)


# Simple ones


def sqrt(b: Block, x: Value) -> Value:
    return b.emit("sqrt", x)


def rsqrt(b: Block, x: Value) -> Value:
    return 1.0 / b.emit("sqrt", x)


def abs(b: Block, x: Value) -> Value:
    return b.emit("abs", x)


def sign(b: Block, x: Value) -> Value:
    """-1, 0 or 1; NaN for NaN."""
    return b.select(x > 0.0, b.like(x, 1.0), b.select(x < 0.0, -1.0, x))


def floor(b: Block, x: Value) -> Value:
    return b.emit("floor", x)


def round(b: Block, x: Value) -> Value:
    """The nearest integer, the even one of two: from 2^23 (2^52) on every number is one, so there the sum rounds as it should."""
    whole = 2.0**23 if x.type == "f32" else 2.0**52
    a = magnitude(b, x)
    return b.select(a < whole, with_sign(b, (a + whole) - whole, x), x)


def minimum(b: Block, x: Value, y: Value) -> Value:
    """The smaller one; NaN when either is NaN. One compare and one select when y is a constant."""
    return _with_nan(b, b.select(y < x, y, x), y)


def maximum(b: Block, x: Value, y: Value) -> Value:
    """The larger one; NaN when either is NaN. One compare and one select when y is a constant."""
    return _with_nan(b, b.select(x < y, y, x), y)


def _with_nan(b: Block, chosen: Value, y: Value) -> Value:
    """`chosen`, but y where y is NaN: the comparison that chose was false there."""
    return chosen if b.instructions[y.index].opcode == "constant" else b.select(b.emit("ne", y, y), y, chosen)


# Exponentials


def _exp_parts(b: Block, x: Value, low: Value | None = None) -> tuple[Value, Value]:
    """(p, s) with exp(x - low) = p*s*s in float32, for -104.1 <= x <= 90 and |low| < 1e-5.

    s = 2^m with m = round(x/(2 ln 2)). The two factors s reach every float32 exponent: p*s is exact, the last product rounds to
    subnormal numbers and overflows to inf as it should. 2 ln 2 = 0x1.62e4p0 + the rest; 15 bits times m is exact even without fma.
    """
    shifted = b.fma(x, 0.5 / math.log(2.0), ROUNDER + 127.0)  # 127: the last bits are the biased exponent of s
    m = shifted - (ROUNDER + 127.0)
    r = b.fma(m, -1.38629150390625, x)
    r = b.fma(m, -2.8572135e-06, r) if low is None else r - b.fma(m, 2.8572135e-06, low)
    return b.horner(r, _EXP), b.emit("from_bits", b.emit("bits", shifted) << 23)


def _exp_scaled(p: Value, s: Value) -> Value:
    return p * s * s


@in_library
def exp(b: Block, x: Value) -> Value:
    return _exp_scaled(*_exp_parts(b, at_least(b, at_most(b, x, 90.0), -104.0)))


def decay(b: Block, x: Value) -> Value:
    """exp(-|x|), the one exponential of all that is sigmoid-like."""
    y = -magnitude(b, x)
    return b.call("exp", y) if x.type == "f64" else _exp_scaled(*_exp_parts(b, at_least(b, y, -104.0)))


def gaussian(b: Block, x: Value) -> Value:
    """exp(-x^2)."""
    return _bell(b, x, 1.0)


def half_gaussian(b: Block, x: Value) -> Value:
    """exp(-x^2/2). As `gaussian` of x/sqrt(2) it would carry the rounding of that quotient, x^2/2 ulp."""
    return _bell(b, x, 0.5)


def _bell(b: Block, x: Value, factor: float) -> Value:
    """exp(-factor*x^2), factor a power of two. An ulp of x^2 = 100 would be 60 ulp of the result, so the rounding error of the
    square is kept: -square + low = x^2."""
    wide = x.type == "f64"
    a = at_most(b, magnitude(b, x), (28.0 if wide else 10.2) / math.sqrt(factor))
    square = -(a * a)
    low = b.fma(a, a, square)
    if factor != 1.0:
        square, low = square * factor, low * factor
    if wide:
        y = b.call("exp", square)
        return b.fma(y, -low, y)
    return _exp_scaled(*_exp_parts(b, square, low))


@in_library
def expm1(b: Block, x: Value) -> Value:
    """2*(s*q + (s - 1/2)), s = 2^(n-1), n = round(x/ln 2), q = expm1(x - n ln 2): up to x = 88.7 nothing overflows before the end."""
    y = at_least(b, at_most(b, x, 89.0), -20.0)
    shifted = b.fma(y, 1.0 / math.log(2.0), ROUNDER + 126.0)
    n = shifted - (ROUNDER + 126.0)
    r = b.fma(n, -3.1946183e-05, b.fma(n, -0.693115234375, y))
    q = r * b.fma(r, b.horner(r, _EXPM1), 1.0)
    s = b.emit("from_bits", b.emit("bits", shifted) << 23)
    half = b.fma(s, q, s - 0.5)
    return b.select(magnitude(b, x) < 2.0**-25, x, half + half)  # the halves of subnormal numbers are not exact, and -0 has a sign


@in_library
def sinh(b: Block, x: Value) -> Value:
    a = at_most(b, magnitude(b, x), 90.0)
    half = _half_exp(b, a)
    return with_sign(b, b.select(a < 1.0, a * b.horner(a * a, _SINH), half - 0.25 / half), x)


@in_library
def cosh(b: Block, x: Value) -> Value:
    half = _half_exp(b, at_most(b, magnitude(b, x), 90.0))
    return half + 0.25 / half


def _half_exp(b: Block, a: Value) -> Value:
    """exp(a)/2 for 0 <= a <= 90, which overflows only where cosh(a) does."""
    p, s = _exp_parts(b, a)
    return _exp_scaled(p * 0.5, s)


@in_library
def tanh(b: Block, x: Value) -> Value:
    """`_saturating` up to 9.01, where tanh rounds to 1; T is tanh(x/2)."""
    return _saturating(b, x, 9.01, _TANH_ABOVE, _TANH_BELOW)


def _saturating(b: Block, x: Value, limit: float, above: tuple[float, ...], below: tuple[float, ...]) -> Value:
    """2T/(1 + T^2) = 2ND/(D^2 + N^2) with T = N/D = y*above(y^2)/below(y^2), y = x held within +-limit.

    Near saturation, where an ulp is half as large as above 1, the formula multiplies the error of T by (1 - T^2)/(1 + T^2).
    """
    y = at_least(b, at_most(b, x, limit), -limit)
    square = y * y
    numerator, denominator = y * b.horner(square, above), b.horner(square, below)
    product = numerator * denominator
    return (product + product) / b.fma(numerator, numerator, denominator * denominator)


# The logistic family


def sigmoid(b: Block, x: Value) -> Value:
    """1/(1 + exp(-x)) without overflow; sigmoid(x) and sigmoid(-x) share all but the last select and product."""
    t = decay(b, x)
    return b.select(x < 0.0, t, 1.0) * (1.0 / (1.0 + t))


def softplus(b: Block, x: Value) -> Value:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)). The argument of log1p is in [0, 1], where a polynomial will do."""
    t = decay(b, x)
    tail = b.call("log1p", t) if x.type == "f64" else t * b.horner(t, _LOG1P)
    return at_least(b, x, 0.0) + tail


def logsigmoid(b: Block, x: Value) -> Value:
    return -softplus(b, -x)


# Logarithms


def _log_limits(b: Block, x: Value, inside: Value) -> Value:
    """`inside` where 0 < x < inf, -inf at 0, inf at inf, NaN at negative numbers and NaN."""
    outside = b.select(b.emit("eq", x, 0.0), b.like(x, -math.inf), b.like(x, math.nan))
    return b.select(x > 0.0, b.select(x < math.inf, inside, x), outside)


def _log_near_one(b: Block, f: Value, exponent: Value, unit: float) -> Value:
    """log(1 + f) + exponent*unit, sqrt(1/2) <= 1 + f <= sqrt(2)."""
    return b.fma(exponent, unit, b.fma(f * f, b.horner(f, _LOG), f))


@in_library
def log(b: Block, x: Value) -> Value:
    """x = 2^e*m with m around 1: log m + e ln 2. The exponent stays where it is in the word: e*2^23 is exact as a float32."""
    scaled = b.emit("bits", x * 2.0**23) - (23 << 23)
    word = b.select(x < 2.0**-126, scaled, b.emit("bits", x))
    exponent = (word - _ROOT_HALF) & _EXPONENT
    m = b.emit("from_bits", word - exponent)
    return _log_limits(b, x, _log_near_one(b, m - 1.0, b.emit("to_float", exponent), math.log(2.0) * 2.0**-23))


@in_library
def log1p(b: Block, x: Value) -> Value:
    """1 + x = 2^e*(1 + f), and f = x/2^e + (1/2^e - 1) from x itself, so the rounding of 1 + x does no harm.

    The factor is 4/2^e, for 1/2^e would be subnormal at the largest x. Minus signs are placed so that -0 stays -0.
    """
    u = x + 1.0
    exponent = _ONE - ((b.emit("bits", u) + (_ONE - _ROOT_HALF)) & _EXPONENT)  # -e*2^23
    scale = b.emit("from_bits", exponent + (129 << 23))
    f = b.fma(scale, x, -(4.0 - scale)) * 0.25
    return _log_limits(b, u, _log_near_one(b, f, b.emit("to_float", exponent), -math.log(2.0) * 2.0**-23))


# The error function


@in_library
def erf(b: Block, x: Value) -> Value:
    """`_saturating` up to 3.91, where erf rounds to 1: half the work of going through `gaussian`."""
    return _saturating(b, x, 3.91, _ERF_ABOVE, _ERF_BELOW)


@in_library
def erfc(b: Block, x: Value) -> Value:
    """2 minus the tail for negative x."""
    tail = _tail(b, at_most(b, magnitude(b, x), 10.2), gaussian(b, x))
    return b.select(x < 0.0, 2.0 - tail, tail)


def normal_cdf(b: Block, x: Value) -> Value:
    """erfc(-x/sqrt(2))/2, relatively accurate down to underflow at x = -14."""
    if x.type == "f64":
        return b.call("erfc", x * -math.sqrt(0.5)) * 0.5
    tail = _tail(b, at_most(b, magnitude(b, x) * math.sqrt(0.5), 10.2), half_gaussian(b, x)) * 0.5
    return b.select(x > 0.0, 1.0 - tail, tail)


def _tail(b: Block, a: Value, bell: Value) -> Value:
    """erfc(a) = bell/(sqrt(pi)*a + R(a)), R = above/below, for a >= 0, bell = exp(-a^2): relatively accurate for large a.

    What the rational function R adds goes from 1 at 0 to 1/2% of the divisor at 10, and its rounding errors fade likewise.
    """
    above, below = b.horner(a, _ERFC_ABOVE), b.horner(a, _ERFC_BELOW)
    return bell * below / b.fma(a * below, math.sqrt(math.pi), above)


# Through float64, where no care is needed: rare functions


def _wide_log(b: Block, x: Value) -> Value:
    """log(x), of a float64 that is not subnormal. The exponent is taken through 32 bits, for few machines convert 64."""
    word = b.emit("bits", x)
    exponent = (word - 0x3FE6A09E667F3BCD) & -(2**52)
    e = b.emit("widen", b.emit("to_float", b.emit("narrow", exponent >> 32)))
    m = b.emit("from_bits", word - exponent)
    s = (m - 1.0) / (m + 1.0)
    return _log_limits(b, x, b.fma(e, math.log(2.0) * 2.0**-20, s * b.horner(s * s, _WIDE_LOG)))


def _wide_exp(b: Block, x: Value) -> Value:
    """exp(x) in float64, for float32 results: 1e-90 and 1e90 stand for what is smaller and larger."""
    x = at_least(b, at_most(b, x, 207.0), -207.0)
    rounder = 1.5 * 2.0**52 + 1023.0
    shifted = b.fma(x, 1.0 / math.log(2.0), rounder)
    r = b.fma(shifted - rounder, -math.log(2.0), x)
    return b.horner(r, _WIDE_EXP) * b.emit("from_bits", b.emit("bits", shifted) << 52)


@in_library
def cbrt(b: Block, x: Value) -> Value:
    a = b.emit("widen", magnitude(b, x))
    return with_sign(b, b.emit("narrow", _wide_exp(b, _wide_log(b, a) * (1.0 / 3.0))), x)


@in_library
def asinh(b: Block, x: Value) -> Value:
    a = b.emit("widen", magnitude(b, x))
    y = b.emit("narrow", _wide_log(b, a + sqrt(b, b.fma(a, a, 1.0))))
    return b.select(magnitude(b, x) < 2.0**-12, x, with_sign(b, y, x))


@in_library
def acosh(b: Block, x: Value) -> Value:
    w = b.emit("widen", x)
    return b.emit("narrow", _wide_log(b, w + sqrt(b, w - 1.0) * sqrt(b, w + 1.0)))


@in_library
def atanh(b: Block, x: Value) -> Value:
    w = b.emit("widen", x)
    return b.select(magnitude(b, x) < 2.0**-12, x, b.emit("narrow", 0.5 * _wide_log(b, (1.0 + w) / (1.0 - w))))


def pow(b: Block, x: Value, y: Value) -> Value:
    """C99's pow: exp(y log|x|) in float64, whose 29 bits more take up what the exponential makes of the logarithm's rounding."""
    if x.type == "f64":
        return b.call("pow", x, y)
    bounded = at_least(b, at_most(b, y, 2.0**127), -(2.0**127))  # infinite exponents are then no case of their own
    a = b.emit("widen", magnitude(b, x))
    positive = b.emit("narrow", _wide_exp(b, b.emit("widen", bounded) * _wide_log(b, a)))
    half = y * 0.5
    odd = b.emit("ne", half, floor(b, half)) & b.emit("eq", y, floor(b, y))
    word = b.emit("bits", x)
    signed = b.emit("from_bits", b.emit("bits", positive) | (word & b.select(odd, b.constant(SIGN, "i32"), 0)))
    fraction = b.emit("ne", y, floor(b, y)) & (x < 0.0) & (x > -math.inf)
    one = b.emit("eq", x, 1.0) | b.emit("eq", y, 0.0)
    return b.select(one, 1.0, b.select(fraction, math.nan, signed))


def power_integer(b: Block, x: Value, n: int) -> Value:
    """x^n by repeated squaring, of 1/x for negative n: 1/x^-n would be 0 where x^-n overflows. Each product adds half an ulp
    times what is squared after it."""
    result: Value | None = None
    square, left = (1.0 / x, -n) if n < 0 else (x, n)
    while left:
        if left & 1:
            result = square if result is None else result * square
        left >>= 1
        if left:
            square = square * square
    if result is None:
        return b.like(x, 1.0)
    return result
