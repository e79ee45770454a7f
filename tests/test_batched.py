"""The batched trainer, its kernels in Triton's interpreter, against the compiled trainer: the same networks, the same losses."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from lab_programs import GROUPS, PROGRAMS
from lab_tasks import SMALL, furthest, made, thinned

from gp.lab import batched, trainer
from gp.lab.network import Architecture
from gp.lab.problems import Points, Problem, Problems, arranged
from gp.lab.stack import Stack
from gp.lab.trainer import Losses
from gp.lab.training import Training
from kernels.programs import program

TRAINING = Training(steps=50, learning_rate=5e-3, batch=8)
SHORT = dataclasses.replace(TRAINING, steps=6)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def doubled(problem: Problem) -> Problem:
    """The problem with a second target, the square of the first."""
    parts = {name: getattr(problem, name) for name in ("train", "inside", "outside")}
    return dataclasses.replace(problem, **{name: Points(p.x, np.hstack([p.y, p.y**2])) for name, p in parts.items()})


def together(texts: list[str], tasks: Problems, training: Training) -> list[Losses]:
    return batched.train([program(text) for text in texts], tasks, training, "cpu")


@pytest.mark.parametrize("name", GROUPS)
def test_losses_agree_after_50_steps(name: str) -> None:
    tasks = made() if name == "pointwise" else arranged(made().problems[1:], SMALL)  # in the interpreter 4 networks take 30 s
    for text, found in zip(GROUPS[name], together(GROUPS[name], tasks, TRAINING), strict=True):
        assert furthest(found, trainer.train(program(text), tasks, TRAINING)) < 1e-4
        assert found.steps.tolist() == [TRAINING.steps] * len(tasks.problems)


def test_everything_agrees() -> None:
    tasks = made()
    (found,) = together([PROGRAMS["everything"]], tasks, SHORT)
    assert furthest(found, trainer.train(program(PROGRAMS["everything"]), tasks, SHORT)) < 1e-4


def test_disagreement_shows() -> None:
    """Negative control: what is slightly different is further away than is allowed above."""
    tasks, (one, other) = made(), GROUPS["pointwise"][1:3]
    (found,) = together([one], tasks, TRAINING)
    assert furthest(found, trainer.train(program(other), tasks, TRAINING)) > 1e-3
    assert furthest(found, trainer.train(program(one), tasks, dataclasses.replace(TRAINING, learning_rate=5.05e-3))) > 1e-4


@pytest.mark.parametrize(
    "training",
    [
        dataclasses.replace(SHORT, loss="absolute"),
        dataclasses.replace(SHORT, loss="huber"),
        dataclasses.replace(SHORT, batch=1000),  # more than there are points
        dataclasses.replace(SHORT, batch=9, betas=(0.5, 0.999), epsilon=1e-3, warm_up=0.5),
        dataclasses.replace(SHORT, steps=0),
    ],
    ids=["absolute", "huber", "one batch", "other constants", "no step"],
)
def test_any_training_agrees(training: Training) -> None:
    tasks, text = made(), PROGRAMS["scalar and channel"]
    (found,) = together([text], tasks, training)
    assert furthest(found, trainer.train(program(text), tasks, training)) < 1e-4


@pytest.mark.parametrize("architecture", [Architecture((4,)), Architecture((1, 5, 3)), Architecture((5, 4), outputs=2)], ids=str)
def test_any_architecture_agrees(architecture: Architecture) -> None:
    tasks = made(architecture)
    if architecture.outputs > 1:
        tasks = arranged(tuple(map(doubled, tasks.problems)), architecture)
    (found,) = together(["silu(x)"], tasks, SHORT)
    assert furthest(found, trainer.train(program("silu(x)"), tasks, SHORT)) < 1e-4


def test_problems_of_several_sizes_agree() -> None:
    one, other = made().problems
    tasks = arranged((one, thinned(other, 2), one), SMALL)
    for text, found in zip(GROUPS["pointwise"], together(GROUPS["pointwise"], tasks, SHORT), strict=True):
        assert furthest(found, trainer.train(program(text), tasks, SHORT)) < 1e-4


def test_candidates_do_not_depend_on_their_company() -> None:
    """In any order and with any others, and again: the same numbers but for the rounding of products of another size."""
    tasks, texts = made(), [*GROUPS["pointwise"], PROGRAMS["scalar"]]
    first = together(texts, tasks, SHORT)
    for found, expected in zip(together(texts[::-1], tasks, SHORT), first[::-1], strict=True):
        assert furthest(found, expected) < 1e-5
    assert furthest(together(texts[:1], tasks, SHORT)[0], first[0]) < 1e-5
    ready = batched.BatchedTrainer([program(t) for t in texts[:2]], tasks, SHORT, "cpu")
    for a, b in zip(ready.train(), ready.train(), strict=True):
        np.testing.assert_array_equal(a.outside, b.outside)


def test_a_diverged_network_is_masked_and_harms_no_other() -> None:
    one, other = made().problems
    x = other.train.x.copy()
    x[3 * 8 + 5, 0] = math.inf  # in the fourth batch
    poisoned = dataclasses.replace(other, train=Points(x, other.train.y))
    texts, tasks = [GROUPS["pointwise"][0], PROGRAMS["over tensor"]], arranged((one, poisoned, other), SMALL)
    expected = together(texts, arranged((one, other), SMALL), SHORT)
    for text, found, clean in zip(texts, together(texts, tasks, SHORT), expected, strict=True):
        alone = trainer.train(program(text), tasks, SHORT)
        assert found.steps.tolist() == alone.steps.tolist() == [6, 3, 6]
        assert np.isnan(found.inside).tolist() == np.isnan(found.outside).tolist() == [False, True, False]
        np.testing.assert_allclose(found.outside[[0, 2]], clean.outside, rtol=1e-5)


def test_initial_weights_are_those_of_the_compiled_trainer() -> None:
    """Before the first step a network predicts what the same weights predict there."""
    tasks = made()
    none = dataclasses.replace(TRAINING, steps=0)
    stack = Stack([[program("relu(x)")]], tasks.problems, SMALL, none, batched.torch.device("cpu"))
    errors = stack.errors([p.outside for p in tasks.problems])[0].numpy()
    np.testing.assert_allclose(errors, trainer.train(program("relu(x)"), tasks, none).outside, rtol=1e-6)
