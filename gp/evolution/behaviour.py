"""What a function does, as a few discrete features of its values and slopes on the grid of `gp.evolution.screen`.

Two functions of the same behaviour are of a kind, however they are written. Features do not change when a function is multiplied by
a positive number, or a constant is added. They are as fine as the grid: what happens between its points, or beyond 20, is not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from gp.evolution.screen import CENTRE, GRID, Array

Parity = Literal["odd", "even", "neither"]
Growth = Literal["bounded", "slower", "linear", "faster"]
Smoothness = Literal["smooth", "kink", "jump"]
Oscillation = Literal["none", "one", "few", "many"]

CELLS: Final = math.prod(len(get_args(feature)) for feature in (Parity, Growth, Growth, Smoothness, Oscillation))

# The grid: 161 coarse points from -20 to 20, 0.25 apart, then 42 fine points from -1 to 1.
COARSE: Final = 161
ORIGIN: Final = COARSE // 2
MIRROR: Final = np.concatenate([np.arange(COARSE)[::-1], np.arange(COARSE, len(GRID))[::-1]])  # where -x is
ASCENDING: Final = np.argsort(GRID, kind="stable")
LEFT: Final = slice(ORIGIN, None, -1)  # from 0 to -20
RIGHT: Final = slice(ORIGIN, COARSE)  # from 0 to 20
TEN: Final = 40  # where these are at 10

# Breaks are sought at the fine points, and at the coarse ones from 1 to 5. A test sees four more points on either side.
SOUGHT: Final = np.array([k for k in ASCENDING.tolist() if (1 <= abs(GRID[k]) <= 6 if k < COARSE else abs(GRID[k]) < 1)])
POINTS: Final = GRID[SOUGHT]
STEPS: Final[Array] = np.diff(POINTS)
CHANGES: Final[Array] = (POINTS[2:] - POINTS[:-2]) / 2  # between the middles of two intervals
TESTED: Final = len(POINTS) - 8

ROUNDING: Final = 1e-9  # of the largest value or slope from -5 to 5: what is smaller counts as zero
SAME: Final = 1e-6  # relative difference of values that count as equal
STRAIGHT: Final = 0.1  # relative difference between the slopes of what counts as a line
SLOWER: Final = 0.15  # the exponents from which growth is slower than linear, linear, and faster
LINEAR: Final = 0.7
FASTER: Final = 1.45
SMALL: Final = 0.01  # of the slope: a smaller break is ignored
KINK: Final = 3.0  # times the change of slope that the curvature nearby explains
BREAK: Final = 4.0  # times the error of the same rule nearby

TURNS: Final[dict[Oscillation, str]] = {"none": "no turn", "one": "one turn", "few": "few turns", "many": "many turns"}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A cell of the archive. The functions below define the features; `left` and `right` are the growth towards either side."""

    parity: Parity
    left: Growth
    right: Growth
    smoothness: Smoothness
    oscillation: Oscillation

    @property
    def label(self) -> str:
        """One line for tables, such as "neither, bounded | linear, smooth, one turn" for gelu."""
        return f"{self.parity}, {self.left} | {self.right}, {self.smoothness}, {TURNS[self.oscillation]}"


def describe(value: Array, slope: Array) -> Behaviour:
    """The behaviour of a function with these values and slopes on the grid: (points,) each, finite."""
    small_value = ROUNDING * float(np.abs(value[CENTRE]).max())
    small_slope = ROUNDING * float(np.abs(slope[CENTRE]).max())
    centred = value - value[ORIGIN]
    return Behaviour(
        _parity(centred, small_value),
        _growth(centred[LEFT], slope[LEFT], small_value, small_slope),
        _growth(centred[RIGHT], slope[RIGHT], small_value, small_slope),
        _smoothness(value[SOUGHT], slope[SOUGHT], small_value, small_slope),
        _oscillation(slope[ASCENDING], small_slope),
    )


def _parity(centred: Array, small: float) -> Parity:
    """With g = f - f(0): even where g(x) = g(-x), odd where g(x) = -g(-x), at all points of the grid, each to one part in a million of
    |g(x)| + |g(-x)|. A constant is even."""
    mirrored = centred[MIRROR]
    tolerance = SAME * (np.abs(centred) + np.abs(mirrored)) + small
    if (np.abs(centred - mirrored) <= tolerance).all():
        return "even"
    return "odd" if (np.abs(centred + mirrored) <= tolerance).all() else "neither"


def _growth(centred: Array, slope: Array, small_value: float, small_slope: float) -> Growth:
    """Growth like |x|^p, from f - f(0) and the slope at the coarse points of one side, from 0 outwards.

    Linear, if the slopes from 10 to 20 differ by no more than a tenth. Else p is the logarithm to base 2 of the largest |f - f(0)|
    from 10 to 20 over that from 0 to 10; largest values are an envelope, so that oscillation does not count. Bounded: p < 0.15
    (softsign 0.07); slower than linear: p < 0.7 (log 0.34, sqrt 0.5); linear: p < 1.45 (x*sin(x) 1.2); else faster.
    """
    low, high = float(slope[TEN:].min()), float(slope[TEN:].max())
    steepest = max(-low, high)
    if steepest > small_slope and high - low <= STRAIGHT * steepest:
        return "linear"
    size = np.abs(centred)
    inner, outer = float(size[: TEN + 1].max()), float(size[TEN:].max())
    if outer <= small_value:
        return "bounded"
    exponent = math.log2(outer / inner) if inner > 0 else math.inf
    return "bounded" if exponent < SLOWER else "slower" if exponent < LINEAR else "linear" if exponent < FASTER else "faster"


def _smoothness(value: Array, slope: Array, small_value: float, small_slope: float) -> Smoothness:
    """Whether the value, or else the slope, jumps between -5 and 5, where these are given."""
    if _has_jump(value, slope, small_value):
        return "jump"
    return "kink" if _has_kink(slope, small_slope) else "smooth"


def _nearby(array: Array, *offsets: int) -> Array:
    """For each tested point the largest entry at these offsets, where 4 is the point itself, or the interval after it."""
    largest: Array = np.maximum.reduce([array[k : k + TESTED] for k in offsets])
    return largest


def _has_jump(value: Array, slope: Array, small: float) -> bool:
    """Whether the value somewhere changes by more than slopes explain.

    The change over the two intervals at a point, less what the trapezoidal rule makes of the slopes, has to exceed the length times
    the largest change of slope in an interval nearby, and four times the error of the rule in the intervals beside. There are two
    intervals because at the jump itself a function can have a value between.
    """
    error = np.diff(value) - STEPS / 2 * (slope[1:] + slope[:-1])
    jump = np.abs(error[3 : 3 + TESTED] + error[4 : 4 + TESTED])
    length = POINTS[5 : 5 + TESTED] - POINTS[3 : 3 + TESTED]
    explained = length * (_nearby(np.abs(np.diff(slope)), 2, 3, 4, 5) + SMALL * _nearby(np.abs(slope), 3, 5))
    return bool((jump > np.maximum(explained, BREAK * _nearby(np.abs(error), 2, 5)) + small).any())


def _has_kink(slope: Array, small: float) -> bool:
    """Whether the slope somewhere jumps.

    Straight lines, each through two points, extend the slope from below and from above to a point. They miss each other by no more
    than curvature times distance where the slope is continuous, even if the curvature jumps. At a kink they do by more than three
    times that, and by more than four times what such lines miss at the points nearby.
    """
    curvature = np.diff(slope) / STEPS
    from_below = slope[1:-1] + curvature[:-1] * STEPS[1:]  # at points from the third on
    from_above = slope[1:-1] - curvature[1:] * STEPS[:-1]  # at points up to the third last
    kink = np.abs(from_below[2 : 2 + TESTED] - from_above[4 : 4 + TESTED])
    change = np.abs(np.diff(curvature)) / CHANGES
    distance = _nearby(STEPS, 3, 4)
    explained = distance * np.maximum(KINK * _nearby(np.abs(curvature), 1, 2, 5, 6), BREAK * distance * _nearby(change, 0, 1, 5, 6))
    return bool((kink > explained + SMALL * _nearby(np.abs(slope), 3, 5) + small).any())


def _oscillation(slope: Array, small: float) -> Oscillation:
    """How often the sign of the slope changes from -20 to 20, slopes that are zero left out: never, once, 2 to 4 times, or more."""
    falling = slope[np.abs(slope) > small] < 0
    turns = int(np.count_nonzero(falling[1:] != falling[:-1]))
    return "none" if turns == 0 else "one" if turns == 1 else "few" if turns <= 4 else "many"
