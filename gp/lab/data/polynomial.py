"""Random polynomials: p(x) = sum over all monomials of total degree <= degree of c_k x^k.

The coefficients c_k ~ N(0, 1) belong to the name of the instance; only the points come from a seed, uniform in a box of n inputs.
Variants (training range -> range out of distribution):

    down       [1, 2]^n  -> [0, 1]^n
    reflected  [0, 1]^n  -> [-0.5, 0]^n
    out        [-1, 1]^n -> +-[1, 1.5]^n, a random sign for each coordinate
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gp.lab.data.dataset import Array, Instance, SetName, constants_generator
from gp.lab.data.sampling import BoxSampling, Range

RANGES: Final[dict[str, tuple[Range, Range]]] = {
    "down": (Range(1.0, 2.0), Range(0.0, 1.0)),
    "reflected": (Range(0.0, 1.0), Range(-0.5, 0.0)),
    "out": (Range(-1.0, 1.0), Range(1.0, 1.5, mirrored=True)),
}  # of every input: training, out of distribution
# (inputs, degree) of every instance.
_SEARCH: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "down": ((1, 3), (1, 5), (2, 3), (2, 4), (3, 3), (4, 2)),
    "reflected": ((1, 3), (2, 3), (3, 3), (2, 4)),
    "out": ((1, 4), (2, 3), (3, 3), (4, 2)),
}
_OTHERS: Final = ((1, 2), (1, 3), (1, 4), (1, 5), (2, 2), (2, 3), (2, 4), (3, 2), (3, 3), (3, 4), (4, 2), (5, 2))  # in each variant


@dataclass(frozen=True, slots=True)
class Polynomial:
    """The polynomial that belongs to a name."""

    name: str
    inputs: int
    degree: int

    def __call__(self, x: Array) -> Array:
        powers = exponents(self.inputs, self.degree)
        table = x[:, :, None] ** np.arange(self.degree + 1)  # (count, inputs, power)
        monomials = np.prod([table[:, k, powers[:, k]] for k in range(self.inputs)], axis=0)
        result: Array = monomials @ constants_generator(self.name).standard_normal(len(powers))
        return result


@functools.cache
def exponents(inputs: int, degree: int) -> NDArray[np.int64]:
    """The exponents (monomials, inputs) of all monomials of total degree <= degree."""
    return np.array([e for e in itertools.product(range(degree + 1), repeat=inputs) if sum(e) <= degree])


def instances(set_name: SetName) -> tuple[Instance, ...]:
    """The polynomials of a set. The coefficients of those for validation are the second draw of each shape, for selection the third."""
    if set_name == "search":
        return tuple(_instance(v, *shape, "") for v, shapes in _SEARCH.items() for shape in shapes)
    draw = "-second" if set_name == "validation" else "-third"
    return tuple(_instance(v, *shape, draw) for v in RANGES for shape in _OTHERS)


def _instance(variant: str, inputs: int, degree: int, suffix: str) -> Instance:
    name = f"polynomial-{variant}-{inputs}-{degree}{suffix}"
    train, outside = RANGES[variant]
    names = tuple(f"x{k + 1}" for k in range(inputs))
    power = f"^{inputs}" if inputs > 1 else ""
    terms = len(exponents(inputs, degree))
    return Instance(
        family="polynomial",
        variant=variant,
        name=name,
        input_names=names,
        formula=f"all {terms} monomials of degree <= {degree} in {', '.join(names)}, coefficients N(0, 1)",
        ranges=f"{train}{power} -> {outside}{power}",
        points=BoxSampling((train,) * inputs, (outside,) * inputs, Polynomial(name, inputs, degree)),
    )
