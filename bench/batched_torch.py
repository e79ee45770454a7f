"""The lab's training as a torch user would write it fast: all networks in one stack, a batched product a layer, plain autograd.

It does what `gp.lab.trainer` does, with the same problems, initial weights, batches and schedule, and serves as its alternative.
Networks share nothing: the loss is the sum of their losses, so a network's gradient is that of its own. One with fewer inputs than
the widest has zeros in their place, with zero weights, which keep zero gradients. All float32, Adam in torch's fused form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gp.lab.eager import Network
from gp.lab.problems import Points, Problems
from gp.lab.trainer import Losses
from gp.lab.training import Training

Function = Callable[[Tensor], Tensor]


class BatchedTorch:
    """Problems as stacks of tensors, laid out beforehand so that training finds its batches contiguous. All must be of one size."""

    def __init__(self, problems: Problems, training: Training) -> None:
        """Raises ValueError where data sets differ in size, or for a loss other than the squared error."""
        if training.loss != "squared" or len({kind[1:] for kind in problems.kinds}) != 1:
            raise ValueError("stacked networks need data sets of one size, and the squared error")
        found = problems.problems
        width = max(kind[0] for kind in problems.kinds)
        size, count = training.batches(problems.kinds[0][1])
        x, y = _stack([p.train for p in found], width)
        self._batches = [(x[:, at : at + size].contiguous(), y[:, at : at + size].contiguous()) for at in range(0, size * count, size)]
        self._inside, self._outside = _stack([p.inside for p in found], width), _stack([p.outside for p in found], width)
        parts = zip(*(_layers(Network(p, problems.architecture, torch.nn.Identity), width) for p in found), strict=True)
        self._initial = [torch.stack(layer) for layer in parts]
        self._training = training

    def train(self, function: Function) -> Losses:
        """Train every network from its initial weights and measure it; a network that diverges goes on to the end, with NaN."""
        training = self._training
        weights = [w.clone().requires_grad_() for w in self._initial]
        optimizer = torch.optim.Adam(weights, lr=training.learning_rate, betas=training.betas, eps=training.epsilon, fused=True)
        for step in range(training.steps):
            x, y = self._batches[step % len(self._batches)]
            optimizer.zero_grad()
            loss = (_predict(function, weights, x) - y).square().mean(dim=(1, 2)).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.param_groups[0]["lr"] = training.rate(step)
            optimizer.step()
        inside, outside = (_errors(function, weights, *points) for points in (self._inside, self._outside))
        return Losses(inside, outside, np.full(len(self._initial[0]), training.steps))


def _stack(points: Sequence[Points], width: int) -> tuple[Tensor, Tensor]:
    """x (networks, count, width), with columns of zeros where a network has fewer inputs, and y (networks, count, outputs)."""
    x = np.stack([np.pad(p.x, ((0, 0), (0, width - p.x.shape[1]))) for p in points])
    return torch.from_numpy(x), torch.from_numpy(np.stack([p.y for p in points]))


def _layers(network: Network, width: int) -> list[Tensor]:
    """Weights (inputs, outputs) and biases (1, outputs) of each layer in turn, with rows of zeros for inputs that are not there."""
    layers: list[Tensor] = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        rows = 0 if layers else width - len(weight)
        layers += [torch.nn.functional.pad(weight.detach(), (0, 0, 0, rows)), bias.detach()[None]]
    return layers


def _predict(function: Function, weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """The networks' outputs (networks, count, outputs) at x (networks, count, inputs)."""
    for k in range(0, len(weights) - 2, 2):
        x = function(torch.baddbmm(weights[k + 1], x, weights[k]))
    return torch.baddbmm(weights[-1], x, weights[-2])


@torch.no_grad()
def _errors(function: Function, weights: Sequence[Tensor], x: Tensor, y: Tensor) -> NDArray[np.float64]:
    """The mean squared error of each network."""
    errors: NDArray[np.float64] = (_predict(function, weights, x) - y).double().square().mean(dim=(1, 2)).numpy()
    return errors
