"""What is known of a candidate without training it: value and derivative on a grid of x, in float64.

The lab's inputs are standardised, so hidden units see a few units of size, and tens where a network extrapolates. The grid is laid
out as a tensor in an order without order, so that statistics and neighbours are as unlike as they are in a network.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from codegen.cost import cost
from codegen.function import Activation
from codegen.graph import Node
from codegen.limits import is_pointwise
from codegen.numpy import evaluate
from kernels.programs import program

Array = NDArray[np.float64]
GRID: Final[Array] = np.concatenate([np.linspace(-20, 20, 161), np.linspace(-1, 1, 42)])
CENTRE: Final[NDArray[np.bool_]] = np.abs(GRID) <= 5
SHAPE: Final = (29, 7)  # of the tensor: rows and channels
STRAIGHT: Final = 1e-3  # how little, of its own deviation, a function may stray from its best line
STEEPEST: Final = 1e4  # what value and derivative may reach on the grid: x^3 passes, x^4 does not
TRANSCENDENTAL: Final = 10  # what an elementary function costs, in operations
TOLERANCE: Final = 1e-4  # root mean square difference of value and derivative from which two functions are told apart

_RANDOM: Final = np.random.default_rng(0)
_ORDER: Final = _RANDOM.permutation(GRID.size)
_BACK: Final = np.argsort(_ORDER)
_X: Final[Array] = GRID[_ORDER].reshape(SHAPE)
_ABSCISSAE: Final[Array] = GRID[CENTRE] - GRID[CENTRE].mean()
# At multiples of 1/2 functions have kinks and jumps, where value and derivative depend on how they are written.
_REGULAR: Final[NDArray[np.intp]] = np.flatnonzero(GRID % 0.5)
_DIRECTIONS: Final[Array] = _RANDOM.standard_normal((12, 3 * _REGULAR.size)) / np.sqrt(2 * _REGULAR.size)
_LARGEST: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Profile:
    """A function on the grid, whose parameters have their initial values. Each part is found when it is first asked for."""

    function: Activation

    @functools.cached_property
    def value(self) -> Array:
        """The value at each point of the grid."""
        return self._on_grid(self.function.graph)

    @functools.cached_property
    def slope(self) -> Array:
        """The derivative at each point of the grid, for statistics and neighbours that stay as they are."""
        return self._on_grid(self.function.slope)

    @functools.cached_property
    def cost(self) -> int:
        """Operations for an element of value and derivative together, as `codegen.cost` counts them."""
        return _price(self.function.graph, self.function.slope)

    def objection(self, max_cost: int) -> str | None:
        """Why the function is not worth training, or None. The derivative is looked at last, for it takes longest to find."""
        if _price(self.function.graph) > max_cost:
            return "too expensive"
        reason = _growth(self.value)
        if reason is not None:
            return reason
        y = self.value[CENTRE]
        centred = y - y.mean()
        deviation = float(np.sqrt(centred @ centred / len(y)))
        if deviation <= STRAIGHT * max(float(np.abs(y).max()), STRAIGHT):
            return "constant"
        line = (_ABSCISSAE @ centred / (_ABSCISSAE @ _ABSCISSAE)) * _ABSCISSAE
        if float(np.abs(centred - line).max()) <= STRAIGHT * deviation:
            return "linear"
        if self.cost > max_cost:
            return "too expensive"
        return _growth(self.slope) or (None if self.slope[CENTRE].any() else "no gradient")

    @functools.cached_property
    def fingerprints(self) -> tuple[int, int]:
        """Two numbers of a finite function. Functions that are equal up to rounding share one of them at least, others none.

        Value and derivative, with large values compressed, are projected on fixed directions and rounded to `TOLERANCE`: once down,
        and once to the nearest. What a function has besides x counts too: with parameters, statistics or shifts, its value for
        other parameters on another tensor.
        """
        function = self.function
        seen = [self.value, self.slope]
        if function.parameters or not is_pointwise(function.graph):
            seen.append(np.nan_to_num(self._on_grid(function.graph, moved=True)))
        features = np.arcsinh(np.concatenate([v[_REGULAR] for v in seen]))
        projected = _DIRECTIONS[:, : features.size] @ features / TOLERANCE
        per_channel = sum(p.per_channel for p in function.parameters)
        kind = len(function.parameters) - per_channel, per_channel, len(seen)
        return _digest(kind, np.floor(projected)), _digest(kind, np.floor(projected + 0.5))

    def _on_grid(self, root: Node, moved: bool = False) -> Array:
        """A graph's values, in the grid's order; `moved`: for other values of x and of the parameters."""
        inputs: dict[str, Array | float] = {"x": 0.8 * _X + 0.5 if moved else _X}
        for parameter in self.function.parameters:
            value = 1.25 * parameter.initial + 0.1 if moved else parameter.initial
            inputs[parameter.name] = np.full((1, SHAPE[1]), value) if parameter.per_channel else value
        tensor = np.empty(SHAPE)
        tensor[...] = evaluate([root], inputs)[0]
        return tensor.ravel()[_BACK]


def _growth(values: Array) -> str | None:
    """The objection to a value or derivative that is not finite in float32, or grows too fast."""
    largest = float(np.abs(values).max())
    if not largest < _LARGEST:
        return "not finite"
    return "grows too fast" if largest > STEEPEST else None


def _price(*roots: Node) -> int:
    counted = cost(roots)
    return counted.flops + TRANSCENDENTAL * counted.transcendental


def _digest(kind: tuple[int, ...], cell: Array) -> int:
    """64 bits, the same in every process; signed, as databases have them."""
    return int.from_bytes(hashlib.blake2b(np.array([*kind, *cell], "<i8").tobytes(), digest_size=8).digest(), "little", signed=True)


def profile_of(function: Activation) -> Profile:
    """The profile of a function."""
    return Profile(function)


def profile(text: str) -> Profile:
    """The profile of a program."""
    return profile_of(program(text))
