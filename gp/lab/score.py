"""From losses to one number: how much better than a constant the networks are outside their training range.

For every network s = clip(ln(MSE_ood / MSE_constant + 1e-4), -5, 1), where MSE_constant is the error of predicting the training
mean on the points out of distribution; +2 where it is not finite. So 0 is as bad as a constant, and lower is better. The score
is the mean over variants of the mean over a variant's networks.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from codegen.limits import is_pointwise
from gp.lab.polynomials import INSTANCES, Array
from gp.lab.training import Losses, Points, Schedule, Stack, make_stack, train
from kernels.module import activation

FLOOR: Final = 1e-4
LOWEST: Final = -5.0
HIGHEST: Final = 1.0
NOT_FINITE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Fidelity:
    """A measurement: the instances ("search" or "validation"), the seeds of data and weights, and the training."""

    instances: str
    seeds: tuple[int, ...]
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Score:
    """`score` and its parts by variant. `fit`: the mean of ln(ID MSE / variance), which the gate looks at.

    `ood_loss`: the median over networks of the raw MSE out of distribution, in units of the training target's variance (a mean
    would show the one worst network). `diverged`: how many networks have an error that is not finite.
    """

    score: float
    variants: dict[str, float]
    fit: float
    ood_loss: float
    diverged: int


def evaluate(text: str, fidelity: Fidelity) -> Score:
    """Train networks with the activation that a program text (or a name) means, and score them.

    Networks are stacked along a dimension of one tensor, so the program must be pointwise: raises ValueError for one with
    learnable parameters or statistics, which belong to a network of their own. Raises DSLError for a mistake in the text.
    """
    module = activation(text)
    if not is_pointwise(module.function.structure):
        raise ValueError("only pointwise activations can be evaluated: no parameters, statistics or shifts")
    stack = _stack(fidelity.instances, fidelity.seeds)
    return score(stack, train(module, stack, fidelity.schedule))


@functools.lru_cache(maxsize=8)
def _stack(instances: str, seeds: tuple[int, ...]) -> Stack:
    return make_stack(INSTANCES[instances], seeds)


def score(stack: Stack, losses: Losses) -> Score:
    """The score of trained networks; see the module's docstring."""
    outside, inside = losses.outside.double().numpy(), losses.inside.double().numpy()
    parts = log_ratio(outside, _constant_error(stack.outside))
    fits = log_ratio(inside, _variance(stack.inside), lowest=-math.inf, highest=math.inf)
    names = np.array([instance.variant for instance in stack.instances])
    variants = {str(name): float(parts[names == name].mean()) for name in dict.fromkeys(names)}
    diverged = ~(np.isfinite(outside) & np.isfinite(inside))
    return Score(
        score=float(np.mean(list(variants.values()))),
        variants=variants,
        fit=float(fits.mean()),
        ood_loss=float(np.median(np.where(np.isfinite(outside), outside, np.inf))),
        diverged=int(diverged.sum()),
    )


def log_ratio(error: Array, reference: Array, lowest: float = LOWEST, highest: float = HIGHEST) -> Array:
    """clip(ln(error / reference + 1e-4), lowest, highest), and 2 where the error is not finite."""
    finite = np.isfinite(error)
    ratio = np.log(np.where(finite, error, 0.0) / reference + FLOOR)
    return np.where(finite, np.clip(ratio, lowest, highest), NOT_FINITE)


def _constant_error(points: Points) -> Array:
    """The error of the training mean, which is 0 once the target is standardised."""
    result: Array = points.y.double().square().mean(dim=(1, 2)).numpy()
    return result


def _variance(points: Points) -> Array:
    result: Array = points.y.double().var(dim=(1, 2), correction=0).numpy()
    return result
