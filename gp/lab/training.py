"""Training of many small networks at once: one stack of weights, one batched product a layer, the activation's kernel inside.

Every network is a multilayer perceptron with two hidden layers of 32 and a scalar output, and has a data set of its own. Networks
share nothing: the loss is the sum of their losses, so a network's gradient holds its own loss alone, and one that diverges harms
no other. A network with fewer inputs than the widest has zeros in their place, with zero weights, which keep zero gradients.

Adam with betas (0.9, 0.99); the learning rate warms up linearly over 5% of the steps, then falls to zero along a cosine; batches
of 64 are contiguous slices of the (already random) training points; the loss is the mean squared error; all float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gp.lab.polynomials import Dataset, Instance, Split, make_dataset

HIDDEN = 32
BATCH = 64
BETAS = (0.9, 0.99)
WARM_UP = 0.05  # of all steps


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast: steps, and the learning rate at its highest."""

    steps: int
    learning_rate: float

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        warm_up = max(1, round(WARM_UP * self.steps))
        if step < warm_up:
            return self.learning_rate * (step + 1) / warm_up
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (self.steps - warm_up)))


@dataclass(frozen=True, slots=True)
class Points:
    """Standardised points of all networks: x (networks, count, inputs) and y (networks, count, 1), float32."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, slots=True)
class Stack:
    """Networks to train. `weights`: weight (networks, inputs, outputs) and bias (networks, 1, outputs) of each layer in turn."""

    instances: tuple[Instance, ...]
    train: Points
    inside: Points
    outside: Points
    weights: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean squared errors after training, (networks,) each; infinite or NaN where a network diverged."""

    inside: Tensor
    outside: Tensor


def make_stack(instances: Sequence[Instance], seeds: Sequence[int]) -> Stack:
    """One network for every instance and seed, seeds outermost. Data and weights are the same for the same arguments."""
    pairs = [(instance, seed) for seed in seeds for instance in instances]
    data = [make_dataset(instance, seed) for instance, seed in pairs]
    width = max(instance.variables for instance in instances)
    weights = [_initial_weights(instance, seed, width) for instance, seed in pairs]
    train, inside, outside = (_points(data, name, width) for name in ("train", "inside", "outside"))
    stacked = tuple(torch.stack(layer) for layer in zip(*weights, strict=True))
    return Stack(tuple(instance for instance, _ in pairs), train, inside, outside, stacked)


def _points(data: Sequence[Dataset], name: str, width: int) -> Points:
    splits: list[Split] = [getattr(d, name) for d in data]
    x = np.stack([np.pad(s.x, ((0, 0), (0, width - s.x.shape[1]))) for s in splits])
    y = np.stack([s.y[:, None] for s in splits])
    return Points(torch.from_numpy(x).float(), torch.from_numpy(y).float())


def _initial_weights(instance: Instance, seed: int, width: int) -> list[Tensor]:
    """torch.nn.Linear's default: weights and biases U(-1, 1)/sqrt(fan-in), with the actual number of inputs."""
    rng = np.random.default_rng([*instance.name.encode(), seed])
    layers: list[Tensor] = []
    for inputs, outputs in ((instance.variables, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1)):
        bound = 1 / math.sqrt(inputs)
        weight, bias = rng.uniform(-bound, bound, (inputs, outputs)), rng.uniform(-bound, bound, (1, outputs))
        if not layers:
            weight = np.pad(weight, ((0, width - inputs), (0, 0)))
        layers += [torch.from_numpy(weight).float(), torch.from_numpy(bias).float()]
    return layers


def predict(activation: Callable[[Tensor], Tensor], weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """The networks' outputs (networks, count, 1) at x (networks, count, inputs)."""
    w1, b1, w2, b2, w3, b3 = weights
    hidden = activation(torch.baddbmm(b1, x, w1))
    hidden = activation(torch.baddbmm(b2, hidden, w2))
    return torch.baddbmm(b3, hidden, w3)


def train(activation: Callable[[Tensor], Tensor], stack: Stack, schedule: Schedule) -> Losses:
    """Train every network of the stack from its initial weights (which stay as they are) and return the losses."""
    weights = [w.clone().requires_grad_() for w in stack.weights]
    optimizer = torch.optim.Adam(weights, lr=schedule.learning_rate, betas=BETAS, fused=True)
    slices = stack.train.x.shape[1] // BATCH
    for step in range(schedule.steps):
        batch = slice(step % slices * BATCH, (step % slices + 1) * BATCH)
        error = predict(activation, weights, stack.train.x[:, batch]) - stack.train.y[:, batch]
        optimizer.zero_grad()
        error.square().mean(dim=(1, 2)).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = schedule.rate(step)
        optimizer.step()
    with torch.no_grad():
        errors = [predict(activation, weights, points.x) - points.y for points in (stack.inside, stack.outside)]
        return Losses(*(e.square().mean(dim=(1, 2)) for e in errors))
