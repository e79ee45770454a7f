"""An activation as a curve: its value and derivative on a grid of x, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from codegen.build import LearnableParameter
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
    """Value and derivative; see `evaluate_at`. There is no derivative where there is no value."""
    x = np.linspace(low, high, points)
    roots = [function.graph, function.slope]
    value, slope = evaluate_at(x, roots, function.parameters)
    leaves = topological(roots, through_means=False)
    held = ["neighbours at 0"] * any(map(_is_neighbour, leaves)) + ["statistics of a standard normal x"] * any(map(_is_mean, leaves))
    return Curve(x, value, np.where(np.isnan(value), np.nan, slope), " and ".join(held))


def evaluate_at(x: Array, roots: Sequence[Node], parameters: Sequence[LearnableParameter]) -> list[Array]:
    """The roots at points x, with the initial values of the parameters.

    What a function sees besides its own x is held fixed, as in the derivative that `gp show` prints: neighbours are 0, and
    statistics are those of 64 x 64 standard normal numbers.
    """
    initial = {p.name: p.initial for p in parameters}
    means = [n for n in topological(roots, through_means=False) if _is_mean(n)]
    averages = {m: float(v.mean()) for m, v in zip(means, evaluate(means, {"x": _normal(), **initial}), strict=True)}

    def fix(node: Node, args: tuple[Node, ...]) -> Node:
        if node in averages:
            return constant(averages[node])
        return constant(0.0) if _is_neighbour(node) else with_args(node, args) if args else node

    results = evaluate(rebuild(roots, fix, through_means=False), {"x": x[:, None], **initial})
    return [np.broadcast_to(v, (len(x), 1))[:, 0] for v in results]


def _is_mean(node: Node) -> bool:
    return isinstance(node.attribute, Reduction)


def _is_neighbour(node: Node) -> bool:
    return isinstance(node.attribute, Source) and node.attribute.name == "x" and node.attribute.shift != 0


def _normal() -> Array:
    """Standard normal numbers, spread evenly (their mean is 0 to rounding) and shuffled the same way each time."""
    levels = special.ndtri((np.arange(_SIDE * _SIDE) + 0.5) / (_SIDE * _SIDE))
    shuffled: Array = np.random.default_rng(0).permutation(levels).reshape(_SIDE, _SIDE)
    return shuffled
