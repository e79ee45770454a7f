"""The lab: data, training against plain torch, scores."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gp.lab import polynomials
from gp.lab.polynomials import INSTANCES, OOD_RANGE, SHAPES, TRAIN_RANGE, Instance, exponents, make_dataset, points, polynomial
from gp.lab.score import Fidelity, evaluate, log_ratio, score
from gp.lab.training import BATCH, BETAS, HIDDEN, Losses, Schedule, make_stack, train
from kernels.module import activation

ALL = [*INSTANCES["search"], *INSTANCES["validation"]]
SHORT = Schedule(50, 1e-2)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As the search does it: on a busy machine two threads wait for each other at every small operation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("instance", ALL, ids=lambda i: i.name)
def test_ranges_are_those_of_the_variant_and_apart(instance: Instance) -> None:
    train_x, inside, outside = points(instance, 3)
    low, high = TRAIN_RANGE[instance.variant]
    for x in (train_x, inside):
        assert x.min() >= low
        assert x.max() <= high
    distance = np.abs(outside) if instance.variant == "out" else outside
    assert distance.min() >= OOD_RANGE[instance.variant][0]
    assert distance.max() <= OOD_RANGE[instance.variant][1]
    # No coordinate of a point out of distribution lies within the training range, so the boxes are disjoint.
    assert not ((outside > low) & (outside < high)).any()
    assert train_x.shape == (polynomials.TRAIN_POINTS, instance.variables)
    assert inside.shape == outside.shape == (polynomials.TEST_POINTS, instance.variables)


def test_out_has_every_sign() -> None:
    instance = next(i for i in INSTANCES["search"] if i.variant == "out" and i.variables == 2)
    assert {tuple(row) for row in np.sign(points(instance, 0)[2])} == {(-1, -1), (-1, 1), (1, -1), (1, 1)}


@given(st.sampled_from(ALL), st.integers(0, 1000))
def test_data_are_standardised_and_belong_to_the_seed(instance: Instance, seed: int) -> None:
    data, again, other = make_dataset(instance, seed), make_dataset(instance, seed), make_dataset(instance, seed + 1)
    np.testing.assert_allclose(data.train.x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.train.x.std(axis=0), 1)
    np.testing.assert_allclose([data.train.y.mean(), data.train.y.std()], [0, 1], atol=1e-12)
    np.testing.assert_array_equal(data.outside.y, again.outside.y)
    assert not np.array_equal(data.train.x, other.train.x)


def test_polynomials_have_all_monomials_and_fixed_coefficients() -> None:
    for shapes in SHAPES.values():
        for variables, degree in shapes:
            assert len(exponents(variables, degree)) == math.comb(variables + degree, degree)
    x = np.linspace(-1, 1, 9)[:, None]
    first, second = (next(i for i in INSTANCES[s] if i.variables == 1) for s in ("search", "validation"))
    fitted = np.polynomial.Polynomial.fit(x[:, 0], polynomial(first, x), first.degree)
    np.testing.assert_allclose(fitted(x[:, 0]), polynomial(first, x), atol=1e-10)
    assert not np.allclose(polynomial(first, x), polynomial(second, x))


def test_search_and_validation_share_nothing() -> None:
    assert len(set(ALL)) == len({i.name for i in ALL}) == 28


class Network(nn.Module):
    """The same network, alone and written plainly."""

    def __init__(self, variables: int, function: nn.Module, weights: list[torch.Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(variables, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)])
        self.function = function
        with torch.no_grad():
            for layer, weight, bias in zip(self.layers, weights[::2], weights[1::2], strict=True):
                layer.weight.copy_(weight[: layer.in_features].T)
                layer.bias.copy_(bias[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.function(self.layers[0](x))
        return self.layers[2](self.function(self.layers[1](x)))


@pytest.mark.parametrize(("text", "plain"), [("tanh(x)", nn.Tanh()), ("x*sigmoid(x)", nn.SiLU())])
def test_training_agrees_with_a_plain_torch_loop(text: str, plain: nn.Module) -> None:
    instances = [INSTANCES["search"][k] for k in (0, 4, 5, 10)]  # 1, 3, 4 and 1 variables
    stack = make_stack(instances, [7])
    losses = train(activation(text), stack, SHORT)
    for k, instance in enumerate(instances):
        n = instance.variables
        network = Network(n, plain, [w[k] for w in stack.weights])
        optimizer = torch.optim.Adam(network.parameters(), lr=SHORT.learning_rate, betas=BETAS)
        # 5% of 50 steps are 2: the rate is a half, then whole, and then falls along a cosine of 48 steps.
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: (s + 1) / 2 if s < 2 else (1 + math.cos(math.pi * (s - 2) / 48)) / 2)
        for step in range(SHORT.steps):
            rows = slice(step % 8 * BATCH, step % 8 * BATCH + BATCH)
            optimizer.zero_grad()
            nn.functional.mse_loss(network(stack.train.x[k, rows, :n]), stack.train.y[k, rows]).backward()
            optimizer.step()
            rate.step()
        for points_, found in ((stack.inside, losses.inside), (stack.outside, losses.outside)):
            expected = nn.functional.mse_loss(network(points_.x[k, :, :n]), points_.y[k])
            torch.testing.assert_close(found[k], expected, rtol=1e-4, atol=1e-7)


def test_training_learns() -> None:
    stack = make_stack(INSTANCES["search"], [0])
    before = train(activation("silu"), stack, Schedule(1, 1e-9))
    after = train(activation("silu"), stack, Schedule(100, 1e-2))
    assert (after.inside < 0.2 * before.inside).all()


def test_a_network_alone_and_in_a_stack_is_the_same() -> None:
    instances = INSTANCES["search"][:3]
    together = train(activation("tanh(x)"), make_stack(instances, [0, 1]), SHORT)
    alone = train(activation("tanh(x)"), make_stack(instances[1:2], [1]), SHORT)
    torch.testing.assert_close(together.outside[4], alone.outside[0], rtol=1e-4, atol=1e-6)


def test_a_diverged_network_harms_no_other() -> None:
    stack = make_stack(INSTANCES["search"][:3], [0])
    expected = train(activation("tanh(x)"), stack, SHORT)
    stack.train.x[1, 0, 0] = math.inf
    found = train(activation("tanh(x)"), stack, SHORT)
    assert not torch.isfinite(found.inside[1])
    for k in (0, 2):
        assert found.inside[k] == expected.inside[k]
    result = score(stack, found)
    assert result.diverged == 1
    assert math.isfinite(result.score)
    assert math.isfinite(result.fit)


def test_scores_are_what_the_formula_says() -> None:
    error, reference = np.array([1.0, 0.0, 1e9, math.inf, math.nan]), np.array([2.0, 1.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(log_ratio(error, reference), [math.log(0.5 + 1e-4), -5, 1, 2, 2])
    stack = make_stack(INSTANCES["search"], [0])
    constant = stack.outside.y.square().mean(dim=(1, 2))
    assert score(stack, Losses(constant, constant)).score == pytest.approx(0, abs=2e-4)
    # Variants count alike, whatever their number of instances: 6, 4 and 4.
    first = torch.tensor([i.variant == "down" for i in stack.instances])
    assert score(stack, Losses(constant, torch.where(first, math.inf, constant))).score == pytest.approx(2 / 3, abs=2e-4)


def test_evaluation_is_reproducible_and_knows_good_from_bad() -> None:
    quick = Fidelity("search", (0,), Schedule(100, 1e-2))
    silu = evaluate("silu", quick)
    assert silu == evaluate("x*sigmoid(x)", quick)
    assert silu.score < evaluate("x", quick).score < evaluate("exp(x)", quick).score


@pytest.mark.parametrize("text", ["prelu", "(x - mean(x))/std(x)", "shift(x, 1)", "param a = 1\na*tanh(x)"])
def test_only_pointwise_functions_are_evaluated(text: str) -> None:
    with pytest.raises(ValueError, match="pointwise"):
        evaluate(text, Fidelity("search", (0,), SHORT))
