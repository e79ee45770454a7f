"""Training a candidate's networks in compiled code, on one core, from the first step to the last.

numba runs what surrounds the products and the kernels; sgemm is that of scipy's BLAS, in one thread.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba.extending import get_cython_function_address
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from codegen.function import Activation
from gp.lab import machine
from gp.lab.assembler import Assembler, Memory, Shared
from gp.lab.problems import Problems
from gp.lab.training import LOSSES, Training

_BLAS_MEMORY: Final = Memory()


@dataclass(frozen=True, slots=True)
class Losses:
    """Of every network: the mean squared errors in and out of distribution (NaN if it diverged), and the steps that it made."""

    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    steps: NDArray[np.int64]


@functools.cache
def blas() -> NDArray[np.int64]:
    """Addresses of sgemm and of the letters and numbers that it is called with."""
    letters = _BLAS_MEMORY.keep(np.frombuffer(b"NT", np.uint8).copy())
    numbers = _BLAS_MEMORY.keep(np.array([1, 0], np.float32))
    sgemm = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
    return np.array([sgemm, letters, letters + 1, numbers, numbers + 4], np.int64)


class Trainer:
    """One candidate's code for the networks of some problems, ready to train as often as is wanted.

    `code` are the instructions of all kinds of networks, and `kinds` say where each kind's are, in the columns of `gp.lab.machine`.
    """

    def __init__(self, function: Activation, problems: Problems, training: Training) -> None:
        self.problems, self.training = problems, training
        self._assembler = Assembler(function, problems.architecture)
        self._learnable = self._assembler.learnable()
        self.kinds, self._buffers = self._assemble()
        self.code = np.array(self._assembler.code, np.int64)

    def _assemble(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of `machine.train` that describe the kinds of networks, and its buffers."""
        memory, architecture = self._assembler.memory, self.problems.architecture
        kinds, training = self.problems.kinds, self.training
        inputs = max(kind[0] for kind in kinds)
        rows = max(training.batches(kind[1])[0] for kind in kinds)
        tests = max(max(kind[2:]) for kind in kinds)
        size = architecture.size(inputs) + len(self._learnable)
        vectors = [memory.floats(size) for _ in range(4)]
        shared = Shared(vectors[0], vectors[1], memory.floats(1))
        x, y = memory.floats(rows * inputs), memory.floats(rows * architecture.outputs)
        test_x, prediction = memory.floats(tests * inputs), memory.floats(tests * architecture.outputs)
        table = []
        for inputs, points, inside, outside in kinds:
            batch, batches = training.batches(points)
            code = [
                *self._assembler.step(inputs, batch, shared, x, y, LOSSES[training.loss]),
                *self._assembler.prediction(inputs, inside, shared, test_x, prediction),
                *self._assembler.prediction(inputs, outside, shared, test_x, prediction),
            ]
            table.append([inputs, batch, batches, *code, inside, outside, architecture.size(inputs)])
        return np.array(table, np.int64), np.array([x, y, *vectors, shared.report, test_x, prediction], np.int64)

    def train(self) -> Losses:
        """Train every network from its initial weights and measure it; the same every time."""
        problems, training = self.problems, self.training
        losses = np.empty((len(problems.problems), 2))
        done = np.zeros(len(problems.problems), np.int64)
        adam = np.array([*training.betas, training.epsilon])
        outputs = problems.architecture.outputs
        with one_thread():
            machine.train(
                self.code, self.kinds, problems.places, problems.points, problems.weights, self._learnable, training.rates(), adam,
                self._buffers, blas(), outputs, losses, done,
            )  # fmt: skip
        return Losses(losses[:, 0], losses[:, 1], done)


@functools.cache
def _thread_pools() -> ThreadpoolController:
    blas()  # a pool is known once its library is loaded
    return ThreadpoolController()


def one_thread() -> Any:
    """A context in which BLAS uses one thread."""
    return _thread_pools().limit(limits=1, user_api="blas")


def train(function: Activation, problems: Problems, training: Training) -> Losses:
    """Train a candidate's networks. Raises MemoryError where there is no room for the activation's buffers."""
    return Trainer(function, problems, training).train()
