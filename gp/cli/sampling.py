"""An activation as a curve: its value and derivative on a grid of x, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from codegen.function import Activation
from codegen.graph import Node, Reduction, Source, constant, rebuild, topological, with_args
from codegen.numpy import evaluate

Array = NDArray[np.float64]
_SIDE: Final = 64  # of the square of normal numbers that statistics are taken over


@dataclass(frozen=True, slots=True)
class Curve:
    """`x`, and `value` and `slope` there, all of shape (points,). `assumption` says what else went in; it may be empty."""

    x: Array
    value: Array
    slope: Array
    assumption: str


def sample(function: Activation, low: float = -5.0, high: float = 5.0, points: int = 801) -> Curve:
    """The curve with the initial values of the parameters.

    What the function sees besides its own x is held fixed, as in the derivative that `gp show` prints: neighbours are 0, and
    statistics are those of 64 x 64 standard normal numbers.
    """
    parameters = {p.name: p.initial for p in function.parameters}
    roots = [function.graph, function.slope]
    leaves = topological(roots, through_means=False)
    means = [n for n in leaves if isinstance(n.attribute, Reduction)]
    averages = {m: float(v.mean()) for m, v in zip(means, evaluate(means, {"x": _normal(), **parameters}), strict=True)}
    neighbours = any(_is_neighbour(n) for n in leaves)

    def fix(node: Node, args: tuple[Node, ...]) -> Node:
        if node in averages:
            return constant(averages[node])
        return constant(0.0) if _is_neighbour(node) else with_args(node, args) if args else node

    x = np.linspace(low, high, points)
    results = evaluate(rebuild(roots, fix, through_means=False), {"x": x[:, None], **parameters})
    value, slope = (np.broadcast_to(v, (points, 1))[:, 0] for v in results)
    held = ["neighbours at 0"] * neighbours + ["statistics of a standard normal x"] * bool(means)
    return Curve(x, value, np.where(np.isnan(value), np.nan, slope), " and ".join(held))


def _is_neighbour(node: Node) -> bool:
    return isinstance(node.attribute, Source) and node.attribute.name == "x" and node.attribute.shift != 0


def _normal() -> Array:
    """Standard normal numbers, spread evenly (their mean is 0 to rounding) and shuffled the same way each time."""
    levels = special.ndtri((np.arange(_SIDE * _SIDE) + 0.5) / (_SIDE * _SIDE))
    shuffled: Array = np.random.default_rng(0).permutation(levels).reshape(_SIDE, _SIDE)
    return shuffled
