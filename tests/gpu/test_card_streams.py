"""Streams and devices: an activation runs on the current ones, and orders nothing by itself."""

from __future__ import annotations

from typing import Final

import pytest
import torch
from gpu_cases import KINDS, Launch, Place, same_bits
from torch import Tensor

from kernels.module import Activation, activation

LARGE: Final = (1024, 512)
TEXTS: Final = (KINDS[0], KINDS[7])

pytestmark = pytest.mark.card_only


def made(text: str, device: str | torch.device) -> Activation:
    module = activation(text).to(device)
    module(torch.zeros(16, LARGE[1], device=device))
    return module


def results(module: Activation, x: Tensor) -> list[Tensor]:
    """The value, and the gradients with respect to x and the parameters."""
    leaf = x.detach().requires_grad_()
    y = module(leaf)
    return [y.detach(), *torch.autograd.grad(y, [leaf, *module.parameters()], torch.ones_like(y))]


def assert_same_bits(found: list[Tensor], wanted: list[Tensor]) -> None:
    assert all(same_bits(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.launches(of=lambda text: [Launch(text, torch.float32, LARGE)])
def test_another_stream_than_the_default_one(text: str, place: Place) -> None:
    """Behind work that keeps the stream busy: on any other stream, x would be read before it is written."""
    module, side = made(text, place.device), torch.cuda.Stream()
    source = torch.randn(LARGE, device=place.device)
    wanted = results(module, source)
    x = torch.full(LARGE, torch.nan, device=place.device)
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(20_000_000)  # clock cycles, about 10 ms
        x.copy_(source)
        found = results(module, x)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    assert_same_bits(found, wanted)
    assert not found[0].isnan().any()


@pytest.mark.launches(of=lambda: [Launch(text, torch.float32, LARGE) for text in TEXTS])
def test_two_streams_at_once(place: Place) -> None:
    """Two functions whose constants and sums are in flight at the same time."""
    modules = [made(text, place.device) for text in TEXTS]
    streams = [torch.cuda.Stream() for _ in TEXTS]
    inputs = [torch.randn(LARGE, device=place.device) for _ in TEXTS]
    wanted = [results(module, x) for module, x in zip(modules, inputs, strict=True)]
    torch.cuda.synchronize()
    rounds: list[list[list[Tensor]]] = []
    for _ in range(50):
        found = []
        for module, x, stream in zip(modules, inputs, streams, strict=True):
            with torch.cuda.stream(stream):
                found.append(results(module, x))
        rounds.append(found)
    torch.cuda.synchronize()
    for found in rounds:
        for one, expected in zip(found, wanted, strict=True):
            assert_same_bits(one, expected)
    assert not same_bits(wanted[0][0], wanted[1][0])  # negative control


@pytest.mark.launches(of=lambda: [Launch("x*tanh(1.25*x)", torch.float32, LARGE, (0,))])
def test_constants_that_another_stream_has_sent(place: Place) -> None:
    """Numbers are sent once, by the stream that needs them first; another that reads them has not waited for it."""
    x = torch.randn(LARGE, device=place.device)
    streams = [torch.cuda.Stream() for _ in range(2)]
    torch.cuda.synchronize()
    for k in range(20):
        module = activation(f"x*tanh({k + 1.125}*x)")
        found = []
        for stream in streams:
            with torch.cuda.stream(stream):
                found.append(module(x))
        torch.cuda.synchronize()
        torch.testing.assert_close(found[0], x * torch.tanh((k + 1.125) * x), rtol=2e-5, atol=2e-5)
        assert same_bits(*found)


@pytest.mark.launches(of=lambda: [Launch(text, torch.float32, LARGE) for text in TEXTS])
def test_a_second_device(place: Place) -> None:
    """A tensor's own device counts, not the current one."""
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device")
    for text in TEXTS:
        x = torch.randn(LARGE, device="cuda:0")
        wanted = results(made(text, "cuda:0"), x)
        there = results(made(text, "cuda:1"), x.to("cuda:1"))
        assert torch.cuda.current_device() == 0
        assert all(t.device == torch.device("cuda:1") for t in there)
        assert_same_bits([t.to("cuda:0") for t in there], wanted)
