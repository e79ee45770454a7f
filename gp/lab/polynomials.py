"""Random polynomials: regression tasks whose test points lie outside the range of the training points.

p(x) = sum over all monomials of total degree <= degree of c_k x^k, c_k ~ N(0, 1), fixed for an instance. The points come from a
seed. Variants (training range -> range out of distribution):

    down       [1, 2]^n  -> [0, 1]^n
    reflected  [0, 1]^n  -> [-0.5, 0]^n
    out        [-1, 1]^n -> +-[1, 1.5]^n, a random sign for each coordinate
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Variant = Literal["down", "reflected", "out"]

TRAIN_POINTS: Final = 512
TEST_POINTS: Final = 256  # each of the points in and out of distribution
TRAIN_RANGE: Final[dict[Variant, tuple[float, float]]] = {"down": (1.0, 2.0), "reflected": (0.0, 1.0), "out": (-1.0, 1.0)}
OOD_RANGE: Final[dict[Variant, tuple[float, float]]] = {"down": (0.0, 1.0), "reflected": (-0.5, 0.0), "out": (1.0, 1.5)}
SHAPES: Final[dict[Variant, tuple[tuple[int, int], ...]]] = {
    "down": ((1, 3), (1, 5), (2, 3), (2, 4), (3, 3), (4, 2)),
    "reflected": ((1, 3), (2, 3), (3, 3), (2, 4)),
    "out": ((1, 4), (2, 3), (3, 3), (4, 2)),
}  # (variables, degree) of every instance
_VARIANT_NUMBER: Final[dict[Variant, int]] = {"down": 0, "reflected": 1, "out": 2}  # part of the random streams' names
_COEFFICIENTS, _POINTS = 0, 1  # the purpose of a random stream


@dataclass(frozen=True, slots=True)
class Instance:
    """One polynomial: its variant, its number there (which fixes the coefficients), its variables and degree."""

    variant: Variant
    index: int
    variables: int
    degree: int

    @property
    def name(self) -> str:
        return f"polynomial-{self.variant}-{self.index}"


@dataclass(frozen=True, slots=True)
class Split:
    """Standardised points (count, variables) and values (count,)."""

    x: Array
    y: Array


@dataclass(frozen=True, slots=True)
class Dataset:
    """The three sets of points of an instance, standardised with the mean and deviation of the training set."""

    instance: Instance
    train: Split
    inside: Split
    outside: Split


def _instances(first: int) -> tuple[Instance, ...]:
    return tuple(Instance(v, first + k, n, degree) for v, shapes in SHAPES.items() for k, (n, degree) in enumerate(shapes))


# A search sees the first set alone; the second has the same shapes and other coefficients.
INSTANCES: Final[dict[str, tuple[Instance, ...]]] = {"search": _instances(0), "validation": _instances(1000)}


def exponents(variables: int, degree: int) -> NDArray[np.int64]:
    """The exponents (monomials, variables) of all monomials of total degree <= degree."""
    return np.array([e for e in itertools.product(range(degree + 1), repeat=variables) if sum(e) <= degree])


def polynomial(instance: Instance, x: Array) -> Array:
    """The instance's values (count,) at points (count, variables), not standardised."""
    powers = exponents(instance.variables, instance.degree)
    coefficients = _generator(instance, _COEFFICIENTS).standard_normal(len(powers))
    result: Array = np.prod(x[:, None, :] ** powers, axis=2) @ coefficients
    return result


def points(instance: Instance, seed: int) -> tuple[Array, Array, Array]:
    """Training points, points in and points out of distribution, (count, variables) each, not standardised."""
    rng = _generator(instance, _POINTS, seed)
    n = instance.variables
    low, high = TRAIN_RANGE[instance.variant]
    train, inside = (rng.uniform(low, high, (count, n)) for count in (TRAIN_POINTS, TEST_POINTS))
    low, high = OOD_RANGE[instance.variant]
    outside = rng.uniform(low, high, (TEST_POINTS, n))
    if instance.variant == "out":
        outside *= rng.choice((-1.0, 1.0), outside.shape)
    return train, inside, outside


def make_dataset(instance: Instance, seed: int) -> Dataset:
    """The data of an instance for a seed; the same arguments give the same data."""
    train, inside, outside = points(instance, seed)
    values = polynomial(instance, train)
    x_mean, x_std, y_mean, y_std = train.mean(axis=0), train.std(axis=0), values.mean(), values.std()

    def split(x: Array, y: Array) -> Split:
        return Split((x - x_mean) / x_std, (y - y_mean) / y_std)

    return Dataset(
        instance, split(train, values), split(inside, polynomial(instance, inside)), split(outside, polynomial(instance, outside))
    )


def _generator(instance: Instance, purpose: int, seed: int = 0) -> np.random.Generator:
    return np.random.default_rng([_VARIANT_NUMBER[instance.variant], instance.index, purpose, seed])
