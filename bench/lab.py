"""The lab's figures that are measured in this process: the compiled trainer against torch, and against what it is made of.

Everything runs on one core, and the contenders take turns. Data sets, weights and tensors are ready before a clock starts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from bench import lab_processes
from bench.batched_torch import BatchedTorch
from bench.functions import TRAINED, Contest
from bench.measure import Row, Target, milliseconds
from gp.lab import eager, machine, trainer
from gp.lab.network import Architecture
from gp.lab.problems import Problems, problems
from gp.lab.protocol import measurement
from gp.lab.trainer import Trainer
from gp.lab.training import Training
from gp.timing import Spread, Work, interleaved, ratio
from kernels.programs import program

_AGAINST_BATCHED: Final = Target(2.5, at_least=True)
_AGAINST_LOOP: Final = Target(25.0, at_least=True)
_OVERHEAD: Final = Target(1.3, at_least=False)
_WIDE: Final = Target(1.5, at_least=True)
_JUDGED: Final = "gelusine"
_LOOP_NETWORKS: Final = 4  # that the plain loop trains; its time is scaled to all of them
_COLD_ROUNDS: Final = 3
_REPEATS: Final = 256  # of an instruction that is timed alone
_PARTS: Final = {machine.GEMM: "products", machine.KERNEL: "kernels", machine.MULTIPLY: "kernels"}


def figures(rounds: int) -> Iterator[Row]:
    """All figures of the lab. Where a round takes seconds, a third of the rounds must do."""
    fewer = max(3, rounds // 3)
    with one_core():
        yield from standard(fewer)
        yield from steps(rounds)
        yield from wide(fewer)
    yield from lab_processes.first_use(fewer)
    yield from lab_processes.new_structures()
    yield from lab_processes.two_workers()
    yield from lab_processes.memory()


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Torch and BLAS use one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def standard_problems() -> tuple[Problems, Training]:
    """The networks of standard fidelity, all seeds, and their training."""
    what = measurement("standard")
    return problems(what.instances, what.seeds, what.architecture), what.training


class Plain(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x)


def contenders(contest: Contest, tasks: Problems, training: Training, stack: BatchedTorch) -> dict[str, Work]:
    """All networks trained by compiled code ("ours") and in a stack ("batched"); nothing is compiled in it."""
    compiled = Trainer(program(contest.text), tasks, training)
    return {"ours": Work(lambda _: compiled.train()), "batched": Work(lambda _: stack.train(contest.eager))}


def plain_loop(contest: Contest, tasks: Problems, training: Training) -> Work:
    """Some of the networks, evenly chosen, trained one after another in plain torch."""
    chosen = tasks.problems[:: len(tasks.problems) // _LOOP_NETWORKS][:_LOOP_NETWORKS]

    def run(_: object) -> None:
        for problem in chosen:
            eager.train_network(problem, tasks.architecture, lambda: Plain(contest.eager), training)

    return Work(run)


def standard(rounds: int) -> Iterator[Row]:
    """Figure 1: a whole candidate at standard fidelity, against the stack of networks and the plain loop over them."""
    tasks, training = standard_problems()
    stack = BatchedTorch(tasks, training)
    scale = len(tasks.problems) / _LOOP_NETWORKS
    loop_name = f"plain loop ({_LOOP_NETWORKS} networks, scaled)"
    cold = [lab_processes.cold("standard", [c.text for c in TRAINED]) for _ in range(_COLD_ROUNDS)]
    for k, contest in enumerate(TRAINED):
        work = {**contenders(contest, tasks, training, stack), "loop": plain_loop(contest, tasks, training)}
        seconds = interleaved(work, rounds)
        seconds["loop"] = [s * scale for s in seconds["loop"]]
        batched, loop = (_AGAINST_BATCHED, _AGAINST_LOOP) if contest.name == _JUDGED else (None, None)
        what = f"standard, {contest.name}"
        yield _against(what, seconds, "batched", "batched torch", batched)
        yield _against(what, seconds, "loop", loop_name, loop)
        # Measured in other processes, so it is not paired: the median of batched torch stands against each.
        new = [parts[k]["all"] for parts in cold]
        unpaired = {"ours": new, "batched": [Spread.of(seconds["batched"]).median] * len(new)}
        yield _against(f"{what}, text to score, compiling", unpaired, "batched", "batched torch", None)


def _against(what: str, seconds: dict[str, list[float]], key: str, name: str, target: Target | None) -> Row:
    ours, theirs = Spread.of(seconds["ours"]).median, Spread.of(seconds[key]).median
    return Row("lab 1", what, milliseconds(ours), f"{name} {milliseconds(theirs)}", ratio(seconds[key], seconds["ours"]), "x", target)


def steps(rounds: int) -> Iterator[Row]:
    """Figure 2: a training step against its own matrix products and activation kernels, each of them alone in a tight loop.

    The step is that of networks with three inputs in their real training, everything included. Its instructions stand alone as they
    are in the code: the same addresses, shapes and sgemm, on what a step left in the buffers. What multiplies the upstream gradient
    by the derivative counts as a kernel, since it is the activation's backward pass. Other instructions are shown, not counted.
    On a machine that is busy with other things the ratio is too high: a training is interrupted, a short loop rarely is.
    """
    what = measurement("standard")
    three = tuple(i for i in what.instances if i.inputs == 3)
    tasks = problems(three, what.seeds[:1], what.architecture)
    for contest in TRAINED[:3]:
        compiled = Trainer(program(contest.text), tasks, what.training)
        training, alone = _alone(compiled, rounds)
        step = [s / len(three) / what.training.steps for s in training]
        own = [a + b for a, b in zip(alone["products"], alone["kernels"], strict=True)]
        parts = ", ".join(f"{name} {milliseconds(Spread.of(values).median)}" for name, values in alone.items())
        target = _OVERHEAD if contest.name == _JUDGED else None
        yield Row("lab 2", f"a step, {contest.name}", milliseconds(Spread.of(step).median), parts, ratio(step, own), "x", target)


def _alone(compiled: Trainer, rounds: int) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds of the whole training, and of a step's instructions each alone, added up by part."""
    code, kind, blas = compiled.code, compiled.kinds[0], trainer.blas()
    begin, end = kind[machine.STEP], kind[machine.STEP_END]
    work = {str(i): _instruction(code, i, (begin, end), blas) for i in range(begin, end)}
    seconds = interleaved({"train": Work(lambda _: compiled.train()), **work}, rounds)
    alone: dict[str, list[float]] = {"products": [0.0] * rounds, "kernels": [0.0] * rounds, "others": [0.0] * rounds}
    for i in range(begin, end):
        part = alone[_PARTS.get(int(code[i, 0]), "others")]
        part[:] = [a + b / _REPEATS for a, b in zip(part, seconds[str(i)], strict=True)]
    return seconds["train"], alone


def _instruction(code: NDArray[np.int64], place: int, step: tuple[int, int], blas: NDArray[np.int64]) -> Work:
    """One instruction many times over, after a whole step that leaves in the buffers what belongs there."""
    repeated = np.tile(code[place], (_REPEATS, 1))
    return Work(lambda _: machine.run(repeated, 0, _REPEATS, blas), lambda: machine.run(code, *step, blas))


def wide(rounds: int) -> Iterator[Row]:
    """Figure 6: two hidden layers of 256, batches of 256, against batched torch."""
    architecture, training = Architecture((256, 256)), Training(40, 2e-3, batch=256)
    tasks = problems(measurement("standard").instances[::5], (0,), architecture)
    stack = BatchedTorch(tasks, training)
    for contest in TRAINED[:3]:
        seconds = interleaved(contenders(contest, tasks, training, stack), rounds)
        ours, theirs = (Spread.of(seconds[key]).median / len(tasks.problems) / training.steps for key in ("ours", "batched"))
        what = f"2 x 256, batch 256, a step, {contest.name}"
        target = _WIDE if contest.name == _JUDGED else None
        shown = f"batched torch {milliseconds(theirs)}"
        yield Row("lab 6", what, milliseconds(ours), shown, ratio(seconds["batched"], seconds["ours"]), "x", target)
