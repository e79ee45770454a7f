"""Tensors that are empty, without dimensions, strided, or channels-last: value and gradients against the CPU's kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import pytest
import torch
from gpu_cases import KINDS, Launch, Place
from tolerances import TOLERANCE
from torch import Tensor

from kernels.module import activation

DTYPE: Final = torch.float32
SHAPES: Final = ((), (0,), (1,), (3, 0), (6,), (2, 3, 6), (2, 3, 4, 6))
BASE: Final = (4, 6, 5, 3)
LAYOUTS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "every second": lambda x: x[::2, :, ::2],
    "reversed dimensions": lambda x: x.contiguous().permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0),
    "one for all": lambda x: x[:1].expand(4, 6, 5, 3),
}


def launch(text: str, shape: tuple[int, ...], channels: int) -> list[Launch]:
    count = math.prod(shape)
    return [Launch(text, DTYPE, (count // channels, channels))] if count else []


def results(text: str, x: Tensor, backend: str, channel_dim: int) -> list[Tensor]:
    """The value at x, and the gradients with respect to x and the parameters."""
    module = activation(text, backend=backend, channel_dim=channel_dim).to(x.device)
    x = x.detach().requires_grad_()
    y = module(x)
    assert (y.shape, y.dtype, y.device) == (x.shape, x.dtype, x.device)
    assert y.stride() == torch.empty_like(x).stride()
    cotangent = torch.linspace(-1, 1, max(y.numel(), 1))[: y.numel()].reshape(y.shape).to(y)
    return [y.detach(), *torch.autograd.grad(y, [x, *module.parameters()], cotangent)]


def compare(text: str, on_card: Tensor, on_cpu: Tensor, place: Place, channel_dim: int) -> None:
    found, wanted = results(text, on_card, place.backend, channel_dim), results(text, on_cpu, "llvm", channel_dim)
    for actual, expected in zip(found, wanted, strict=True):
        tolerance = TOLERANCE[DTYPE]
        torch.testing.assert_close(actual.cpu(), expected, rtol=tolerance.relative, atol=tolerance.absolute, equal_nan=True)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("text", KINDS)
@pytest.mark.launches(of=lambda text, shape: launch(text, shape, shape[-1] if shape else 1))
@pytest.mark.sample(5)
def test_shapes(text: str, shape: tuple[int, ...], place: Place) -> None:
    x = 2 * torch.randn(shape)
    compare(text, x.to(place.device), x, place, -1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("text", KINDS)
@pytest.mark.launches(of=lambda text, layout: launch(text, LAYOUTS[layout](torch.empty(BASE)).shape, 6))
@pytest.mark.sample(5)
def test_layouts(text: str, layout: str, place: Place) -> None:
    base = 2 * torch.randn(BASE)
    arranged = LAYOUTS[layout]
    compare(text, arranged(base.to(place.device)), arranged(base), place, 1)


@pytest.mark.parametrize("text", [KINDS[0], KINDS[7]])
@pytest.mark.sample(2)
def test_memory_that_is_not_aligned(text: str, place: Place) -> None:
    """Behind an offset of three numbers: accesses of 128 bits would be faults."""
    base = 2 * torch.randn(32, 48)
    padded = torch.cat([torch.zeros(3), base.flatten()])
    compare(text, padded.to(place.device)[3:].view(32, 48), base, place, -1)


@pytest.mark.launches(of=lambda: launch("x + shift(x, 1)", (4, 6, 6, 3), 6))
def test_another_layout_is_noticed(place: Place) -> None:
    """Negative control: channels that are taken for others."""
    base = 2 * torch.randn(4, 6, 6, 3)
    with pytest.raises(AssertionError):
        compare("x + shift(x, 1)", base.transpose(1, 2).to(place.device), base, place, 1)
