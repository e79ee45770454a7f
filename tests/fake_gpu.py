"""In place of a GPU: a trainer with the numbers of the compiled one, for which there is no room, or no kernel; a pool without processes."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import torch

from codegen.function import Activation
from gp.lab.chunks import measure_chunk
from gp.lab.data import instance
from gp.lab.measure import SeedResult, measure_seed
from gp.lab.network import Architecture
from gp.lab.pool import GpuPool, Pool
from gp.lab.problems import Problems
from gp.lab.protocol import Measurement
from gp.lab.trainer import Losses, Trainer
from gp.lab.training import Training
from gp.workers import Failure, Job, Workers
from kernels.programs import program

TWO = (instance("polynomial-down-1-3"), instance("harmonic-cap-2-1"))  # of one and of three inputs
TINY = Measurement(TWO, (0, 1), Training(4, 1e-2, batch=8), architecture=Architecture((4, 3)))
TEXTS = ("tanh(x)", "x*sigmoid(x)", "relu(x)", "sin(x)", "x*sigmoid(2*x)", "x - mean(x)", "exp(-x*x)")
TASKS = tuple((text, 0) for text in TEXTS)


class Fake:
    """In place of `BatchedTrainer`: the numbers of the compiled trainer, no room for more than `most` candidates at once or for the one
    called `huge`, no kernel for the one called `bad`, and a note of how many there were each time."""

    most = 10**9
    huge = bad = "none"
    sizes: ClassVar[list[int]] = []
    failed: ClassVar[weakref.WeakSet[Fake]] = weakref.WeakSet()

    def __init__(self, functions: Sequence[Activation], networks: Problems, training: Training, device: str) -> None:
        assert not self.failed, "one that had not enough memory still has it"
        self.sizes.append(len(functions))
        keys = {function.key for function in functions}
        if key(self.huge) in keys:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        if key(self.bad) in keys:
            raise CompilationError("at 3:14: no such operation")
        self._trainers = [Trainer(function, networks, training) for function in functions]

    def train(self) -> list[Losses]:
        if len(self._trainers) > self.most:
            self.failed.add(self)
            self.circle = self  # as of errors that torch keeps, with their frames, when it imports something
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return [trainer.train() for trainer in self._trainers]


class CompilationError(Exception):
    """As Triton's."""


def key(text: str) -> str:
    return text if text == "none" else program(text).key


class Here(Workers):
    """Instead of a process for each GPU: jobs in this one, and noted."""

    def __init__(self, gpus: int = 1) -> None:
        super().__init__(gpus)
        self.chunks: list[tuple[tuple[str, int], ...]] = []

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Any]]:
        for number, job in enumerate(jobs):
            tasks, packed = job.arguments
            self.chunks.append(tasks)
            try:
                answer: Any = measure_chunk(tasks, packed, "cpu")
            except CompilationError as error:
                answer = Failure(f"CompilationError: {error}")
            yield number, answer


class HerePool(GpuPool):
    def __init__(self, gpus: int = 1) -> None:
        super().__init__([f"cuda:{k}" for k in range(gpus)])
        self.here = self.workers = Here(gpus)


def expected(tasks: Sequence[tuple[str, int]], what: Measurement = TINY) -> list[Any]:
    return timeless([measure_seed(text, what, seed) for text, seed in tasks])


def in_order(pool: Pool, tasks: Sequence[tuple[str, int]], what: Measurement = TINY) -> list[Any]:
    found = list(pool.measure(tasks, what))
    assert sorted(k for k, _ in found) == list(range(len(tasks)))
    return timeless([result for _, result in sorted(found, key=lambda pair: pair[0])])


def timeless(results: Sequence[Any]) -> list[Any]:
    return [dataclasses.replace(r, seconds=0, compiled=0) if isinstance(r, SeedResult) else r for r in results]
