"""Chaotic maps, and the function that iterates one.

A map takes states (dimension, points) and its parameters, and gives the next states in the same shape. Where a parameter is an
input of the data set it is a coordinate of the state that stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gp.lab.data.dataset import Array

Map = Callable[..., Array]


@dataclass(frozen=True, slots=True)
class Iterate:
    """The function from states (points, dimension) to one coordinate (points,) after some steps of a map."""

    step: Map
    parameters: tuple[float, ...]
    steps: int
    coordinate: int

    @property
    def when(self) -> str:
        """How far ahead, for people."""
        return f"after {self.steps} step{'s' * (self.steps != 1)}"

    def __call__(self, x: Array) -> Array:
        states = x.T
        for _ in range(self.steps):
            states = self.step(states, *self.parameters)
        result: Array = states[self.coordinate]
        return result


def logistic(state: Array) -> Array:
    """State (x, r): May, Nature 261, 1976."""
    x, r = state
    return np.stack([r * x * (1 - x), r])


def cubic(state: Array) -> Array:
    """State (x, r): May, Annals of the New York Academy of Sciences 316, 1979."""
    x, r = state
    return np.stack([r * x - x**3, r])


def ricker(state: Array) -> Array:
    """State (x, r): Ricker, Journal of the Fisheries Research Board of Canada 11, 1954."""
    x, r = state
    return np.stack([x * np.exp(r * (1 - x)), r])


def sine(state: Array) -> Array:
    """State (x, r): Strogatz, Nonlinear Dynamics and Chaos, 1994."""
    x, r = state
    return np.stack([r * np.sin(np.pi * x), r])


def gauss(state: Array, a: float) -> Array:
    """State (x, b), the mouse map: Hilborn, Chaos and Nonlinear Dynamics, 2000."""
    x, b = state
    return np.stack([np.exp(-a * x**2) + b, b])


def henon(state: Array, a: float, b: float) -> Array:
    """Henon, Communications in Mathematical Physics 50, 1976."""
    x, y = state
    return np.stack([1 - a * x**2 + y, b * x])


def lozi(state: Array, a: float, b: float) -> Array:
    """Lozi, Journal de Physique 39, 1978."""
    x, y = state
    return np.stack([1 - a * np.abs(x) + y, b * x])


def ikeda(state: Array, u: float) -> Array:
    """Ikeda, Optics Communications 30, 1979, in the real form of Hammel, Jones and Moloney, 1985."""
    x, y = state
    t = 0.4 - 6 / (1 + x**2 + y**2)
    return np.stack([1 + u * (x * np.cos(t) - y * np.sin(t)), u * (x * np.sin(t) + y * np.cos(t))])


def tinkerbell(state: Array, a: float, b: float, c: float, d: float) -> Array:
    """Nusse and Yorke, Dynamics: Numerical Explorations, 1994."""
    x, y = state
    return np.stack([x**2 - y**2 + a * x + b * y, 2 * x * y + c * x + d * y])


def standard(state: Array, k: float) -> Array:
    """State (theta, p), not taken modulo 2 pi: Chirikov, Physics Reports 52, 1979."""
    theta, p = state
    kicked = p + k * np.sin(theta)
    return np.stack([theta + kicked, kicked])


def duffing_map(state: Array, a: float, b: float) -> Array:
    """Holmes, Philosophical Transactions A 292, 1979."""
    x, y = state
    return np.stack([y, -b * x + a * y - y**3])


def delayed_logistic(state: Array, a: float) -> Array:
    """Aronson, Chory, Hall and McGehee, Communications in Mathematical Physics 83, 1982."""
    x, y = state
    return np.stack([a * x * (1 - y), x])


def burgers(state: Array, nu: float, mu: float) -> Array:
    """Whitehead and Macdonald, Physica D 13, 1984."""
    x, y = state
    return np.stack([(1 - nu) * x - y**2, (1 + mu + x) * y])
