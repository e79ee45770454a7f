"""The limit of a function at an end of the line, from its values there and on the way there."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_INF: Final = float("inf")
# Four orders of magnitude, at arguments without a common period: a bounded oscillation shows.
_FAR: Final = np.array([1.0e60, 1.7e61, 2.3e90, 3.1e120])
_CLOSE: Final = 1e-9  # relative; a limit approached more slowly than this at 1e60 is not recognised
# Where an expression is evaluated for its limits: half of the points for either end, the infinite one first.
# Nearer, where little cancels: what is said of far away must be seen to come. sqrt(x^2 + x) - x is 0.5 here, and 0 in floating point there.
# And nearer still, where exp does not overflow: x/log(cosh(x)) is 1 there, and 0 from 710 on.
_NEAR: Final = np.array([41.0, 310.0, 1.1e4, 1.3e6])
_COMING: Final = 3e-2  # relative, from the second of these places on
_STEP: Final = 1.5  # what goes to 0 is to be smaller by this factor from place to place
PLACES: Final[NDArray[np.float64]] = np.concatenate([[-_INF], -_NEAR, -_FAR, [_INF], _NEAR, _FAR])


def limit_of(values: Any, end: float) -> float:
    """The limit at one end, given the values at `PLACES` (or one value for all of them); NaN where there is none."""
    below, above = np.split(np.broadcast_to(np.asarray(values, np.float64), PLACES.shape), 2)
    side = below if end < 0 else above
    at_infinity, near, far = float(side[0]), side[1 : 1 + len(_NEAR)], side[1 + len(_NEAR) :]
    on_the_way = np.abs(side[1:])
    if not np.isnan(at_infinity) or np.isnan(far).any():
        return at_infinity
    if (np.abs(far) > 1e15).all() and len(set(np.sign(far))) == 1:
        return float(np.sign(far[0])) * _INF
    if (on_the_way[1:] <= on_the_way[:-1] / _STEP).all() and (np.abs(far) <= _CLOSE * on_the_way[0]).all():
        return 0.0
    last = float(far[-1])
    with np.errstate(invalid="ignore"):  # inf - inf
        close, coming = (np.abs(values - last) <= part * abs(last) for values, part in ((far, _CLOSE), (near[1:], _COMING)))
    return last if close.all() and coming.all() else at_infinity
