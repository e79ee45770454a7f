"""The compiled trainer against plain torch, network by network, and against itself."""

from __future__ import annotations

import ctypes
import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from lab_programs import PROGRAMS
from numpy.typing import NDArray
from strategies import programs
from torch.nn import functional

from gp.lab import assembler, eager, machine, trainer
from gp.lab.data import Instance, instance, instances
from gp.lab.network import SMALL, Architecture, initial_weights
from gp.lab.problems import Points, Problem, Problems, arranged, problems
from gp.lab.trainer import Losses, Trainer
from gp.lab.training import Loss, Training
from grammar import catalog, format_program
from grammar.tree import Program
from kernels.llvm_compiler import FAST, THOROUGH
from kernels.module import activation
from kernels.programs import program

EACH_PROGRAM = pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
ARCHITECTURES = [SMALL, Architecture((16, 24, 8)), Architecture((300,)), Architecture((1, 40)), Architecture((20, 20), outputs=3)]
EACH_ARCHITECTURE = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
TWO = (instance("polynomial-down-1-3"), instance("harmonic-cap-2-1"))  # of one and of three inputs
THREE = (*TWO, instance("polynomial-out-2-3"))
TRAINING = Training(steps=100, learning_rate=5e-3)
SHORT = Training(steps=20, learning_rate=5e-3)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def several_outputs(problem: Problem, architecture: Architecture) -> Problem:
    """The problem with as many targets as the architecture has outputs: powers of the one."""
    powers = np.arange(1, architecture.outputs + 1, dtype=np.float32)
    train, inside, outside = (Points(p.x, np.sign(p.y) * np.abs(p.y) ** powers) for p in (problem.train, problem.inside, problem.outside))
    return dataclasses.replace(problem, train=train, inside=inside, outside=outside)


def made(data: tuple[Instance, ...], architecture: Architecture = SMALL, seed: int = 0) -> Problems:
    found = problems(data, (seed,), architecture)
    return found if architecture.outputs == 1 else arranged(tuple(several_outputs(p, architecture) for p in found.problems), architecture)


def compiled(text: str, tasks: Problems, training: Training) -> Losses:
    return trainer.train(program(text), tasks, training)


def furthest(one: Losses, other: Losses) -> float:
    """The largest relative difference of two losses."""
    pairs = ((one.inside, other.inside), (one.outside, other.outside))
    return max(float(np.max(np.abs(a - b) / np.abs(b))) for a, b in pairs)


def assert_same_bits(one: Losses, other: Losses) -> None:
    for a, b in ((one.inside, other.inside), (one.outside, other.outside), (one.steps, other.steps)):
        np.testing.assert_array_equal(a, b)


# Against plain torch: losses after many steps


@EACH_PROGRAM
def test_losses_agree(text: str) -> None:
    tasks = made(TWO)
    found = compiled(text, tasks, TRAINING)
    assert furthest(found, eager.train(text, tasks, TRAINING)) < 1e-4
    assert found.steps.tolist() == [TRAINING.steps] * 2


@EACH_ARCHITECTURE
@pytest.mark.parametrize("name", ["pointwise", "everything"])
def test_losses_agree_for_any_architecture(architecture: Architecture, name: str) -> None:
    tasks = made(TWO, architecture)
    assert furthest(compiled(PROGRAMS[name], tasks, TRAINING), eager.train(PROGRAMS[name], tasks, TRAINING)) < 1e-4


@pytest.mark.parametrize(
    "training",
    [
        Training(60, 5e-3, batch=100),  # five batches, and 12 points that are left over
        Training(30, 5e-3, batch=1000),  # more than there are points
        Training(60, 5e-3, batch=1),
        Training(60, 5e-3, batch=7),
        Training(60, 5e-3, betas=(0.5, 0.999)),
        Training(60, 5e-3, betas=(0.0, 0.9), epsilon=1e-2),
        Training(60, 5e-3, warm_up=0.5),
        Training(60, 5e-3, warm_up=1.0),
        Training(60, 5e-3, loss="absolute"),
        Training(60, 5e-3, loss="huber"),
        Training(1, 5e-3),
        Training(0, 5e-3),
    ],
    ids=lambda t: ", ".join(f"{f.name} {getattr(t, f.name)}" for f in dataclasses.fields(t) if getattr(t, f.name) != f.default),
)
def test_losses_agree_for_any_training(training: Training) -> None:
    text, tasks = PROGRAMS["scalar and channel"], made(TWO)
    assert furthest(compiled(text, tasks, training), eager.train(text, tasks, training)) < 1e-4


def test_losses_agree_for_any_number_of_inputs() -> None:
    by_inputs = {i.inputs: i for i in (*instances("validation"), *instances("search"))}
    tasks = made(tuple(by_inputs[n] for n in range(1, 6)), seed=3)
    assert [p.train.x.shape[1] for p in tasks.problems] == [1, 2, 3, 4, 5]
    assert furthest(compiled("silu(x)", tasks, TRAINING), eager.train("silu(x)", tasks, TRAINING)) < 1e-4


def test_eager_training_is_that_of_torch() -> None:
    """The reference itself, against a loop that shares nothing with it but data, initial weights and learning rates."""
    (task,) = made(TWO[1:]).problems
    layers = [torch.nn.Linear(3, 32), torch.nn.Linear(32, 32), torch.nn.Linear(32, 1)]
    weights = torch.tensor(task.weights)
    for layer in layers:
        size = layer.in_features * layer.out_features
        layer.weight.data = weights[:size].reshape(layer.in_features, layer.out_features).T.clone()
        layer.bias.data = weights[size : size + layer.out_features].clone()
        weights = weights[size + layer.out_features :]
    network = torch.nn.Sequential(layers[0], torch.nn.SiLU(), layers[1], torch.nn.SiLU(), layers[2])
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3, betas=(0.9, 0.99))
    # 5% of 100 steps are 5; then the rate falls to zero along a cosine of 95 steps.
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: (s + 1) / 5 if s < 5 else (1 + math.cos(math.pi * (s - 5) / 95)) / 2)
    x, y = torch.from_numpy(task.train.x), torch.from_numpy(task.train.y)
    for step in range(100):
        rows = slice(step % 8 * 64, step % 8 * 64 + 64)
        optimizer.zero_grad()
        functional.mse_loss(network(x[rows]), y[rows]).backward()
        optimizer.step()
        rate.step()
    with torch.no_grad():
        expected = [float(functional.mse_loss(network(torch.from_numpy(p.x)), torch.from_numpy(p.y))) for p in (task.inside, task.outside)]
    found = eager.train("x*sigmoid(x)", made(TWO[1:]), TRAINING)
    np.testing.assert_allclose([*found.inside, *found.outside], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "other", "training"),
    [
        (PROGRAMS["pointwise"], PROGRAMS["pointwise"], dataclasses.replace(TRAINING, learning_rate=5.01e-3)),
        (PROGRAMS["pointwise"], PROGRAMS["pointwise"], dataclasses.replace(TRAINING, betas=(0.9, 0.991))),
        (PROGRAMS["pointwise"], PROGRAMS["pointwise"], dataclasses.replace(TRAINING, batch=63)),
        ("x*sigmoid(x)", "x*sigmoid(1.001*x)", TRAINING),
        ("silu(x) + 0.1*shift(x, 1)", "silu(x) + 0.1*shift(x, -1)", TRAINING),
        ("param slope[channel] = 0.25; where(x > 0, x, slope*x)", "where(x > 0, x, 0.25*x)", TRAINING),  # a parameter that learns
        ("param s[channel] = 0.5; s*tanh(x)", "param s = 0.5; s*tanh(x)", TRAINING),  # each channel for itself
    ],
)
def test_disagreement_shows(text: str, other: str, training: Training) -> None:
    """Negative control: what is slightly different is further away than is allowed above."""
    tasks = made(TWO)
    assert furthest(compiled(text, tasks, TRAINING), eager.train(other, tasks, training)) > 1e-3


# Against plain torch: one gradient


def gradient(text: str, task: Problem, architecture: Architecture, training: Training) -> NDArray[np.float32]:
    """That of the first step, as the compiled trainer lays it out."""
    made_trainer = Trainer(program(text), arranged((task,), architecture), training)
    made_trainer.train()
    size = architecture.size(task.train.x.shape[1]) + len(made_trainer._learnable)
    address = int(made_trainer._buffers[machine.GRADIENTS])
    return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address)).copy()


def exact_gradient(text: str, task: Problem, architecture: Architecture, training: Training) -> NDArray[np.float64]:
    """The same by torch.autograd in float64."""
    network = eager.Network(task, architecture, lambda: activation(text, backend="eager")).double()
    size = training.batches(len(task.train.x))[0]
    x, y = (torch.from_numpy(a[:size]).double() for a in (task.train.x, task.train.y))
    {"squared": functional.mse_loss, "absolute": functional.l1_loss, "huber": functional.huber_loss}[training.loss](
        network(x), y
    ).backward()
    linear = [p for pair in zip(network.weights, network.biases, strict=True) for p in pair]
    everything = [*linear, *network.activations.parameters()]
    return np.concatenate([np.zeros(p.shape).ravel() if p.grad is None else p.grad.numpy().ravel() for p in everything])


def gradient_error(text: str, other: str, architecture: Architecture = SMALL, loss: Loss = "squared") -> float:
    """The largest difference between the gradients of two texts, one compiled and one exact, relative to the largest entry."""
    training = Training(1, 1e-3, batch=50, loss=loss)
    task = made(TWO[1:], architecture).problems[0]
    found, expected = gradient(text, task, architecture, training), exact_gradient(other, task, architecture, training)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    return float(np.max(np.abs(found - expected)) / (np.max(np.abs(expected)) or 1.0))


@EACH_PROGRAM
def test_gradients_agree(text: str) -> None:
    assert gradient_error(text, text) < 2e-6


@EACH_ARCHITECTURE
@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_gradients_agree_for_any_architecture_and_loss(architecture: Architecture, loss: Loss) -> None:
    assert gradient_error(PROGRAMS["everything"], PROGRAMS["everything"], architecture, loss) < 2e-6


@settings(max_examples=40)
@given(programs())
def test_gradients_of_random_programs_agree(made_program: Program) -> None:
    text = format_program(made_program)
    assert gradient_error(text, text, Architecture((12, 10))) < 1e-5


@pytest.mark.parametrize(("text", "other"), [("silu(x)", "x*sigmoid(1.00003*x)"), ("silu(x) + 1e-4*shift(x, 1)", "silu(x) + 1e-4*x")])
def test_a_wrong_gradient_shows(text: str, other: str) -> None:
    """Negative control."""
    assert gradient_error(text, other) > 4e-6


# Against itself


@pytest.mark.parametrize("name", ["pointwise", "everything"])
def test_the_same_bits_again_and_in_any_order(name: str) -> None:
    text, others, tasks = PROGRAMS[name], ["tanh(x)", PROGRAMS["over batch"]], made(THREE)
    ready = Trainer(program(text), tasks, SHORT)
    first = ready.train()
    assert_same_bits(ready.train(), first)
    for other in others:
        before = compiled(other, tasks, SHORT)
        assert_same_bits(compiled(text, tasks, SHORT), first)
        assert_same_bits(compiled(other, tasks, SHORT), before)
    assert furthest(compiled(text, made(THREE, seed=1), SHORT), first) > 1e-3  # negative control


@pytest.mark.parametrize("name", ["pointwise", "everything"])
def test_a_network_alone_is_the_same_as_among_others(name: str) -> None:
    among = compiled(PROGRAMS[name], made(THREE), SHORT)
    for k, task in enumerate(made(THREE).problems):
        alone = compiled(PROGRAMS[name], arranged((task,), SMALL), SHORT)
        assert (alone.inside[0], alone.outside[0]) == (among.inside[k], among.outside[k])


def poisoned(task: Problem) -> Problem:
    """The problem with a point at infinity in its fourth batch."""
    x = task.train.x.copy()
    x[3 * 64 + 5, 0] = math.inf
    return dataclasses.replace(task, train=Points(x, task.train.y))


@pytest.mark.parametrize("name", ["pointwise", "linear", "channel", "everything"])
def test_a_diverged_network_is_marked_and_harms_no_other(name: str) -> None:
    tasks = made(THREE).problems
    expected = compiled(PROGRAMS[name], made(THREE), SHORT)
    found = compiled(PROGRAMS[name], arranged((tasks[0], poisoned(tasks[1]), *tasks[1:]), SMALL), SHORT)
    assert np.isnan([found.inside[1], found.outside[1]]).all()
    assert found.steps.tolist() == [20, 3, 20, 20]
    others = [0, 2, 3]
    assert_same_bits(Losses(found.inside[others], found.outside[others], found.steps[others]), expected)


@pytest.mark.parametrize(("text", "steps"), [("log(x)", [0, 0, 0]), ("exp(0.5*x^2)", [100, 7, 1])])
def test_networks_that_diverge_by_themselves(text: str, steps: list[int]) -> None:
    """As in plain torch: at once where the function is not defined, and sooner or later where it grows too fast."""
    tasks, training = made(THREE), Training(100, 0.1)
    found, expected = compiled(text, tasks, training), eager.train(text, tasks, training)
    assert found.steps.tolist() == expected.steps.tolist() == steps
    for losses in (found, expected):
        diverged = [count < 100 for count in steps]
        assert np.isnan(losses.inside).tolist() == diverged
        assert np.isnan(losses.outside[diverged]).all()


def test_the_tier_of_the_code_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = made(THREE)
    # Of a structure of their own: code that another test has made thoroughly serves for both.
    texts = ["x*sigmoid(x + 0.123*sin(5*cos(x)))", "param q = 1; param r[channel] = 0.2; q*x*cos(x) + r*std(x) + shift(cos(x*r), 2)"]
    for text in texts:
        found = []
        for tier in (FAST, THOROUGH):
            monkeypatch.setattr(assembler, "THOROUGH", tier)
            ready = Trainer(program(text), tasks, SHORT)
            assert ready._assembler.forward.tier == tier
            found.append(ready.train())
        assert_same_bits(*found)


def test_training_learns() -> None:
    before = compiled("silu(x)", made(THREE), Training(0, 1e-2))
    after = compiled("silu(x)", made(THREE), Training(100, 1e-2))
    assert (after.inside < 0.3 * before.inside).all()


def test_initial_weights_belong_to_data_set_seed_and_architecture() -> None:
    weights = initial_weights("a", 0, 4, SMALL)
    assert weights.dtype == np.float32
    assert len(weights) == SMALL.size(4) == 5 * 32 + 33 * 32 + 33
    for at, end, fan_in in ((0, 5 * 32, 4), (5 * 32, 38 * 32, 32), (38 * 32, 38 * 32 + 33, 32)):
        assert np.abs(weights[at:end]).max() <= 1 / math.sqrt(fan_in)
        assert weights[at:end].std() == pytest.approx(1 / math.sqrt(3 * fan_in), rel=0.2)
    others = [initial_weights(*arguments, SMALL) for arguments in (("b", 0, 4), ("a", 1, 4), ("a", 0, 5))]
    assert not any(np.array_equal(weights[:32], other[:32]) for other in others)


def test_learning_rates_rise_and_then_fall_along_a_cosine() -> None:
    rates = Training(100, 2.0).rates()
    np.testing.assert_allclose(rates[:5], [0.4, 0.8, 1.2, 1.6, 2.0], rtol=1e-6)
    np.testing.assert_allclose(rates[5:], [1 + math.cos(math.pi * k / 95) for k in range(95)], rtol=1e-5)
    assert 0 < rates[-1] < 1e-3


@pytest.mark.parametrize("name", catalog.names())
def test_catalogue(name: str) -> None:
    text, tasks, training = catalog.entry(name).text, made(TWO[1:]), Training(5, 5e-3)
    found, expected = compiled(text, tasks, training), eager.train(text, tasks, training)
    np.testing.assert_allclose([*found.inside, *found.outside], [*expected.inside, *expected.outside], rtol=1e-3)
    assert np.isfinite(found.inside).all()
