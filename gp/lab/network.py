"""The networks of the lab: multilayer perceptrons, their initial weights, and where each parameter stands.

All parameters of a network are one vector of float32. First come the layers' weights (inputs x outputs, row by row) and biases in
turn, then the activation's learnable parameters, one set for each hidden layer.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Widths of the hidden layers, from input to output, and the number of outputs. The activation follows each hidden layer."""

    hidden: tuple[int, ...] = (32, 32)
    outputs: int = 1

    def layers(self, inputs: int) -> list[tuple[int, int]]:
        """(inputs, outputs) of every layer."""
        return list(itertools.pairwise((inputs, *self.hidden, self.outputs)))

    def size(self, inputs: int) -> int:
        """The number of weights and biases."""
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in self.layers(inputs))


SMALL: Final = Architecture()  # the lab's own


@functools.lru_cache(maxsize=4096)
def initial_weights(name: str, seed: int, inputs: int, architecture: Architecture) -> Vector:
    """torch.nn.Linear's default: weights and biases U(-1, 1)/sqrt(fan-in), drawn from a generator named by data set and seed."""
    rng = np.random.default_rng([*name.encode(), seed])
    parts = []
    for fan_in, fan_out in architecture.layers(inputs):
        bound = 1 / math.sqrt(fan_in)
        parts += [rng.uniform(-bound, bound, fan_in * fan_out), rng.uniform(-bound, bound, fan_out)]
    weights = np.concatenate(parts).astype(np.float32)
    weights.setflags(write=False)
    return weights
