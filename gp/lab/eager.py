"""The same training in plain torch operations, a network at a time: what the compiled trainer must agree with.

It serves `backend="eager"`, on machines for which no kernels can be compiled, and users who want to see for themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gp.lab.network import Architecture
from gp.lab.problems import Points, Problem, Problems
from gp.lab.trainer import Losses
from gp.lab.training import Loss, Training
from kernels.module import activation

_LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": functional.mse_loss, "absolute": functional.l1_loss, "huber": functional.huber_loss
}  # fmt: skip


class Network(nn.Module):
    """A multilayer perceptron with a problem's initial weights, and an activation of its own after each hidden layer."""

    def __init__(self, problem: Problem, architecture: Architecture, make_activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        at = 0
        for fan_in, fan_out in architecture.layers(problem.train.x.shape[1]):
            middle, end = at + fan_in * fan_out, at + (fan_in + 1) * fan_out
            self.weights.append(nn.Parameter(torch.tensor(problem.weights[at:middle]).reshape(fan_in, fan_out)))
            self.biases.append(nn.Parameter(torch.tensor(problem.weights[middle:end])))
            at = end
        self.activations = nn.ModuleList(make_activation() for _ in architecture.hidden)
        self(torch.from_numpy(problem.train.x[:1]))  # parameters per channel learn their size

    def forward(self, x: Tensor) -> Tensor:
        for weight, bias, function in zip(self.weights, self.biases, self.activations, strict=False):
            x = function(torch.addmm(bias, x, weight))
        return torch.addmm(self.biases[-1], x, self.weights[-1])


def train_network(
    problem: Problem, architecture: Architecture, make_activation: Callable[[], nn.Module], training: Training
) -> tuple[float, float, int]:
    """The errors in and out of distribution, NaN where training diverged, and the steps made."""
    network = Network(problem, architecture, make_activation)
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate, betas=training.betas, eps=training.epsilon)
    x, y = torch.from_numpy(problem.train.x), torch.from_numpy(problem.train.y)
    size, batches = training.batches(len(x))
    measure = _LOSSES[training.loss]
    for step in range(training.steps):
        batch = slice(step % batches * size, (step % batches + 1) * size)
        loss = measure(network(x[batch]), y[batch])
        if not torch.isfinite(loss):
            return math.nan, math.nan, step
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = training.rate(step)
        optimizer.step()
    with torch.no_grad():
        return _error(network, problem.inside), _error(network, problem.outside), training.steps


def _error(network: nn.Module, points: Points) -> float:
    return float((network(torch.from_numpy(points.x)) - torch.from_numpy(points.y)).double().square().mean())


def train(text: str, problems: Problems, training: Training, backend: str = "eager") -> Losses:
    """Train a program's networks as `gp.lab.trainer.train` does, with activations of that backend. Raises DSLError."""
    results: Sequence[tuple[float, float, int]] = [
        train_network(p, problems.architecture, lambda: activation(text, backend=backend), training) for p in problems.problems
    ]
    inside, outside, steps = zip(*results, strict=True)
    return Losses(np.array(inside), np.array(outside), np.array(steps, np.int64))
