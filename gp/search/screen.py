"""What is known of a candidate without training it: value and derivative on a grid of x, in float64.

The lab's inputs are standardised, so hidden units see a few units of size, and tens where a network extrapolates.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from codegen.graph import topological
from codegen.numpy import evaluate
from kernels.compiled import program

Array = NDArray[np.float64]
GRID: Final[Array] = np.concatenate([np.linspace(-20, 20, 161), np.linspace(-1, 1, 42)])
CENTRE: Final[NDArray[np.bool_]] = np.abs(GRID) <= 5
LARGEST: Final = float(np.finfo(np.float32).max)
STRAIGHT: Final = 1e-3  # how little, of its own deviation, a function may stray from its best line
REASONS: Final = ("too large", "not finite", "constant", "linear", "no gradient")


def screen(text: str, max_operations: int) -> str | None:
    """Why a program is not worth training (one of REASONS), or None."""
    function = program(text)
    if len(topological([function.graph])) > max_operations:
        return "too large"
    value, slope = (np.broadcast_to(v, GRID.shape) for v in evaluate([function.graph, function.slope], {"x": GRID}))
    return judge(value, slope)


def judge(value: Array, slope: Array) -> str | None:
    """The same for values and derivatives on the grid."""
    if not (np.abs(value) < LARGEST).all() or not (np.abs(slope) < LARGEST).all():
        return "not finite"
    x, y = GRID[CENTRE], value[CENTRE]
    deviation = float(y.std())
    if deviation <= STRAIGHT * max(float(np.abs(y).max()), STRAIGHT):
        return "constant"
    if not slope[CENTRE].any():
        return "no gradient"
    line = np.polynomial.Polynomial.fit(x, y, 1)
    return "linear" if float(np.abs(y - line(x)).max()) <= STRAIGHT * deviation else None
