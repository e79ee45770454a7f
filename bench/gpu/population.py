"""The cases of `python -m bench.gpu` for many candidates at once: kernels of groups, and training steps."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from triton import knobs

from bench.gpu.measure import Case, Timed
from bench.gpu.model import group_clocks, group_work, seconds, step_seconds, step_work
from bench.gpu.shares import step_shares
from bench.programs import random_programs
from codegen.function import Activation
from gp.lab import batched, trainer
from gp.lab.data import instances
from gp.lab.network import SMALL, Architecture
from gp.lab.problems import Problems, problems
from gp.lab.protocol import measurement
from gp.lab.stack import Stack
from gp.lab.training import Training
from gp.workers import cores
from grammar import catalog
from kernels.ahead import compilers
from kernels.gpus import Gpu
from kernels.group_compiler import compile_stage, group_tile
from kernels.grouping import form_groups
from kernels.population import Population, direction
from kernels.programs import SLOPE, program
from kernels.triton_compiler import TARGETS

# Half of the candidates are these, the others random programs of 2 to 8 operators, as a search has them in its first generations.
_CATALOGUE: Final = (
    "gelu", "relu", "silu", "mish", "tanh", "softplus", "selu", "lisht", "gelusine", "gmtu", "sigmoid", "softsign", "hardswish",
    "gaussian", "logish", "tanhexp",
)  # fmt: skip
_SEED: Final = 4
_ROUNDS: Final = 3  # of what takes a second
_AGREEMENT_STEPS: Final = 50


def texts(count: int) -> list[str]:
    """So many functions of x alone, catalogue and random ones in turn; after 32 the random ones again, with other constants."""
    found: list[str] = []
    while len(found) < count:
        drawn = random_programs(len(_CATALOGUE), 2, 8, seed=_SEED, constants=len(found))
        for name, text in zip(_CATALOGUE, drawn, strict=True):
            found += [catalog.entry(name).text, text]
    return found[:count]


@functools.cache
def candidates(count: int) -> tuple[Activation, ...]:
    """The programs of those texts."""
    return tuple(map(program, texts(count)))


def distinct(count: int) -> list[str]:
    """One text for each structure among so many candidates."""
    return list({f.key: text for f, text in zip(candidates(count), texts(count), strict=True)}.values())


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the cases are run with: by default what the lab trains at standard fidelity, the most important numbers first."""

    candidates: tuple[int, ...] = (256, 64, 1024, 16)
    problems: int = 84
    architecture: Architecture = SMALL
    training: Training = measurement("standard").training
    agreeing: int = 8
    groups: tuple[int, ...] = (32, 16, 8, 64)
    members: int = 64
    slices: int = 2688  # 32 candidates of 84 networks
    rows: int = 64
    channels: int = 32

    def tasks(self) -> Problems:
        """The networks' problems: the search set's, as many as wanted, with as many seeds as are needed."""
        found = instances("search")
        seeds = -(-self.problems // len(found))
        return problems(found[: self.problems], tuple(range(seeds)), self.architecture)


def group_cases(sizes: Sizes, device: torch.device) -> Iterator[Case]:
    """Each way on a stack of slices of so many members, in groups of several sizes, against a kernel for each candidate."""
    functions = candidates(sizes.members)
    shape = (sizes.slices, sizes.rows, sizes.channels)
    for size in sizes.groups:
        what = f"{sizes.members} expressions on {sizes.slices:,} x {sizes.rows} x {sizes.channels}, in groups of {size}"
        for way in (0, 1):
            name = f"{what}, {('forward (value and slope)', 'backward')[way]}"
            predict = functools.partial(_predict_groups, functions, shape, way, size)
            contenders = functools.partial(_each_way, functions, shape, way, size, device)
            yield Case("decisions", name, kind=f"groups, {('forward', 'backward')[way]}", predict=predict, contenders=contenders)


def _predict_groups(functions: Sequence[Activation], shape: tuple[int, int, int], way: int, size: int, gpu: Gpu) -> float:
    slices, rows, channels = shape
    kernels = -(-len(functions) // size)
    return seconds(gpu, group_work(slices * rows * channels, group_clocks(functions, gpu), kernels)[way])


def _each_way(
    functions: Sequence[Activation], shape: tuple[int, int, int], way: int, size: int, device: torch.device
) -> Mapping[str, Timed]:
    each = shape[0] // len(functions)
    x = torch.randn(each * len(functions), *shape[1:], device=device)
    values, slope = torch.empty_like(x), torch.empty_like(x)

    def parts(members: int) -> list[tuple[Population, slice]]:
        begins = range(0, len(functions), members)
        return [(Population(functions[k : k + members], each, device), slice(k * each, (k + members) * each)) for k in begins]

    together, alone = parts(size), parts(1)
    if device.type == "cuda":
        compilers(cores()).compile(job for made, _ in (*together, *alone) for job in made.jobs(*shape[1:]))

    def run(found: Sequence[tuple[Population, slice]]) -> None:
        for made, at in found:
            if way == 0:
                made.forward(x[at], values[at], slope[at])
            else:
                made.backward(slope[at], x[at], values[at])

    return {"groups": Timed(lambda: run(together)), "a kernel for each candidate": Timed(lambda: run(alone))}


def compile_cases(sizes: Sizes, target: str) -> Iterator[Case]:
    """What a group takes to compile in one process, with an empty cache. Nothing is predicted."""
    for count in sizes.groups:
        what = f"compiling a group of {count} for {target}, one process"
        contenders = functools.partial(_compiled, candidates(count), target)
        yield Case("decisions", what, "s/expression", kind="compiling", contenders=contenders, how="whole", rounds=1)


def _compiled(functions: Sequence[Activation], target: str) -> Mapping[str, Timed]:
    structures = list({f.key: f for f in functions}.values())
    stage = direction(structures, SLOPE, interpret=False).kernels[-1].stage
    tile = group_tile(stage, TARGETS[target].warp_size, channels=32)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder, knobs.cache.scope():
            knobs.cache.dir = folder
            compile_stage(stage, target, tile)

    return {"compile": Timed(run, len(structures))}


def training_cases(sizes: Sizes, device: torch.device) -> Iterator[Case]:
    """Whether losses are those of the CPU's compiled trainer, training steps of many candidates, and the CPU's."""
    what = f"losses of {sizes.agreeing} candidates after {_AGREEMENT_STEPS} steps against the CPU trainer"
    yield Case("population", what, "relative", kind="agreement", figures=functools.partial(agreement, sizes, device))
    for k, count in enumerate(sizes.candidates):
        what = f"{count} candidates, {sizes.problems} networks each, as a CUDA graph"
        rates = {"candidates/s": count / sizes.training.steps, "steps/s": 1.0}
        yield Case(
            "population", what, "s/step", "training step", functools.partial(_predict_step, sizes, count),
            functools.partial(_steps, sizes, count, k == 0, device), rates=rates, how="whole", rounds=_ROUNDS,
        )  # fmt: skip
    each = {f"candidates/s on {cores()} cores, if all are as fast": float(cores())}
    what, contenders = "compiled CPU trainer, a candidate on one core", functools.partial(_on_cpu, sizes)
    yield Case("population", what, "s/candidate", "CPU", contenders=contenders, rates=each, how="whole", rounds=_ROUNDS)


def share_cases(sizes: Sizes, device: torch.device) -> Iterator[Case]:
    """Where the time of a step goes. To be the last thing that is done with a GPU: profilers have brought processes down."""
    count = sizes.candidates[0]
    what = f"shares of a step of {count} candidates"
    yield Case("population", what, "share", "shares", figures=lambda: step_shares(_stack(sizes, count, device)))


def _predict_step(sizes: Sizes, count: int, gpu: Gpu) -> float:
    functions, inputs = candidates(count), max(i.inputs for i in instances("search")[: sizes.problems])
    clocks, groups = group_clocks(functions, gpu), len(form_groups(functions))
    work = step_work(sizes.architecture, inputs, sizes.training.batch, count * sizes.problems, sizes.problems, clocks, groups)
    return step_seconds(gpu, work)


def _stack(sizes: Sizes, count: int, device: torch.device) -> Stack:
    functions, tasks = candidates(count), sizes.tasks()
    groups = [[functions[k] for k in group] for group in form_groups(functions)]
    stack = Stack(groups, tasks.problems, tasks.architecture, sizes.training, device)
    if device.type == "cuda":
        compilers(cores()).compile(stack.jobs())
    return stack


def _steps(sizes: Sizes, count: int, launched: bool, device: torch.device) -> Mapping[str, Timed]:
    """Steps of a graph that is there, and whole trainings, which capture it; `launched`: also without one."""
    stack, steps = _stack(sizes, count, device), sizes.training.steps
    ready: list[Callable[[], object]] = []

    def replayed() -> None:
        if not ready:
            stack.reset()
            ready.append(batched.captured_step(stack))
        stack.reset()
        for _ in range(steps):
            ready[0]()

    def one_by_one() -> None:
        stack.reset()
        for _ in range(steps):
            stack.step()

    def training() -> None:
        stack.reset()
        batched.run_steps(stack)

    def timed(run: Callable[[], None]) -> Timed:
        def exact() -> None:
            with batched.exact_products():
                run()

        return Timed(exact, steps)

    found = {"graph": timed(replayed), "whole training": timed(training)}
    return found | ({"launched one by one": timed(one_by_one)} if launched else {})


def _on_cpu(sizes: Sizes) -> Mapping[str, Timed]:
    made = trainer.Trainer(candidates(1)[0], sizes.tasks(), sizes.training)
    return {"compiled": Timed(made.train)}


def agreement(sizes: Sizes, device: torch.device) -> Mapping[str, float]:
    """The largest relative difference of a network's losses, among those that neither diverged; and the networks that one alone lost."""
    functions, tasks = candidates(sizes.agreeing), sizes.tasks()
    short = dataclasses.replace(sizes.training, steps=min(_AGREEMENT_STEPS, sizes.training.steps))
    there = batched.train(functions, tasks, short, device)
    here = [trainer.train(function, tasks, short) for function in functions]
    pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(there, here, strict=True) for name in ("inside", "outside")]
    one, other = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
    both = np.isfinite(one) & np.isfinite(other)
    distances = np.abs(one - other)[both] / np.maximum(np.abs(other)[both], np.finfo(np.float32).tiny)
    differing = float(np.sum(np.isfinite(one) != np.isfinite(other)))
    return {
        "largest difference": float(np.max(distances, initial=0.0)),
        "median difference": float(np.median(distances)) if distances.size else 0.0,
        "diverged on one side alone": differing,
    }
