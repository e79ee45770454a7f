"""Points in boxes: an interval for each input, one box to train in and another one that lies outside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gp.lab.data.dataset import TEST_POINTS, TRAIN_POINTS, Array, Raw, Split


@dataclass(frozen=True, slots=True)
class Range:
    """The interval [low, high], or with `mirrored` the two intervals +-[low, high]."""

    low: float
    high: float
    mirrored: bool = False

    def sample(self, rng: np.random.Generator, count: int) -> Array:
        """Uniform numbers (count,)."""
        values = rng.uniform(self.low, self.high, count)
        return values * rng.choice((-1.0, 1.0), count) if self.mirrored else values

    def contains(self, values: Array) -> NDArray[np.bool_]:
        """Which of the numbers lie within, ends included."""
        distance = np.abs(values) if self.mirrored else values
        return (distance >= self.low) & (distance <= self.high)

    def __str__(self) -> str:
        return f"{'±' if self.mirrored else ''}[{self.low:.4g}, {self.high:.4g}]"


Box = tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class BoxSampling:
    """Points uniform in a box, and a function's values there: `function` takes (count, inputs) and gives (count,)."""

    train: Box
    outside: Box
    function: Callable[[Array], Array]

    def __call__(self, rng: np.random.Generator) -> Raw:
        return Raw(*(Split(x, self.function(x)) for x in draw(rng, self.train, self.outside)))


def draw(rng: np.random.Generator, train: Box, outside: Box) -> tuple[Array, Array, Array]:
    """Points to train, in and out of distribution: (512, inputs), (256, inputs) and (256, inputs)."""
    sizes = ((train, TRAIN_POINTS), (train, TEST_POINTS), (outside, TEST_POINTS))
    inside_and_out = [np.stack([interval.sample(rng, count) for interval in box], axis=1) for box, count in sizes]
    return inside_and_out[0], inside_and_out[1], inside_and_out[2]


def describe(names: Sequence[str], train: Box, outside: Box) -> str:
    """The ranges for people: inputs with the same ranges together, as in `x, y in [0, 1] -> [1, 2]; r in [1, 5]`."""
    groups: dict[str, list[str]] = {}
    for name, before, after in zip(names, train, outside, strict=True):
        groups.setdefault(str(before) if before == after else f"{before} -> {after}", []).append(name)
    return "; ".join(f"{', '.join(members)} in {interval}" for interval, members in groups.items())
