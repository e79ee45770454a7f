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
_NEAR: Final = np.array([1.1e4, 1.3e6])
_COMING: Final = 1e-2  # relative
PLACES: Final[NDArray[np.float64]] = np.concatenate([[-_INF], -_NEAR, -_FAR, [_INF], _NEAR, _FAR])


def limit_of(values: Any, end: float) -> float:
    """The limit at one end, given the values at `PLACES` (or one value for all of them); NaN where there is none."""
    below, above = np.split(np.broadcast_to(np.asarray(values, np.float64), PLACES.shape), 2)
    side = below if end < 0 else above
    at_infinity, near, far = float(side[0]), side[1 : 1 + len(_NEAR)], side[1 + len(_NEAR) :]
    if not np.isnan(at_infinity) or np.isnan(far).any():
        return at_infinity
    if (np.abs(far) > 1e15).all() and len(set(np.sign(far))) == 1:
        return float(np.sign(far[0])) * _INF
    sizes = np.abs([*near, *far])
    if sizes[1] <= sizes[0] / 2 and (sizes[2:] <= _CLOSE * sizes[1]).all() and (np.diff(sizes) <= 0).all():
        return 0.0
    last = float(far[-1])
    with np.errstate(invalid="ignore"):  # inf - inf
        close, coming = (np.abs(values - last) <= part * abs(last) for values, part in ((far, _CLOSE), (near, _COMING)))
    return last if close.all() and coming.all() else at_infinity
