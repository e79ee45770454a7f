"""A user's model that holds an activation, captured as a CUDA graph: it must compute the same whenever it is replayed."""

from __future__ import annotations

import copy
import gc
from typing import Final

import pytest
import torch
from gpu_cases import Launch, Place
from torch import Tensor, nn

from kernels.module import activation

# Constants, whose array the graph reads at each replay, and a parameter that is learnt.
TEXT: Final = "param beta = 0.7; x*sigmoid(beta*x) + 0.125*sin(2.5*x)"
OTHER: Final = "x*tanh({}*x) + {}*x"
OTHERS: Final = 300  # more than the arrays of constants that are remembered
BATCH: Final = 32
WIDTH: Final = 64

pytestmark = pytest.mark.card_only


def model_on(place: Place) -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), activation(TEXT), nn.Linear(WIDTH, 16)).to(place.device)


def results(model: nn.Module, x: Tensor) -> list[Tensor]:
    """The output and the gradients of the parameters, without a graph."""
    y = model(x)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), list(model.parameters()))]


class Captured:
    """Forward and backward pass of a model as a graph, after torch's documentation ("CUDA Graphs", whole-network capture)."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.input, self.parameters = example.clone(), list(model.parameters())
        self.side = torch.cuda.Stream()
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            for _ in range(3):
                self._pass(model)
        torch.cuda.current_stream().wait_stream(self.side)
        self._forget_gradients()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.output = self._pass(model)

    def _pass(self, model: nn.Module) -> Tensor:
        self._forget_gradients()
        y = model(self.input)
        y.square().sum().backward()
        return y.detach()

    def _forget_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def replay(self, x: Tensor) -> list[Tensor]:
        self.input.copy_(x)
        self.graph.replay()
        return [t.clone() for t in (self.output, *(p.grad for p in self.parameters if p.grad is not None))]


def assert_near(found: list[Tensor], wanted: list[Tensor]) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5 * max(1.0, float(b.abs().max())))


@pytest.mark.launches(of=lambda: [Launch(text, torch.float32, (BATCH, WIDTH)) for text in (TEXT, OTHER.format(1.25, 0.75))])
def test_a_captured_model(place: Place) -> None:
    model = model_on(place)
    plain = copy.deepcopy(model)
    inputs = [torch.randn(BATCH, WIDTH, device=place.device) for _ in range(4)]
    captured = Captured(model, inputs[0])
    for x in inputs[1:3]:
        assert_near(captured.replay(x), results(plain, x))
    with pytest.raises(AssertionError):  # negative control
        assert_near(captured.replay(inputs[1]), results(plain, inputs[2]))

    # What the graph reads must not be freed and given to others, of whichever stream it was.
    for k in range(OTHERS):
        other = activation(OTHER.format(k + 1.0625, k + 0.59375))
        other(inputs[0].requires_grad_()).sum().backward()
    gc.collect()
    filling = []
    for stream in (torch.cuda.current_stream(), captured.side):
        with torch.cuda.stream(stream):
            filling += [torch.full((size,), torch.nan, device=place.device) for size in (1, 3, 128) for _ in range(OTHERS)]
    torch.cuda.synchronize()
    assert_near(captured.replay(inputs[3]), results(plain, inputs[3]))
    assert torch.cat(filling).isnan().all()  # nor does it write to them


@pytest.mark.launches(of=lambda: [Launch(TEXT, torch.float32, (BATCH, WIDTH))])
def test_parameters_that_change_between_replays(place: Place) -> None:
    """A graph reads a learnable parameter where it is, as in training."""
    model = model_on(place)
    x = torch.randn(BATCH, WIDTH, device=place.device)
    captured = Captured(model, x)
    before = captured.replay(x)
    with torch.no_grad():
        model[1].beta.fill_(2.5)
    wanted = results(copy.deepcopy(model), x)
    assert_near(captured.replay(x), wanted)
    with pytest.raises(AssertionError):  # negative control
        assert_near(before, wanted)


@pytest.mark.launches(of=lambda: [Launch(OTHER.format(1.25, 0.75), torch.float32, (BATCH, WIDTH), (0,))])
def test_constants_that_are_not_there_yet_are_refused(place: Place) -> None:
    """Sending them from the host cannot be captured; the message says what to do, and then it works."""
    x = torch.randn(BATCH, WIDTH, device=place.device)
    activation(OTHER.format(1.25, 0.75))(x)  # compiled and loaded, with other constants
    module = activation(OTHER.format(1.71875, 0.78125))
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="call the activation once before"), torch.cuda.graph(graph):
        module(x)
    torch.cuda.synchronize()
    wanted = module(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = module(x)
    graph.replay()
    assert torch.equal(y, wanted)
