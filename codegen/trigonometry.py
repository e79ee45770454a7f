"""The circular functions, their inverses and sinc, spelled as `elementary.py` says.

The sine and cosine of a float32 x share one reduction to x = q*pi/2 + r, |r| <= pi/4, and the two polynomials in r. Up to 1e5 the
reduction is Cody and Waite's (Software Manual for the Elementary Functions, 1980, chapter 8) with fused products: at most 4 ulp.
Beyond, where neighbouring float32 numbers are over 0.007 apart, it is Payne and Hanek's (SIGNUM Newsletter 18, 1983) in integers.
"""

from __future__ import annotations

import math
from typing import Final

from codegen.elementary import ROUNDER, SIGN, at_most, in_library, magnitude, with_sign
from codegen.instructions import Block, Value

# sin(r)/r in r^2, |r| <= pi/4: 3.8e-9
_SIN: Final = (-0.00019517807, 0.008332187, -0.16666655, 1.0)
# cos(r) in r^2, |r| <= pi/4: 1.1e-10
_COS: Final = (2.4430668e-05, -0.0013887301, 0.041666646, -0.5, 1.0)
# sin(pi r)/(pi r) in r^2, |r| <= 1/2: 6.3e-9
_SINC: Final = (0.02471593, -0.19044323, 0.81171584, -1.6449333, 1.0)
# cos(pi r) in r^2, |r| <= 1/2: 1.1e-9, absolute
_COS_PI: Final = (-0.023963781, 0.23468375, -1.3351616, 4.0587053, -4.934802, 1.0)
# sinc'(t)/t in t^2, |t| <= 1/2, float32: 5.3e-9
_SINC_SLOPE: Final = (-0.02197034, 0.20874014, -1.1444566, 3.2469673, -3.289868)
# The same in float64, from the Taylor series; the first term left out is 1e-18
_SINC_SLOPE_WIDE: Final = tuple((-1) ** k * 2 * k * math.pi ** (2 * k) / math.factorial(2 * k + 1) for k in range(11, 0, -1))
# asin(s)/s in s^2, 0 <= s <= 1/2: 5e-9
_ASIN: Final = (0.042211715, 0.024152128, 0.045476038, 0.07495252, 0.16666754, 1.0)
# atan(t)/t in t^2, 0 <= t <= 1: 1.7e-8
_ATAN: Final = (0.0029195794, -0.016363632, 0.04320518, -0.0755168, 0.10665772, -0.14211002, 0.19993767, -0.33333153, 1.0)

# pi/2 in three parts from above. The first has 17 bits, so its product with a small quadrant is exact even without fma.
_HALF_PI: Final = (float.fromhex("0x1.921fp+0"), float.fromhex("0x1.6a8884p-17"), float.fromhex("0x1.a308d2p-41"))
# floor(2^183 * 2/pi) in words of 64 bits, the highest first.
_TWO_OVER_PI: Final = (0x00517CC1B727220A, 0x94FE13ABE8FA9A6E, 0xE06DB14ACC9E21C8)


def _reduce(b: Block, x: Value) -> tuple[Value, Value]:
    """(r, q): x = (q + 4k)*pi/2 + r, |r| <= pi/4; only the two last bits of the i32 q count. NaN for inf."""
    shifted = b.fma(x, 2.0 / math.pi, ROUNDER)
    n = shifted - ROUNDER
    r = x
    for part in _HALF_PI:
        r = b.fma(n, -part, r)
    quadrant = b.emit("bits", shifted)
    large = abs(x) > 1e5
    far, far_quadrant = reduce_large(b, x)
    return b.emit("rare", large, far, r), b.emit("rare", large, far_quadrant, quadrant)


def reduce_large(b: Block, x: Value) -> tuple[Value, Value]:
    """(r, q) as `_reduce`, for |x| >= 2^16; r to 3e-9 absolutely.

    |x| = M*2^(e - 150), M of 24 bits and e the biased exponent. M times the 64 bits of 2/pi from weight 2^(151 - e) on is x in turns,
    as a fraction of 2^64: what is left out above makes whole turns, what is left out below less than 2^-40 of one.
    """
    word = b.emit("bits", abs(x))
    skip = b.emit("widen", (word >> 23) - 143)
    high, middle, low = _TWO_OVER_PI
    upper = skip < 64
    first = b.select(upper, b.constant(high, "i64"), _signed(middle))
    second = b.select(upper, b.constant(middle >> 1, "i64"), low >> 1)  # one place on, for 64 - shift might be 64
    shift = skip & 63
    window = (first << shift) | (second >> (shift ^ 63))
    mantissa = b.emit("widen", (word & 0x7FFFFF) | 0x800000)
    turns = b.emit("narrow", (window * mantissa) >> 32)
    negative = b.emit("sar", b.emit("bits", x), 31)
    turns = (turns ^ negative) - negative
    quadrant = (turns + (1 << 29)) >> 30
    r = b.emit("to_float", turns << 2) * (math.pi / 2.0 * 2.0**-32)
    return b.fma(x, 0.0, r), quadrant  # adds nothing to a finite x, and NaN to inf


def _signed(word: int) -> int:
    """A word of 64 bits as a number in two's complement."""
    return word - (1 << 64) if word >> 63 else word


def _circle(b: Block, r: Value) -> tuple[Value, Value]:
    """(sin r, cos r) for |r| <= pi/4."""
    square = r * r
    return r * b.horner(square, _SIN), b.horner(square, _COS)


def _is_odd(b: Block, quadrant: Value) -> Value:
    return b.emit("ieq", quadrant & 1, 1)


def _negated_if(b: Block, x: Value, sign_bit: Value) -> Value:
    return b.emit("from_bits", b.emit("bits", x) ^ sign_bit)


def _sin_from(b: Block, r: Value, quadrant: Value) -> Value:
    sine, cosine = _circle(b, r)
    return _negated_if(b, b.select(_is_odd(b, quadrant), cosine, sine), (quadrant << 30) & SIGN)


@in_library
def sin(b: Block, x: Value) -> Value:
    return _sin_from(b, *_reduce(b, x))


@in_library
def cos(b: Block, x: Value) -> Value:
    r, quadrant = _reduce(b, x)
    return _sin_from(b, r, quadrant + 1)


@in_library
def tan(b: Block, x: Value) -> Value:
    r, quadrant = _reduce(b, x)
    sine, cosine = _circle(b, r)
    odd = _is_odd(b, quadrant)
    return _negated_if(b, b.select(odd, cosine, sine) / b.select(odd, sine, cosine), quadrant << 31)


# Inverses


def _asin_parts(b: Block, x: Value) -> tuple[Value, Value]:
    """(|x| <= 1/2, p): asin|x| is p where that holds, pi/2 - 2p elsewhere, from the half-angle formula; p is NaN for |x| > 1."""
    a = abs(x)
    small = a <= 0.5
    square = b.select(small, a * a, b.fma(a, -0.5, 0.5))
    return small, b.select(small, a, b.emit("sqrt", square)) * b.horner(square, _ASIN)


@in_library
def asin(b: Block, x: Value) -> Value:
    small, p = _asin_parts(b, x)
    return with_sign(b, b.select(small, p, b.fma(p, -2.0, math.pi / 2.0)), x)


@in_library
def acos(b: Block, x: Value) -> Value:
    small, p = _asin_parts(b, x)
    twice = p + p
    outer = b.select(x < 0.0, math.pi - twice, twice)
    return b.select(small, math.pi / 2.0 - with_sign(b, p, x), outer)


@in_library
def atan(b: Block, x: Value) -> Value:
    """atan(a) = pi/2 - atan(1/a)."""
    a = abs(x)
    outside = a > 1.0
    t = b.select(outside, -1.0 / a, a)
    y = t * b.horner(t * t, _ATAN)
    return with_sign(b, b.select(outside, y + math.pi / 2.0, y), x)


# sinc, whose zeros are the integers: the reduction is exact


def _half_turns(b: Block, t: Value) -> tuple[Value, Value]:
    """(sinc(r)*r, cos(pi r)) with the sign of the nearest integer n: r = |t| - n, so they are sin(pi|t|)/pi and cos(pi|t|).

    Beyond 2^24 (2^53) every number is an even integer.
    """
    wide = t.type == "f64"
    a = at_most(b, magnitude(b, t), 2.0**53 if wide else 2.0**24)
    turn = b.fma(b.emit("floor", a * 0.5), -2.0, a)
    rounder = 1.5 * 2.0**52 if wide else ROUNDER
    shifted = turn + rounder
    r = turn - (shifted - rounder)
    odd = b.emit("bits", shifted) << (63 if wide else 31)
    if wide:
        angle = r * math.pi
        sine, cosine = b.call("sin", angle) * (1.0 / math.pi), b.call("cos", angle)
    else:
        square = r * r
        sine, cosine = r * b.horner(square, _SINC), b.horner(square, _COS_PI)
    return _negated_if(b, sine, odd), _negated_if(b, cosine, odd)


def sinc(b: Block, t: Value) -> Value:
    """sin(pi t)/(pi t); 1 at 0, 0 at inf."""
    sine, _ = _half_turns(b, t)
    return b.select(b.emit("eq", t, 0.0), 1.0, sine / magnitude(b, t))


def sinc_slope(b: Block, t: Value) -> Value:
    """sinc'(t) = (cos(pi t) - sinc(t))/t, and near 0, where that cancels, a polynomial; 0 at 0 and at inf."""
    _, cosine = _half_turns(b, t)
    near = t * b.horner(t * t, _SINC_SLOPE_WIDE if t.type == "f64" else _SINC_SLOPE)
    return b.select(magnitude(b, t) < 0.5, near, (cosine - sinc(b, t)) / t)
