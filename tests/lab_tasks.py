"""Small problems for trainers, and how far the losses of two of them are apart."""

from __future__ import annotations

import dataclasses

import numpy as np

from gp.lab.data import instance
from gp.lab.network import Architecture
from gp.lab.problems import Points, Problem, Problems, arranged, problems
from gp.lab.trainer import Losses

SMALL = Architecture((6, 5))
TWO = (instance("polynomial-down-1-3"), instance("harmonic-cap-2-1"))  # of one and of three inputs


def made(architecture: Architecture = SMALL) -> Problems:
    """Problems with few points, since the interpreter takes its time."""
    found = problems(TWO, (0,), architecture).problems
    return arranged(tuple(thinned(p, 7) for p in found), architecture)


def thinned(problem: Problem, every: int) -> Problem:
    parts = {name: getattr(problem, name) for name in ("train", "inside", "outside")}
    return dataclasses.replace(problem, **{name: Points(p.x[::every].copy(), p.y[::every].copy()) for name, p in parts.items()})


def furthest(one: Losses, other: Losses) -> float:
    """The largest relative difference of two losses."""
    pairs = ((one.inside, other.inside), (one.outside, other.outside))
    return max(float(np.max(np.abs(a - b) / np.abs(b))) for a, b in pairs)
