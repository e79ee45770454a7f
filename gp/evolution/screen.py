"""What is known of a candidate without training it: value and derivative on a grid of x, in float64.

The lab's inputs are standardised, so hidden units see a few units of size, and tens where a network extrapolates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from codegen.graph import topological
from codegen.numpy import evaluate
from kernels.programs import program

Array = NDArray[np.float64]
GRID: Final[Array] = np.concatenate([np.linspace(-20, 20, 161), np.linspace(-1, 1, 42)])
CENTRE: Final[NDArray[np.bool_]] = np.abs(GRID) <= 5
LARGEST: Final = float(np.finfo(np.float32).max)
STRAIGHT: Final = 1e-3  # how little, of its own deviation, a function may stray from its best line


@dataclass(frozen=True, slots=True)
class Profile:
    """A function on the grid: value and derivative, (points,) each, and how many operations its simplified graph has."""

    value: Array
    slope: Array
    operations: int

    def objection(self, max_operations: int) -> str | None:
        """Why the function is not worth training, or None."""
        if self.operations > max_operations:
            return "too large"
        if not (np.abs(self.value) < LARGEST).all() or not (np.abs(self.slope) < LARGEST).all():
            return "not finite"
        x, y = GRID[CENTRE], self.value[CENTRE]
        deviation = float(y.std())
        if deviation <= STRAIGHT * max(float(np.abs(y).max()), STRAIGHT):
            return "constant"
        if not self.slope[CENTRE].any():
            return "no gradient"
        line = np.polynomial.Polynomial.fit(x, y, 1)
        return "linear" if float(np.abs(y - line(x)).max()) <= STRAIGHT * deviation else None

    @property
    def fingerprint(self) -> str:
        """Equal for functions whose values agree to five digits, however they are written."""
        return ",".join(f"{v + 0.0:.5g}" for v in self.value.round(9).tolist())


def profile(text: str) -> Profile:
    """The profile of a pointwise program."""
    function = program(text)
    value, slope = (np.broadcast_to(v, GRID.shape) for v in evaluate([function.graph, function.slope], {"x": GRID}))
    return Profile(value, slope, len(topological([function.graph])))
