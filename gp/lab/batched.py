"""Training many candidates' networks at once on a GPU, with the same interface and the same numbers as `gp.lab.trainer`.

The matrix products of a layer are one `torch.baddbmm` for all networks, the activations one kernel for each group of candidates
(`kernels.population`), the optimiser is torch's fused Adam. Nothing in a step waits for a number to come back to Python, and on a GPU
the whole step is one CUDA graph. A network that diverges is masked from then on and harms no other.

On the CPU the kernels run in Triton's interpreter: for tests, some milliseconds for each network and step.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import torch

from codegen.function import Activation
from gp.lab.problems import Problems
from gp.lab.stack import Stack
from gp.lab.trainer import Losses
from gp.lab.training import Training
from gp.workers import cores
from kernels.ahead import compilers
from kernels.grouping import form_groups

WARM_UP: Final = 3  # steps before a capture, in which libraries set up what a graph cannot record


class BatchedTrainer:
    """Several candidates' networks for some problems on one device, ready to train as often as is wanted."""

    def __init__(self, functions: Sequence[Activation], problems: Problems, training: Training, device: torch.device | str) -> None:
        """Raises torch.OutOfMemoryError where the device has no room."""
        self._problems, self._training = problems, training
        self._groups = form_groups(functions)
        groups = [[functions[k] for k in group] for group in self._groups]
        # Problems of one size are one stack; the lab's own all are.
        self._sizes: dict[tuple[int, ...], list[int]] = {}
        for k, problem in enumerate(problems.problems):
            self._sizes.setdefault(problem.kind[1:], []).append(k)
        self._stacks = [
            Stack(groups, [problems.problems[k] for k in found], problems.architecture, training, torch.device(device))
            for found in self._sizes.values()
        ]
        if torch.device(device).type == "cuda":
            sizes = [(stack, found[0]) for stack, found in zip(self._stacks, self._sizes.values(), strict=True)]
            jobs = [job for stack, k in sizes for job in stack.jobs(*problems.problems[k].kind[2:])]
            compilers(max(1, cores() // torch.cuda.device_count())).compile(jobs)

    def train(self) -> list[Losses]:
        """Train every network from its initial weights and measure it; one result for each candidate, in their order."""
        candidates = sum(map(len, self._groups))
        shape = (candidates, len(self._problems.problems))
        inside, outside, steps = np.empty(shape), np.empty(shape), np.empty(shape, np.int64)
        order = [k for group in self._groups for k in group]
        for stack, found in zip(self._stacks, self._sizes.values(), strict=True):
            tasks = [self._problems.problems[k] for k in found]
            stack.reset()
            with exact_products():
                run_steps(stack)
                errors = [stack.errors([getattr(p, name) for p in tasks]) for name in ("inside", "outside")]
            alive = stack.alive.reshape(errors[0].shape)
            place = np.ix_(order, found)
            inside[place], outside[place] = (torch.where(alive, e, torch.nan).cpu().numpy() for e in errors)
            steps[place] = stack.steps.reshape(alive.shape).cpu().numpy()
        return [Losses(inside[k], outside[k], steps[k]) for k in range(candidates)]


def run_steps(stack: Stack) -> None:
    """All steps of the training: on a GPU, one is captured as a graph that is then replayed."""
    if stack.device.type != "cuda" or stack.training.steps <= WARM_UP:
        for _ in range(stack.training.steps):
            stack.step()
        return
    step = captured_step(stack)
    for _ in range(stack.training.steps - WARM_UP):
        step()


def captured_step(stack: Stack) -> Callable[[], object]:
    """What makes a step of a stack: on a GPU a CUDA graph, before which `WARM_UP` steps are made and count."""
    if stack.device.type != "cuda":
        return stack.step
    with torch.cuda.device(stack.device):
        side = _side_stream(torch.cuda.current_device())
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                stack.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            stack.step()  # capturing runs nothing
    return graph.replay


@functools.cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """The stream of warm-ups on a device: one for all trainings, since cuBLAS keeps a workspace for each stream that it has seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """A context in which matrix products of float32 are not rounded to TensorFloat-32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def train(functions: Sequence[Activation], problems: Problems, training: Training, device: torch.device | str) -> list[Losses]:
    """Train the networks of several candidates at once; `gp.lab.trainer.train` for a device."""
    return BatchedTrainer(functions, problems, training, device).train()
