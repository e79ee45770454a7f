"""How a network is trained: Adam (Kingma and Ba 2015), warm-up and cosine, contiguous batches of points that are in random order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from gp.lab.network import Vector

Loss = Literal["squared", "absolute", "huber"]
# The losses by number, for compiled code: (y - t)^2; |y - t|; (y - t)^2/2 up to |y - t| = 1, |y - t| - 1/2 beyond (Huber 1964).
LOSSES: Final[dict[Loss, int]] = {"squared": 0, "absolute": 1, "huber": 2}


@dataclass(frozen=True, slots=True)
class Training:
    """Steps, the learning rate at its highest, and the constants of optimiser and schedule.

    `warm_up` is the share of the steps in which the rate rises linearly; afterwards it falls to zero along a cosine. A batch is the
    next `batch` training points (all of them, if there are fewer), from the first again when too few are left. `loss` is a mean
    over the batch.
    """

    steps: int
    learning_rate: float
    batch: int = 64
    betas: tuple[float, float] = (0.9, 0.99)
    epsilon: float = 1e-8
    warm_up: float = 0.05
    loss: Loss = "squared"

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        warm_up = max(1, round(self.warm_up * self.steps))
        if step < warm_up:
            return self.learning_rate * (step + 1) / warm_up
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (self.steps - warm_up)))

    def rates(self) -> Vector:
        """The learning rates of all steps."""
        return np.array([self.rate(step) for step in range(self.steps)], np.float32)

    def batches(self, points: int) -> tuple[int, int]:
        """(size, count) of the batches that so many training points are cut into."""
        size = min(self.batch, points)
        return size, points // size
