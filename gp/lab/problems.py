"""What networks are trained on: data sets with seeds, each with the network's initial weights, laid out for compiled code.

Problems are the same for every candidate, so what is measured on them can be compared pair by pair.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gp.lab.data import DataError, Instance, make_dataset
from gp.lab.network import Architecture, Vector, initial_weights


@dataclass(frozen=True, slots=True)
class Points:
    """Float32 points x (count, inputs) and targets y (count, outputs)."""

    x: Vector
    y: Vector


@dataclass(frozen=True, slots=True)
class Problem:
    """One network's task: its data set and seed, the points, and the initial weights.

    `constant_error`: the error of predicting the training mean out of distribution; `variance`: that of the targets in
    distribution. What a network's errors are measured against.
    """

    instance: Instance
    seed: int
    train: Points
    inside: Points
    outside: Points
    weights: Vector
    constant_error: float
    variance: float

    @property
    def kind(self) -> tuple[int, int, int, int]:
        """Inputs, and the sizes of the three sets: networks of a kind share their code."""
        return self.train.x.shape[1], len(self.train.x), len(self.inside.x), len(self.outside.x)


@functools.lru_cache(maxsize=4096)
def problem(instance: Instance, seed: int, architecture: Architecture, standardise: bool) -> Problem:
    """The problem of a data set and a seed. Raises DataError where the data cannot be used."""
    data = make_dataset(instance, seed, standardise)
    if np.ptp(data.inside.y) == 0:
        raise DataError(f"{instance.name}: the target is the same at all id points, so that no fit can be measured there")
    mean = float(data.train.y.mean())
    return Problem(
        instance,
        seed,
        _points(data.train.x, data.train.y),
        _points(data.inside.x, data.inside.y),
        _points(data.outside.x, data.outside.y),
        weights=initial_weights(instance.name, seed, instance.inputs, architecture),
        constant_error=float(np.square(data.outside.y - mean).mean()),
        variance=float(data.inside.y.var()),
    )


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> Points:
    return Points(np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y[:, None], np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Problems:
    """Problems as flat arrays: `points` holds every x and y, `weights` every initial vector, `places` where each problem's begin.

    `kinds` are the different kinds, `places[:, 0]` says which one a problem is; the columns are those of `gp.lab.machine`.
    """

    problems: tuple[Problem, ...]
    architecture: Architecture
    kinds: tuple[tuple[int, int, int, int], ...]
    places: NDArray[np.int64]
    points: Vector
    weights: Vector


@functools.lru_cache(maxsize=32)
def problems(instances: Sequence[Instance], seeds: Sequence[int], architecture: Architecture, standardise: bool = True) -> Problems:
    """The problems of all data sets for each seed, seeds outermost."""
    return arranged(tuple(problem(i, seed, architecture, standardise) for seed in seeds for i in instances), architecture)


def arranged(found: tuple[Problem, ...], architecture: Architecture) -> Problems:
    """Problems as flat arrays."""
    kinds = tuple(dict.fromkeys(p.kind for p in found))
    places, parts, at, weights_at = [], [], 0, 0
    for p in found:
        row = [kinds.index(p.kind)]
        for split in (p.train, p.inside, p.outside):
            for array in (split.x, split.y):
                row.append(at)
                parts.append(array.ravel())
                at += array.size
        places.append([*row, weights_at])
        weights_at += p.weights.size
    weights = np.concatenate([p.weights for p in found])
    return Problems(found, architecture, kinds, np.array(places, np.int64), np.concatenate(parts), weights)
