"""The networks of many candidates as stacks of tensors, and a training step of all of them.

Candidates are outermost, then problems: each candidate's networks follow one another, and so do those of a group of candidates, whose
activations are one kernel. A network with fewer inputs than the widest has zeros in their place, with zero weights, which keep zero
gradients. A batch is common to all candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from codegen.function import Activation
from gp.lab.network import Architecture
from gp.lab.problems import Points, Problem
from gp.lab.training import Loss, Training
from kernels.ahead import Job
from kernels.population import Population


def _huber(d: Tensor) -> tuple[Tensor, Tensor]:
    near = d.clamp(-1, 1)
    return near * (d - 0.5 * near), near


# What is averaged, and its derivative, at the difference of prediction and target (`gp.lab.training.LOSSES`).
_LOSSES: Final[dict[Loss, Callable[[Tensor], tuple[Tensor, Tensor]]]] = {
    "squared": lambda d: (d.square(), 2 * d), "absolute": lambda d: (d.abs(), d.sign()), "huber": _huber
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Part:
    """The candidates of a group: their kernels, their networks, and by hidden layer the learnable parameters of these."""

    population: Population
    networks: slice
    scalars: tuple[Tensor | None, ...]
    channels: tuple[Tensor | None, ...]

    def forward(self, layer: int, x: Tensor, values: Tensor, slope: Tensor) -> Tensor:
        """The activation after a hidden layer; see `Population.forward`."""
        at = self.networks
        return self.population.forward(x[at], values[at], slope[at], self.scalars[layer], self.channels[layer])

    def backward(self, layer: int, kept: Tensor, cotangent: Tensor, gradient: Tensor) -> None:
        """The gradient with respect to the layer's sums; those of the parameters are left with them."""
        at, parameters = self.networks, (self.scalars[layer], self.channels[layer])
        found = self.population.backward(kept, cotangent[at], gradient[at], *parameters)
        for parameter, value in zip(parameters, found, strict=True):
            if parameter is not None:
                parameter.grad = value


class Stack:
    """Networks of some candidates for some problems, which must be equal in their numbers of points. All tensors are on one device."""

    def __init__(
        self,
        groups: Sequence[Sequence[Activation]],
        problems: Sequence[Problem],
        architecture: Architecture,
        training: Training,
        device: torch.device,
    ) -> None:
        """`groups`: the candidates, those with a common kernel together."""
        self.training, self.device = training, device
        self._problems = problems
        self._candidates = sum(map(len, groups))
        self._width = max(p.train.x.shape[1] for p in problems)
        size, self._batches = training.batches(len(problems[0].train.x))
        points = self._points([p.train for p in problems], size * self._batches)
        self._x, self._y = (t.reshape(len(problems), self._batches, size, -1) for t in points)
        self._layers = self._initial_layers(architecture)
        self._parts = self._made_parts(groups, architecture.hidden)
        learnable = [t for part in self._parts for t in (*part.scalars, *part.channels) if t is not None]
        self._parameters = [*(t for layer in self._layers for t in layer), *learnable]
        self._initial = [t.clone() for t in self._parameters]
        self._rates = torch.from_numpy(training.rates()).to(device)
        self._rate = torch.zeros((), device=device)
        self._step = torch.zeros(1, dtype=torch.int64, device=device)  # the number of the step, which a graph cannot be told
        networks = self._candidates * len(problems)
        self.alive = torch.ones(networks, dtype=torch.bool, device=device)
        self.steps = torch.zeros(networks, dtype=torch.int64, device=device)
        self._optimizer = torch.optim.Adam(
            self._parameters, lr=self._rate, betas=training.betas, eps=training.epsilon, fused=True, capturable=device.type == "cuda"
        )

    def jobs(self, *rows: int) -> list[Job]:
        """What compiles the kernels for batches, and for so many points, ahead of their launches; for a GPU."""
        widths = {weight.shape[2] for weight, _ in self._layers[:-1]}
        shapes = [(count, width) for count in (self._x.shape[2], *rows) for width in widths]
        return [job for part in self._parts for shape in shapes for job in part.population.jobs(*shape)]

    def reset(self) -> None:
        """Go back to the initial weights, before the first step."""
        with torch.no_grad():
            for parameter, initial in zip(self._parameters, self._initial, strict=True):
                parameter.copy_(initial)
        for state in self._optimizer.state.values():
            for tensor in state.values():
                tensor.zero_()
        self.alive.fill_(True)
        self.steps.zero_()
        self._step.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """One step of all networks: forward, loss, backward, Adam. It may be captured as a CUDA graph."""
        batch = torch.remainder(self._step, self._batches)
        x = self._for_all(self._x.index_select(1, batch).squeeze(1))
        y = self._y.index_select(1, batch).squeeze(1)
        inputs, kept = self._forward(x)
        delta = self._loss(inputs.pop(), y)
        for k, (weight, bias) in reversed(list(enumerate(self._layers))):
            weight.grad = torch.bmm(inputs[k].transpose(1, 2), delta)
            bias.grad = delta.sum(1, keepdim=True)
            if k:
                cotangent = torch.bmm(delta, weight.transpose(1, 2))
                delta = torch.empty_like(cotangent)
                for part, saved in zip(self._parts, kept[k - 1], strict=True):
                    part.backward(k - 1, saved, cotangent, delta)
        self._rate.copy_(self._rates.index_select(0, self._step).squeeze(0))
        self._optimizer.step()
        self._step += 1

    @torch.no_grad()
    def errors(self, points: Sequence[Points]) -> Tensor:
        """The mean squared error of each network at its problem's points, float64 (candidates, problems)."""
        x, y = self._points(points, len(points[0].x))
        prediction = self._forward(self._for_all(x))[0][-1]
        return (self._by_candidate(prediction) - y).double().square().mean((2, 3))

    def _forward(self, x: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """What goes into each layer and comes out of the last one, and what each hidden layer's activations keep, part by part."""
        inputs, kept = [x], []
        for k, (weight, bias) in enumerate(self._layers):
            sums = torch.baddbmm(bias, inputs[-1], weight)
            if k < len(self._layers) - 1:
                values, slope = torch.empty_like(sums), torch.empty_like(sums)
                kept.append([part.forward(k, sums, values, slope) for part in self._parts])
                sums = values
            inputs.append(sums)
        return inputs, kept

    def _loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        """The gradient of each network's mean loss with respect to its predictions; zero from where the loss is not finite any more."""
        difference = self._by_candidate(prediction) - y
        loss, slope = _LOSSES[self.training.loss](difference)
        self.alive &= loss.mean((2, 3)).flatten().isfinite()
        self.steps += self.alive
        slope = slope.flatten(0, 1) / y[0].numel()
        return torch.where(self.alive[:, None, None], slope, 0.0)

    def _for_all(self, x: Tensor) -> Tensor:
        """(problems, rows, inputs) for every candidate: (networks, rows, inputs)."""
        return x.expand(self._candidates, *x.shape).flatten(0, 1)

    def _by_candidate(self, x: Tensor) -> Tensor:
        return x.reshape(self._candidates, len(self._problems), *x.shape[1:])

    def _points(self, points: Sequence[Points], count: int) -> tuple[Tensor, Tensor]:
        """x (problems, count, inputs) and y (problems, count, outputs) of the first `count` points."""
        x = np.stack([np.pad(p.x[:count], ((0, 0), (0, self._width - p.x.shape[1]))) for p in points])
        return torch.from_numpy(x).to(self.device), torch.from_numpy(np.stack([p.y[:count] for p in points])).to(self.device)

    def _initial_layers(self, architecture: Architecture) -> list[tuple[Tensor, Tensor]]:
        """Of each layer, weights (networks, inputs, outputs) and biases (networks, 1, outputs)."""
        found: list[list[tuple[Tensor, Tensor]]] = []
        for problem in self._problems:
            at, layers, inputs = 0, [], problem.train.x.shape[1]
            for k, (fan_in, fan_out) in enumerate(architecture.layers(inputs)):
                middle, end = at + fan_in * fan_out, at + (fan_in + 1) * fan_out
                padding = 0 if k else self._width - inputs
                weight = np.pad(problem.weights[at:middle].reshape(fan_in, fan_out), ((0, padding), (0, 0)))
                layers.append((torch.from_numpy(weight), torch.from_numpy(problem.weights[middle:end].copy())[None]))
                at = end
            found.append(layers)

        def stacked(tensors: Iterable[Tensor]) -> Tensor:
            return torch.stack(list(tensors)).repeat(self._candidates, 1, 1).to(self.device)

        return [(stacked(w for w, _ in same), stacked(b for _, b in same)) for same in zip(*found, strict=True)]

    def _made_parts(self, groups: Sequence[Sequence[Activation]], widths: Sequence[int]) -> list[_Part]:
        parts, begin, each = [], 0, len(self._problems)
        for functions in groups:
            population = Population(functions, each, self.device)
            end = begin + len(functions) * each
            scalars, channels = [], []
            for width in widths:
                scalar = torch.zeros(len(functions), population.scalars)
                channel = torch.zeros(len(functions), population.channels, width)
                for k, function in enumerate(functions):
                    plain, by_channel = ([p.initial for p in function.parameters if p.per_channel is kind] for kind in (False, True))
                    scalar[k, : len(plain)] = torch.tensor(plain)
                    channel[k, : len(by_channel)] = torch.tensor(by_channel)[:, None]
                scalars.append(scalar.repeat_interleave(each, 0).to(self.device) if population.scalars else None)
                channels.append(channel.repeat_interleave(each, 0).to(self.device) if population.channels else None)
            parts.append(_Part(population, slice(begin, end), tuple(scalars), tuple(channels)))
            begin = end
        return parts
