"""The rule for numbers, applied to one program: what our kernels give, beside the plain program and high precision.

Wherever the plain program (`bench.plain_numbers`) has a finite value or gradient, ours is finite, and at most `FACTOR` times as wrong as
rounding makes the plain one; where it has NaN or an infinity, ours may be the exact result, NaN or an infinity, but no other number.

Numbers that agree with the plain program as closely as its own rounding lets them are right by that rule. All others are judged by mpmath:
the program at hundreds to thousands of bits, its gradient by differences (so no rule of ours has a part in it), its limit at infinity by
going far out. How wrong rounding may make a number is seen by disturbing each result on the way to it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from mpmath import mp, mpf
from numpy.typing import NDArray

from bench.high_precision import Noise, chain_rule, evaluate, has_lost_angle, has_tie
from bench.plain_numbers import plain
from codegen.build import build
from codegen.graph import Node, topological
from grammar import parse
from kernels.module import activation

Array = NDArray[Any]
FACTOR: Final = 16.0  # times as wrong as the plain program
STEPS: Final = 64  # rounding steps that are granted in any case: an elementary function takes up to 4
_SAMPLES: Final = 8  # disturbed evaluations
_BITS: Final = (400, 1600, 6400)
_AGREE: Final = 1e-10  # relative, of two precisions
_FAR: Final = tuple(mpf(10) ** k for k in (16, 32, 64, 128))
_SMALLEST: Final = mpf(10) ** -400  # no difference to 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Where ours breaks the rule; `exact` is what mpmath says."""

    text: str
    dtype: torch.dtype
    x: float
    what: str
    ours: float
    plain: float
    exact: str

    def __str__(self) -> str:
        """To be pasted."""
        x = f"float({str(self.x)!r})" if not math.isfinite(self.x) else repr(self.x)
        numbers = f"ours {self.ours:.9g}, plain {self.plain:.9g}, exact {self.exact}"
        return (
            f"x = torch.tensor([{x}], dtype={self.dtype}, requires_grad=True); y = gp.activation({self.text!r})(x); y.sum().backward(); "
            f"print(y, x.grad)  # {self.what}: {numbers}"
        )


@dataclass(frozen=True, slots=True)
class Exact:
    """What is right: a hull of numbers (a kink has two slopes), `nan` where there is none, and how far rounding may lead from it."""

    low: Any
    high: Any
    spread: Any
    is_pole: bool = False  # or a gap: the numbers are those beside it

    def __str__(self) -> str:
        low, high = mp.nstr(self.low, 9), mp.nstr(self.high, 9)
        return low if low == high else f"{low} to {high}"


class Program:
    """A pointwise program, by all three ways."""

    def __init__(self, text: str, backend: str = "llvm") -> None:
        self.text = text
        self.root: Node = build(parse(text)).result
        self._module = activation(text, backend=backend)

    def ours(self, x: Array) -> tuple[Array, Array]:
        """Value and gradient by the kernels."""
        leaf = torch.from_numpy(x.copy()).requires_grad_()
        y = self._module(leaf)
        y.sum().backward()
        slope = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        return y.detach().numpy(), slope.numpy()

    def faults(self, x: Array, seed: int = 0) -> Iterator[Fault]:
        """Where our numbers at x, of one precision, break the rule."""
        generator = np.random.default_rng(seed)
        ours, written = self.ours(x), plain(self.root, x)
        disturbed = [plain(self.root, x, generator) for _ in range(_SAMPLES)]
        for k, what in enumerate(("value", "gradient")):
            suspects = _suspects(ours[k], written[k], [d[k] for d in disturbed])
            for n in np.flatnonzero(suspects).tolist():
                if k and not _has_value(x[n], ours[0][n], written[0][n]):
                    continue
                if k and self._is_elsewhere(x[n : n + 1], float(written[0][n])):
                    continue
                if k and _is_outermost(float(x[n]), np.finfo(x.dtype)) and not np.isfinite(ours[k][n]):
                    continue
                exact = self.exact(x[n : n + 1], gradient=bool(k))
                if exact is not None and _breaks(
                    float(ours[k][n]), float(written[k][n]), exact, [float(d[k][n]) for d in disturbed], x.dtype
                ):
                    dtype = torch.float64 if x.dtype == np.float64 else torch.float32
                    yield Fault(self.text, dtype, float(x[n]), what, float(ours[k][n]), float(written[k][n]), str(exact))

    def _is_elsewhere(self, place: Array, written: float) -> bool:
        """Whether overflow or underflow has led the plain program to another value, as by a choice: its slope is another one then."""
        exact = self.exact(place, gradient=False)
        return exact is None or not abs(exact.low - mpf(written)) <= abs(exact.low) / 100 + exact.spread * FACTOR + mpf(10) ** -30

    def exact(self, place: Array, *, gradient: bool) -> Exact | None:
        """Value or gradient at one place, or its limit there; None where precision does not settle it."""
        limits = np.finfo(place.dtype)
        x, unit, least = float(place[0]), float(limits.eps), float(limits.smallest_subnormal)
        compute = chain_rule if gradient else evaluate
        if math.isnan(x):
            return Exact(mp.nan, mp.nan, mpf(0))
        if math.isinf(x):
            return self._limit(x, gradient)
        found = self._settled(mpf(x), gradient)
        if found is None or has_lost_angle(self.root, mpf(x), unit):
            return None
        if has_tie(self.root, mpf(x), jumps_alone=not gradient) or (gradient and mp.isnan(found[0])):
            return None
        with mp.workprec(_BITS[1]):
            off = [compute(self.root, mpf(x), Noise(random.Random(seed), unit, least)) for seed in range(_SAMPLES)]
        if len({bool(mp.isnan(o)) for o in [*off, found[0]]}) > 1:
            return None  # rounding decides whether there is a value at all
        if mp.isnan(found[0]):  # 0/0: any limit from either side will do
            step = abs(mpf(x)) * mpf(10) ** -40 if x else mpf(10) ** -80
            near, numbers = self._beside(x, step), self._beside(x, step * step)
            if len(near) != len(numbers) or any(abs(a - b) > abs(b) / 1000 for a, b in zip(near, numbers, strict=True)):
                return None  # it goes to its limit, or to infinity, too slowly to be told
            return Exact(min(numbers), max(numbers), abs(min(numbers)) * unit, True) if numbers else Exact(mp.nan, mp.nan, mpf(0))
        low, high = min(found), max(found)
        return Exact(low, high, max([mpf(0), *(max(low - o, o - high) for o in off)]))

    def _beside(self, x: float, step: Any) -> list[Any]:
        """The values a step to the left and to the right of a place."""
        found = [self._settled(mpf(x) + d, gradient=False) for d in (-step, step)]
        return [side[0] for side in found if side is not None and not mp.isnan(side[0])]

    def _settled(self, x: Any, gradient: bool) -> list[Any] | None:
        """The value, or the slopes to the left and to the right, when two precisions agree on them."""
        before: list[Any] | None = None
        small = 4 * max(0, -int(mp.mag(x))) if x else 0  # a difference at 1e-310 has to see x^2 beside 1
        for bits in _BITS:
            with mp.workprec(bits + small):
                now = _slopes(self.root, x) if gradient else [evaluate(self.root, x)]
                if before is not None and all(map(_agree, before, now)):
                    return now
            before = now
        return None

    def _limit(self, end: float, gradient: bool) -> Exact | None:
        if gradient and any(n.boolean or n.name == "pow" for n in topological([self.root])):
            return None  # there, a comparison with NaN chooses what is not chosen anywhere near, and (-inf)^-0.7 is 0
        found = [self._settled(x if end > 0 else -x, gradient) for x in _FAR]
        if any(f is None for f in found):
            return None
        values = [f[0] for f in found if f is not None]
        if any(map(mp.isnan, values)):  # unless floating point has a number there, such as the root of a negative one that has become 0
            far = plain(self.root, np.array([math.copysign(1e30, end)]))[gradient]
            return Exact(mp.nan, mp.nan, mpf(0)) if all(map(mp.isnan, values)) and np.isnan(far).all() else None
        sizes = [abs(v) for v in values]
        if all(s > 1e6 for s in sizes) and sizes == sorted(sizes) and sizes[0] < sizes[-1] and len({mp.sign(v) for v in values}) == 1:
            return Exact(mp.sign(values[-1]) * mp.inf, mp.sign(values[-1]) * mp.inf, mpf(0))
        if sizes[-1] < 1e-20 * min(sizes[0], 1) and sizes == sorted(sizes, reverse=True):
            return Exact(mpf(0), mpf(0), mpf(0))
        steady = max(abs(v - values[-1]) for v in values[1:]) <= 1e-9 * sizes[-1]
        if steady:
            return Exact(values[-1], values[-1], sizes[-1] * mpf("1e-6"))
        if sizes == sorted(sizes, reverse=True):
            return None  # it may go to 0 as slowly as 1/log(x)
        bounded = max(sizes) < 1e6
        return Exact(mp.nan, mp.nan, mpf(0)) if bounded else None


def _slopes(root: Node, x: Any) -> list[Any]:
    """To the left and to the right, by differences; one of them alone where there is no value on the other side."""
    part = mp.ldexp(1, -mp.prec // 4)
    step = abs(x) * part if x else mp.ldexp(1, -mp.prec // 2)
    here = evaluate(root, x)
    slopes = [(here - evaluate(root, x - step)) / step, (evaluate(root, x + step) - here) / step]
    numbers = [s for s in slopes if not mp.isnan(s)]
    return numbers * 2 if len(numbers) == 1 else slopes


def _agree(a: Any, b: Any) -> bool:
    if mp.isnan(a) or mp.isnan(b):
        return bool(mp.isnan(a) and mp.isnan(b))
    return bool(a == b or abs(a - b) <= _AGREE * abs(b) or max(abs(a), abs(b)) < _SMALLEST or min(abs(a), abs(b)) > mpf(10) ** 60)


def _suspects(ours: Array, written: Array, disturbed: Sequence[Array]) -> Array:
    """Where ours is not as close to the plain program as its own rounding lets it be."""
    with np.errstate(all="ignore"):
        wide, here = ours.astype(np.float64), written.astype(np.float64)
        spread = np.max([np.abs(d.astype(np.float64) - here) for d in disturbed], axis=0)
        near = np.abs(wide - here) <= FACTOR * spread + 4 * np.spacing(np.abs(written)).astype(np.float64)
        same = (wide == here) | (np.isnan(wide) & ~np.isfinite(here)) | (np.isinf(wide) & np.isnan(here))
        steady = np.isfinite(here) & np.all([np.isfinite(d) for d in disturbed], axis=0)
    return ~(same | (near & steady))


def _is_outermost(x: float, limits: Any) -> bool:
    """Whether 4x or 1/x leaves the range of numbers: there a slope such as 2x + 1 may overflow which the plain program never adds up."""
    return bool(0 < abs(x) < limits.tiny or abs(x) > limits.max / 4)


def _has_value(x: float, ours: float, written: float) -> bool:
    """There is no gradient where there is no value; and of what a NaN does not reach the slope is 0, though the plain one is not."""
    return bool(np.isfinite(ours) and np.isfinite(written) and not np.isnan(x))


def _breaks(ours: float, written: float, exact: Exact, disturbed: Sequence[float], dtype: Any) -> bool:
    limits = np.finfo(dtype)
    largest, unit, least = mpf(float(limits.max)), mpf(float(limits.eps)), mpf(float(limits.tiny))
    plain_is_finite = all(map(math.isfinite, [written, *disturbed]))
    if mp.isnan(exact.low):
        return math.isfinite(ours) and not math.isfinite(written)
    if exact.is_pole and not math.isfinite(ours):
        return False
    size = max(abs(exact.low), abs(exact.high))
    wrong = [max(exact.low - p, p - exact.high, mpf(0)) for p in (mpf(written), *map(mpf, disturbed)) if mp.isfinite(p)]
    granted = FACTOR * max([exact.spread, *wrong]) + STEPS * unit * (size if mp.isfinite(size) else mpf(0)) + least
    if exact.low - granted <= mpf(ours) <= exact.high + granted or exact.spread > size / 8:
        return False
    if not math.isfinite(ours):
        return plain_is_finite and size + granted < largest / 8  # terms of a sum may be that much larger
    if size > largest:
        return abs(mpf(ours)) < largest * (1 - STEPS * unit) and granted < size - abs(mpf(ours))
    return True
