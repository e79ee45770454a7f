"""Spherical harmonics: the real, orthonormal Y_lm on the unit sphere.

    Y_l0  = N_l0 P_l(z)
    Y_lm  = sqrt(2) N_lm P_lm(z) cos(m phi),   m > 0
    Y_l-m = sqrt(2) N_lm P_lm(z) sin(m phi),   m > 0
    N_lm  = sqrt((2l + 1)/(4 pi) (l - m)!/(l + m)!)

P_lm are the associated Legendre functions without the phase (-1)^m of Condon and Shortley; z = cos(theta), theta from the north
pole, phi the azimuth (DLMF 14.30). Points are uniform on a part of the sphere. Variants (training -> out of distribution):

    azimuth  input (theta, phi):  phi in [0, pi] -> [pi, 1.15 pi], all theta
    cap      input (x, y, z):     z in [0, 1] -> [-0.5, 0], all phi
    pole     input (x, y, z):     abs(z) in [0, 0.6] -> [0.6, 0.8], all phi, about both poles

The harmonics for selection are turned, Y_lm(y, z, x): their pole is on the x axis, the parts of the sphere are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import lpmv

from gp.lab.data.dataset import Array, Instance, Raw, SetName, Split
from gp.lab.data.sampling import Box, Range, draw

_AROUND: Final = Range(0.0, 2 * math.pi)
# The range of (z, phi): training, out of distribution. Uniform in z and phi is uniform on the sphere (Archimedes).
REGIONS: Final[dict[str, tuple[Box, Box]]] = {
    "azimuth": ((Range(-1.0, 1.0), Range(0.0, math.pi)), (Range(-1.0, 1.0), Range(math.pi, 1.15 * math.pi))),
    "cap": ((Range(0.0, 1.0), _AROUND), (Range(-0.5, 0.0), _AROUND)),
    "pole": ((Range(-0.6, 0.6), _AROUND), (Range(0.6, 0.8, mirrored=True), _AROUND)),
}
_RANGE_TEXTS: Final = {
    "azimuth": "phi in [0, π] -> [π, 1.15π], all theta",
    "cap": "z in [0, 1] -> [-0.5, 0] on the sphere",
    "pole": "|z| in [0, 0.6] -> [0.6, 0.8] on the sphere",
}
# (l, m) of every instance.
_SEARCH: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "azimuth": ((1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, -3)),
    "cap": ((2, 1), (3, 0)),
    "pole": ((3, 2), (4, 1)),
}
# On the sphere -m is m turned about the z axis, for +-1 an exchange of x and y: (2, -1) in the cap would be an instance of the search.
_VALIDATION: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "azimuth": ((1, -1), (2, -1), (2, -2), (3, -1), (3, -2), (3, 3), (4, 1), (4, -1), (4, 2), (4, -2), (4, 3), (4, -3)),
    "cap": ((2, 0), (2, 2), (2, -2), (3, 1), (3, 2), (3, -2), (3, 3), (3, -3), (4, 0), (4, 1), (4, 2), (4, 3)),
    "pole": ((2, 0), (2, 1), (2, 2), (2, -2), (3, 0), (3, 1), (3, 3), (3, -3), (4, 0), (4, 2), (4, 3), (4, 4)),
}
# Turned, (2, 1), (2, -1), (2, -2) and (3, -2) would be x y, x z, y z and x y z, which are of the other sets.
_TURNED: Final = ((2, 0), (2, 2), (3, 0), (3, 1), (3, -1), (3, 2), (3, 3), (3, -3), (4, -1), (4, 4))
_SELECTION: Final[dict[str, tuple[tuple[int, int], ...]]] = dict.fromkeys(REGIONS, _TURNED)
_SETS: Final = {"search": _SEARCH, "selection": _SELECTION, "validation": _VALIDATION}


@dataclass(frozen=True, slots=True)
class HarmonicSampling:
    """Points on the parts of the sphere that the variant names, and Y_lm there."""

    variant: str
    degree: int
    order: int
    turned: bool

    def __call__(self, rng: np.random.Generator) -> Raw:
        return Raw(*(self.at(*points.T) for points in draw(rng, *REGIONS[self.variant])))

    def at(self, z: Array, phi: Array) -> Split:
        """The inputs and the target at points of the sphere, given by z = cos(theta) and azimuth phi in radians."""
        radius = np.sqrt(1 - z**2)
        x, y = radius * np.cos(phi), radius * np.sin(phi)
        inputs = [np.arccos(z), phi] if self.variant == "azimuth" else [x, y, z]
        height, azimuth = (x, np.arctan2(z, y)) if self.turned else (z, phi)
        return Split(np.stack(inputs, axis=1), spherical_harmonic(self.degree, self.order, height, azimuth))


def spherical_harmonic(degree: int, order: int, z: Array, phi: Array) -> Array:
    """Y_lm (degree l >= 0, order -l <= m <= l; negative: the sine) at z = cos(theta) and azimuth phi in radians."""
    m = abs(order)
    norm = math.sqrt((2 * degree + 1) / (4 * math.pi) * math.factorial(degree - m) / math.factorial(degree + m))
    # scipy's function has the phase of Condon and Shortley, which this takes out again.
    legendre: Array = (-1) ** m * norm * lpmv(m, degree, z)
    if order == 0:
        return legendre
    return math.sqrt(2) * legendre * (np.cos(m * phi) if order > 0 else np.sin(m * phi))


def instances(set_name: SetName) -> tuple[Instance, ...]:
    """The harmonics of a set."""
    turned = set_name == "selection"
    return tuple(_instance(variant, *shape, turned) for variant, orders in _SETS[set_name].items() for shape in orders)


def _instance(variant: str, degree: int, order: int, turned: bool) -> Instance:
    # A hyphen separates the parts of a name, so that -3 is written m3.
    return Instance(
        family="harmonic",
        variant=variant,
        name=f"harmonic-{variant}-{degree}-{'m' if order < 0 else ''}{abs(order)}{'-turned' if turned else ''}",
        input_names=("theta", "phi") if variant == "azimuth" else ("x", "y", "z"),
        formula=f"real orthonormal Y(l={degree}, m={order}){' of (y, z, x)' if turned else ''}",
        ranges=_RANGE_TEXTS[variant],
        points=HarmonicSampling(variant, degree, order, turned),
    )
