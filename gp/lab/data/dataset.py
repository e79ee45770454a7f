"""What a data set is: points to learn from, points of the same kind to check the fit, and points outside the training range.

An `Instance` is the recipe, named for good; with a seed it yields a `Dataset`. Recipes draw from the generator they are given and
from nothing else, so the same instance and seed give the same numbers, whatever was made before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SetName = Literal["search", "selection", "validation"]

TRAIN_POINTS: Final = 512
TEST_POINTS: Final = 256  # each of the points in and out of distribution
_LARGEST: Final = 1e15  # standardised: its square is far from the largest float32
SPLITS: Final = ("train", "inside", "outside")
_CACHED: Final = 512  # data sets in memory, about 100 kB each
# What a random stream is for; every stream of the registry is named by its purpose, a seed and an instance.
_POINTS, _CONSTANTS = 0, 1


class DataError(ValueError):
    """A data set that does not exist or cannot be used; the message says what is wrong, where, and what to do."""


@dataclass(frozen=True, slots=True)
class Split:
    """Points x (count, inputs) and the target's values y (count,), float64."""

    x: Array
    y: Array


@dataclass(frozen=True, slots=True)
class Raw:
    """The three sets of points of a data set, in the units of its formula."""

    train: Split
    inside: Split
    outside: Split


@dataclass(frozen=True, slots=True)
class Instance:
    """One data set: what it is called, what it is, and how its points are drawn.

    `family` and `variant` say where it counts in a score; `name` is unique. `input_names`: one for each column of x. `formula` and
    `ranges` (training range -> range out of distribution) are for people. `points` draws the three sets of points with the
    generator it is given; by habit 512 to train and 256 in and out of distribution, but any sizes are allowed.
    """

    family: str
    variant: str
    name: str
    input_names: tuple[str, ...]
    formula: str
    ranges: str
    points: Callable[[np.random.Generator], Raw]

    @property
    def inputs(self) -> int:
        """How many columns x has."""
        return len(self.input_names)

    def __hash__(self) -> int:
        return hash(self.name)  # so that `points` may be anything that can be called


@dataclass(frozen=True, slots=True)
class Dataset:
    """The points of the instance called `name`: standardised (`train`, `inside`, `outside`), and as they were drawn (`raw`).

    A data set is kept in memory and shared, so its arrays are read-only.
    """

    name: str
    train: Split
    inside: Split
    outside: Split
    raw: Raw


@functools.lru_cache(maxsize=_CACHED)
def make_dataset(instance: Instance, seed: int, standardise: bool = True) -> Dataset:
    """The data of an instance for a seed (0 or more).

    Inputs and target are standardised with the mean and the population deviation of the training set; a constant input is only
    shifted. With `standardise=False` all splits are those of `raw`. Raises DataError for points that nothing can be learnt from:
    arrays of the wrong shape, numbers that are not finite, a constant target.
    """
    raw = instance.points(np.random.default_rng([_POINTS, seed, *instance.name.encode()]))
    for split in SPLITS:
        _check(instance, split, getattr(raw, split))
    if (raw.train.y == raw.train.y[0]).all():
        raise DataError(f"{instance.name}: the target is {raw.train.y[0]:g} at every training point; there is nothing to learn")
    if not standardise:
        return Dataset(instance.name, raw.train, raw.inside, raw.outside, raw)
    (x_mean, x_scale), (y_mean, y_scale) = _mean_and_scale(raw.train.x), _mean_and_scale(raw.train.y)

    def standard(split: Split) -> Split:
        with np.errstate(all="ignore"):  # what comes of numbers too large or too small is checked
            result = Split((split.x - x_mean) / x_scale, (split.y - y_mean) / y_scale)
        columns = zip((*instance.input_names, "y"), (*result.x.T, result.y), (*x_scale, y_scale), strict=True)
        for name, values, scale in columns:
            if not (0 < scale < np.inf and (np.abs(values) <= _LARGEST).all()):
                raise DataError(
                    f"{instance.name}: column '{name}' has values too large, too small or too far from those of training for float32; "
                    "scale it, or leave out the rows that are far away"
                )
        _freeze(result)
        return result

    return Dataset(instance.name, standard(raw.train), standard(raw.inside), standard(raw.outside), raw)


def constants_generator(name: str) -> np.random.Generator:
    """The generator of the constants, such as coefficients, that belong to the instance of that name and to no seed."""
    return np.random.default_rng([_CONSTANTS, 0, *name.encode()])


def _mean_and_scale(values: Array) -> tuple[Array, Array]:
    """Mean and population deviation of each column; where a column is constant, 1 instead of its deviation."""
    # A constant column may have a deviation that is rounding noise, so the range decides.
    with np.errstate(all="ignore"):  # of numbers whose squares are none, which is noticed where they are used
        return np.mean(values, axis=0), np.where(np.ptp(values, axis=0) == 0, 1.0, np.std(values, axis=0))


def _check(instance: Instance, name: str, split: Split) -> None:
    """Raise DataError unless the arrays have the promised shapes and are finite; make them read-only."""
    count = len(split.x)
    if split.x.shape != (count, instance.inputs) or split.y.shape != (count,) or not count:
        raise DataError(
            f"{instance.name}: the {name} points have x of shape {split.x.shape} and y of shape {split.y.shape}; "
            f"they must be (count, {instance.inputs}) and (count,), with count at least 1"
        )
    wrong = ~(np.isfinite(split.x).all(axis=1) & np.isfinite(split.y))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{instance.name}: {wrong.sum()} of {count} {name} points are not finite; the first is x = {split.x[row]}, y = {split.y[row]}"
        )
    _freeze(split)


def _freeze(split: Split) -> None:
    split.x.setflags(write=False)
    split.y.setflags(write=False)
