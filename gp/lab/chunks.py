"""Many candidates on one GPU: what a worker process does with a chunk of a measurement, and how it finds out whether its GPU is any good.

Programs with equal seeds are trained together, as many at a time as the GPU has memory for. A program's numbers depend on those beside
it in the last digits alone: in the order in which parts of a sum are added, and in the code of a matrix product.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from codegen.function import Activation
from gp.lab.batched import BatchedTrainer
from gp.lab.data import instances
from gp.lab.measure import SeedResult, by_seed, measure_seed, prepare, unpacked
from gp.lab.problems import Problems, problems
from gp.lab.protocol import Measurement
from gp.lab.training import Training
from gp.workers import Failure
from grammar import DSLError
from kernels.programs import program

Result = SeedResult | Failure
_SHARE: Final = 0.6  # of the free memory that networks may take by the estimate; the rest is for kernels, libraries and fragments
_BROKEN: Final = 78  # exit status of a worker whose GPU does nothing more for it
# A function of x alone, and one with a mean and a parameter: both kinds of kernels. One step more than are taken before a capture.
_CHECKED: Final = ("x*sigmoid(x)", "param a[channel] = 0.5; a*tanh(x) + 0.1*(x - mean(x))")
_CHECK_STEPS: Final = 4
_TOLERANCE: Final = 1e-3  # relative; 4 steps in Triton's interpreter differ from compiled ones by less than 1e-6


def measure_chunk(tasks: Sequence[tuple[str, int]], measurement: bytes, device: str) -> list[Result]:
    """What a worker is asked for: a result for each (program, seed), in their order. `measurement` is pickled.

    The process ends where the GPU's context is lost, as after an illegal access: all calls would fail from then on.
    """
    try:
        return measure_together(tasks, unpacked(measurement), device)
    except RuntimeError:
        if torch.device(device).type == "cuda":
            try:
                torch.cuda.synchronize(device)
            except RuntimeError:
                os._exit(_BROKEN)
        raise


def measure_together(tasks: Sequence[tuple[str, int]], what: Measurement, device: str) -> list[Result]:
    """Train and measure programs, each with a seed: a result for each, in their order; a Failure where there is a mistake in the text,
    or no room for the program alone. Of the seconds in which programs are trained together, each of their results has an equal share.

    Raises DataError for unusable data, and what Triton raises where it cannot compile the kernels of some program.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)  # Triton launches on the current one
    places: dict[str, list[int]] = {}
    for k, (text, _) in enumerate(tasks):
        places.setdefault(text, []).append(k)
    found: dict[int, Result] = {}
    functions: dict[str, Activation] = {}
    by_seeds: dict[tuple[int, ...], list[str]] = {}
    for text, at in places.items():
        try:
            functions[text] = program(text)
        except DSLError as error:
            found |= dict.fromkeys(at, Failure(f"DSLError: {error}"))
        else:
            by_seeds.setdefault(tuple(tasks[k][1] for k in at), []).append(text)
    for seeds, texts in by_seeds.items():
        networks = problems(what.instances, seeds, what.architecture, what.standardise)
        size = most_candidates(networks, what.training, free_memory(device))
        for begin in range(0, len(texts), size):
            part = texts[begin : begin + size]
            results = _train([functions[text] for text in part], networks, what.training, len(seeds), device)
            for text, result in zip(part, results, strict=True):
                each = [result] * len(seeds) if isinstance(result, Failure) else result
                found |= zip(places[text], each, strict=True)
    return [found[k] for k in range(len(tasks))]


def _train(
    functions: Sequence[Activation], networks: Problems, training: Training, seeds: int, device: str
) -> list[list[SeedResult] | Failure]:
    """Of each candidate a result for each seed; in halves, where the GPU has no room for all of them at once."""
    found = _train_at_once(functions, networks, training, seeds, device)
    if found is not None:
        return list(found)
    gc.collect()  # where torch imported something on the way, frames of its errors that know the tensors are in circles
    if len(functions) == 1:
        return [Failure("took more than the memory of the GPU")]
    middle = len(functions) // 2
    return [result for half in (functions[:middle], functions[middle:]) for result in _train(half, networks, training, seeds, device)]


def _train_at_once(
    functions: Sequence[Activation], networks: Problems, training: Training, seeds: int, device: str
) -> list[list[SeedResult]] | None:
    """Of each candidate a result for each seed, or None where there is no room. A function of its own, for what it knows goes with it."""
    try:
        start = time.perf_counter()
        trainer = BatchedTrainer(functions, networks, training, device)
        ready = time.perf_counter()
        losses = trainer.train()
        end = time.perf_counter()
    except torch.OutOfMemoryError:
        return None
    shares = (end - start) / len(functions), (end - ready) / len(functions)
    return [by_seed(each, networks, seeds, *shares) for each in losses]


def free_memory(device: str) -> float:
    """The bytes that are free on a GPU; on the CPU, where kernels are interpreted for tests, there is no bound."""
    if torch.device(device).type != "cuda":
        return math.inf
    torch.cuda.empty_cache()  # what earlier chunks had
    return float(torch.cuda.mem_get_info(device)[0])


def most_candidates(networks: Problems, training: Training, free: float) -> int:
    """How many candidates, each with all these networks, are trained at once where so many bytes are free: at least one."""
    fitting = _SHARE * free / (len(networks.problems) * network_bytes(networks, training))
    return max(1, int(min(fitting, 1e9)))


def network_bytes(networks: Problems, training: Training) -> int:
    """The bytes of a network on the GPU at the most: 4 (5 P + R (i + 3 sum(h) + 3 max(h) + 6 o)).

    P weights and biases, as they are, as they were, with gradient and two moments. R rows, those of a batch or of the largest set of test
    points, of which are kept: i inputs; sums, values and slopes of each hidden layer of width h; in the backward pass three tensors of the
    widest; six of the o outputs. 330 kB for the lab's own. Torch allocates 58% (functions of x alone, small batches) to 99.8% of it.
    """
    architecture = networks.architecture
    inputs = max(kind[0] for kind in networks.kinds)
    rows = max(max(training.batches(kind[1])[0], *kind[2:]) for kind in networks.kinds)
    hidden = 3 * sum(architecture.hidden) + 3 * max(architecture.hidden, default=0)
    return 4 * (5 * architecture.size(inputs) + rows * (inputs + hidden + 6 * architecture.outputs))


def check(device: str) -> str:
    """Train two candidates for four steps on a GPU and by the compiled trainer, and give the name of the GPU.

    Raises ArithmeticError where the losses differ by more than 0.1%, and whatever else is wrong with GPU, driver or compiler.
    """
    prepare()
    what = Measurement(instances("search")[:1], (0,), Training(_CHECK_STEPS, learning_rate=1e-2))
    tasks = [(text, 0) for text in _CHECKED]
    for (text, seed), result in zip(tasks, measure_together(tasks, what, device), strict=True):
        if isinstance(result, Failure):
            raise RuntimeError(result.reason)
        expected = measure_seed(text, what, seed)
        there, here = (np.array([*r.inside, *r.outside]) for r in (result, expected))
        difference = float(np.max(np.abs(there / here - 1)))
        if not difference <= _TOLERANCE:
            raise ArithmeticError(f"losses differ from those of the CPU by a relative {difference:.1e}")
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "Triton's interpreter"
