"""The batched trainer on a card against the compiled trainer of the CPU, networks of the lab's own size."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import pytest
import torch
from gpu_ahead import Group
from gpu_cases import Place
from lab_programs import GROUPS, PROGRAMS
from lab_tasks import furthest, made

from gp.lab import batched, trainer
from gp.lab.data import instances
from gp.lab.network import SMALL
from gp.lab.problems import Points, Problems, arranged, problems
from gp.lab.stack import Stack
from gp.lab.trainer import Losses
from gp.lab.training import Training
from kernels.grouping import form_groups
from kernels.programs import program

ROWS: Final = 64
DIVERGING: Final = ("1e30*x^3", "exp(exp(3*x))")
HARMLESS: Final = (GROUPS["pointwise"][0], PROGRAMS["over tensor"])
WITH: Final = (HARMLESS[0], *DIVERGING, HARMLESS[1])
BESIDE: Final = (HARMLESS[0], *GROUPS["pointwise"][1:3], HARMLESS[1])
MIXED: Final = (*GROUPS["pointwise"], *GROUPS["parametric"], *GROUPS["statistics"])

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def tasks_for(place: Place) -> Problems:
    """Four data sets of a search; in a rehearsal a small one, since the interpreter takes its time."""
    if place.rehearsal:
        return arranged(made().problems[1:], made().architecture)
    return problems(instances("search")[::11], (0,), SMALL)


def training_for(place: Place, steps: int = 50) -> Training:
    return Training(steps=3, learning_rate=5e-3, batch=8) if place.rehearsal else Training(steps, learning_rate=5e-3, batch=ROWS)


def train(texts: tuple[str, ...] | list[str], tasks: Problems, training: Training, place: Place) -> list[Losses]:
    return batched.train([program(text) for text in texts], tasks, training, place.device)


def groups_of(*lists: tuple[str, ...] | list[str]) -> list[Group]:
    """The kernels that candidates have when they are trained together."""
    return [
        (tuple(texts[k] for k in group), ROWS, SMALL.hidden[0]) for texts in lists for group in form_groups([program(t) for t in texts])
    ]


ALL: Final = (*GROUPS.values(), tuple(PROGRAMS.values()))


@pytest.mark.parametrize("texts", ALL, ids=[*GROUPS, "everything"])
@pytest.mark.launches(of=lambda texts: [], groups=lambda: groups_of(*ALL))
def test_losses_agree_after_50_steps(texts: tuple[str, ...], place: Place) -> None:
    tasks, training = tasks_for(place), training_for(place)
    chosen = texts[::6] if place.rehearsal else texts
    for text, found in zip(chosen, train(chosen, tasks, training, place), strict=True):
        assert furthest(found, trainer.train(program(text), tasks, training)) < 1e-4, text
        assert found.steps.tolist() == [training.steps] * len(tasks.problems)


@pytest.mark.launches(of=lambda: [], groups=lambda: groups_of(GROUPS["pointwise"][1:2]))
def test_another_function_or_rate_is_noticed(place: Place) -> None:
    """Negative control: what is slightly different is further away than is allowed above."""
    tasks, training, (one, other) = tasks_for(place), training_for(place), GROUPS["pointwise"][1:3]
    (found,) = train([one], tasks, training, place)
    assert furthest(found, trainer.train(program(other), tasks, training)) > 1e-3
    faster = dataclasses.replace(training, learning_rate=5.1e-3)
    assert furthest(found, trainer.train(program(one), tasks, faster)) > 1e-4


@pytest.mark.parametrize("loss", ["absolute", "huber"])
@pytest.mark.launches(of=lambda loss: [], groups=lambda: groups_of(HARMLESS[:1], HARMLESS))
def test_other_losses_agree(loss: str, place: Place) -> None:
    tasks, training = tasks_for(place), dataclasses.replace(training_for(place, 10), loss=loss)
    (found,) = train(HARMLESS[:1], tasks, training, place)
    assert furthest(found, trainer.train(program(HARMLESS[0]), tasks, training)) < 1e-4


@pytest.mark.launches(of=lambda: [], groups=lambda: [(MIXED, ROWS, SMALL.hidden[0])])
def test_the_graph_of_a_step_does_what_the_step_does(place: Place) -> None:
    """The same bits, of every weight and every error."""
    tasks, training = tasks_for(place), training_for(place)
    texts = MIXED[:1] if place.rehearsal else MIXED
    stack = Stack([[program(text) for text in texts]], tasks.problems, tasks.architecture, training, torch.device(place.device))
    points = [p.outside for p in tasks.problems]

    def results() -> list[torch.Tensor]:
        return [t.clone() for t in (*stack._parameters, stack.errors(points), stack.steps)]

    with batched.exact_products():
        initial = results()
        stack.reset()
        batched.run_steps(stack)
        graphed = results()
        stack.reset()
        assert all(torch.equal(a, b) for a, b in zip(initial, results(), strict=True))
        for _ in range(training.steps):
            stack.step()
        stepped = results()
    for a, b, before in zip(graphed, stepped, initial, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, before)  # negative control: training changes everything


@pytest.mark.launches(of=lambda: [], groups=lambda: groups_of(WITH, BESIDE, HARMLESS))
def test_a_diverging_candidate_harms_no_other(place: Place) -> None:
    tasks, training = tasks_for(place), training_for(place, 20)
    one, *lost, other = train(WITH, tasks, training, place)
    for losses in lost:
        assert np.isnan(losses.inside).all()
        assert np.isnan(losses.outside).all()
        assert (losses.steps < training.steps).all()
    beside = train(BESIDE, tasks, training, place)
    alone = train(HARMLESS, tasks, training, place)
    assert max(furthest(one, beside[0]), furthest(other, beside[-1])) < 1e-6
    # Products of fewer matrices may add up in another order.
    assert max(furthest(one, alone[0]), furthest(other, alone[1])) < 1e-5
    assert furthest(one, other) > 1e-3  # negative control


def test_a_network_that_diverges_later_is_masked(place: Place) -> None:
    """A poisoned point in the fourth batch; the networks beside it, of the same candidates, keep their numbers."""
    tasks = tasks_for(place)
    training = dataclasses.replace(training_for(place, 6), steps=6)
    one, other = tasks.problems[0], tasks.problems[-1]
    x = other.train.x.copy()
    x[3 * training.batch + 5, 0] = math.inf
    poisoned = dataclasses.replace(other, train=Points(x, other.train.y))
    mixed, clean = (arranged((one, third, other), tasks.architecture) for third in (poisoned, one))
    texts = HARMLESS[:1] if place.rehearsal else HARMLESS
    for text, found, wanted in zip(texts, train(texts, mixed, training, place), train(texts, clean, training, place), strict=True):
        on_cpu = trainer.train(program(text), mixed, training)
        assert found.steps.tolist() == on_cpu.steps.tolist() == [6, 3, 6]
        assert np.isnan(found.outside).tolist() == [False, True, False]
        np.testing.assert_allclose(found.outside[[0, 2]], wanted.outside[[0, 2]], rtol=1e-6)
