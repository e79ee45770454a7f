"""The trainers of the lab's figures as a pytest-benchmark suite, and the proof that they train alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.batched_torch import BatchedTorch
from bench.functions import TRAINED, Contest
from bench.lab import contenders, one_core, plain_loop, standard_problems
from gp.lab.trainer import train
from kernels.programs import program

each_function = pytest.mark.parametrize("contest", TRAINED, ids=lambda contest: contest.name)


@pytest.fixture(autouse=True)
def _one_core() -> Iterator[None]:
    with one_core():
        yield


@each_function
def test_batched_torch_agrees(contest: Contest) -> None:
    """Losses after 100 steps are within 1e-3, for nearly all networks: rounding differs, and some trainings amplify that."""
    tasks, training = standard_problems()
    training = replace(training, steps=100)
    ours, theirs = train(program(contest.text), tasks, training), BatchedTorch(tasks, training).train(contest.eager)
    for a, b in ((ours.inside, theirs.inside), (ours.outside, theirs.outside)):
        assert np.mean(np.abs(a / b - 1) < 1e-3) > 0.95


@pytest.mark.parametrize("trainer", ["ours", "batched"])
@each_function
def test_standard(benchmark: BenchmarkFixture, contest: Contest, trainer: str) -> None:
    """All networks of a candidate at standard fidelity; ours is compiled beforehand."""
    benchmark.group = f"standard, {contest.name}"
    tasks, training = standard_problems()
    work = contenders(contest, tasks, training, BatchedTorch(tasks, training))[trainer]
    benchmark.pedantic(work.run, (None,), rounds=3, warmup_rounds=1)


@each_function
def test_plain_loop(benchmark: BenchmarkFixture, contest: Contest) -> None:
    """Four of the 84 networks at standard fidelity, one after another."""
    benchmark.group = f"standard, {contest.name}, four networks"
    benchmark.pedantic(plain_loop(contest, *standard_problems()).run, (None,), rounds=3, warmup_rounds=1)
