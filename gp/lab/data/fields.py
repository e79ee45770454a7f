"""Vector fields of chaotic flows, each with the paper it comes from.

A field takes states (dimension, points) and its parameters, and gives the derivative with respect to time in the same shape.
"""

from __future__ import annotations

import numpy as np

from gp.lab.data.dataset import Array


def lorenz(state: Array, sigma: float, rho: float, beta: float) -> Array:
    """Lorenz, Journal of the Atmospheric Sciences 20, 1963."""
    x, y, z = state
    return np.stack([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


def roessler(state: Array, a: float, b: float, c: float) -> Array:
    """Roessler, Physics Letters A 57, 1976."""
    x, y, z = state
    return np.stack([-y - z, x + a * y, b + z * (x - c)])


def chen(state: Array, a: float, b: float, c: float) -> Array:
    """Chen and Ueta, International Journal of Bifurcation and Chaos 9, 1999."""
    x, y, z = state
    return np.stack([a * (y - x), (c - a) * x - x * z + c * y, x * y - b * z])


def lu(state: Array, a: float, b: float, c: float) -> Array:
    """Lu and Chen, International Journal of Bifurcation and Chaos 12, 2002."""
    x, y, z = state
    return np.stack([a * (y - x), c * y - x * z, x * y - b * z])


def halvorsen(state: Array, a: float) -> Array:
    """Halvorsen, in Sprott, Chaos and Time-Series Analysis, 2003."""
    x, y, z = state
    return np.stack([-a * x - 4 * y - 4 * z - y**2, -a * y - 4 * z - 4 * x - z**2, -a * z - 4 * x - 4 * y - x**2])


def thomas(state: Array, b: float) -> Array:
    """Thomas, International Journal of Bifurcation and Chaos 9, 1999."""
    x, y, z = state
    return np.stack([np.sin(y) - b * x, np.sin(z) - b * y, np.sin(x) - b * z])


def sprott_b(state: Array) -> Array:
    """Case B of Sprott, Physical Review E 50, 1994."""
    x, y, z = state
    return np.stack([y * z, x - y, 1 - x * y])


def lorenz_84(state: Array, a: float, b: float, f: float, g: float) -> Array:
    """The general circulation of Lorenz, Tellus A 36, 1984."""
    x, y, z = state
    return np.stack([-a * x - y**2 - z**2 + a * f, x * y - b * x * z - y + g, b * x * y + x * z - z])


def rucklidge(state: Array, kappa: float, lambda_: float) -> Array:
    """Double convection: Rucklidge, Journal of Fluid Mechanics 237, 1992."""
    x, y, z = state
    return np.stack([-kappa * x + lambda_ * y - y * z, x, y**2 - z])


def shimizu_morioka(state: Array, a: float, b: float) -> Array:
    """Shimizu and Morioka, Physics Letters A 76, 1980."""
    x, y, z = state
    return np.stack([y, x * (1 - z) - a * y, x**2 - b * z])


def duffing(state: Array, damping: float, force: float, frequency: float) -> Array:
    """x'' = x - x^3 - damping x' + force cos(phase), with two wells: Holmes, Philosophical Transactions A 292, 1979."""
    x, v, phase = state
    return np.stack([v, x - x**3 - damping * v + force * np.cos(phase), np.full_like(x, frequency)])


def van_der_pol(state: Array, damping: float, force: float, frequency: float) -> Array:
    """x'' = damping (1 - x^2) x' - x + force cos(phase): Parlitz and Lauterborn, Physical Review A 36, 1987."""
    x, v, phase = state
    return np.stack([v, damping * (1 - x**2) * v - x + force * np.cos(phase), np.full_like(x, frequency)])


def driven_pendulum(state: Array, damping: float, force: float, frequency: float) -> Array:
    """theta'' = -sin(theta) - damping theta' + force cos(phase): Baker and Gollub, Chaotic Dynamics, 1990."""
    theta, omega, phase = state
    return np.stack([omega, -np.sin(theta) - damping * omega + force * np.cos(phase), np.full_like(theta, frequency)])


def henon_heiles(state: Array) -> Array:
    """Positions x, y and velocities u, v of a star: Henon and Heiles, Astronomical Journal 69, 1964."""
    x, y, u, v = state
    return np.stack([u, v, -x - 2 * x * y, -y - x**2 + y**2])


def double_pendulum(state: Array, m1: float, m2: float, l1: float, l2: float, gravity: float) -> Array:
    """Two point masses (kg) on massless rods (m): angles from the vertical (rad), then angular velocities (rad/s).

    The equations of Lagrange, which are linear in both accelerations, solved for them (Landau and Lifshitz, Mechanics, section 5).
    """
    theta1, theta2, omega1, omega2 = state
    sine, cosine = np.sin(theta1 - theta2), np.cos(theta1 - theta2)
    force1 = -m2 * l2 * omega2**2 * sine - (m1 + m2) * gravity * np.sin(theta1)
    force2 = l1 * omega1**2 * sine - gravity * np.sin(theta2)
    divisor = m1 + m2 * sine**2
    acceleration1 = (force1 - m2 * cosine * force2) / (l1 * divisor)
    acceleration2 = ((m1 + m2) * force2 - cosine * force1) / (l2 * divisor)
    return np.stack([omega1, omega2, acceleration1, acceleration2])
