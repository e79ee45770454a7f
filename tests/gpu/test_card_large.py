"""Tensors of more than 2^31 elements, where an index does not fit into 32 bits, in bfloat16: each element against torch in float32.

The last test: the launcher tunes the tiles of such kernels, which small launches have from then on.
"""

from __future__ import annotations

from typing import Final

import pytest
import torch
from gpu_cases import Launch, Place
from tolerances import TOLERANCE
from torch import Tensor

from kernels.ops import evaluate

BF16: Final = torch.bfloat16
COUNT: Final = (1 << 31) + 21
CHANNELS: Final = 64
ROWS: Final = (1 << 31) // CHANNELS + 3
POINTWISE: Final = "x*sigmoid(x)"
PARAMETRIC: Final = "param s[channel] = 0.5; s*x"
STATISTIC: Final = "x - mean(x)"
PIECE: Final = 1 << 26
BYTES: Final = 24 << 30  # input, cotangent, result, and those of a launch that is timed


@pytest.fixture(autouse=True)
def _room(place: Place) -> None:
    if not place.rehearsal:
        torch.cuda.empty_cache()
        if torch.cuda.mem_get_info()[0] < BYTES:
            pytest.skip(f"the card has not {BYTES >> 30} GiB free")


def normal(shape: tuple[int, ...], place: Place) -> Tensor:
    return torch.empty(shape, dtype=BF16, device=place.device).normal_()


def assert_near(found: Tensor, wanted: Tensor, dtype: torch.dtype = BF16) -> None:
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(found.to(wanted.dtype), wanted, rtol=tolerance.relative, atol=tolerance.absolute)


@pytest.mark.launches(of=lambda: [Launch(text, BF16, (1, COUNT), on_cpu=False) for text in (POINTWISE, STATISTIC)])
def test_more_than_two_to_the_31_elements(place: Place) -> None:
    x = normal((5_021,) if place.rehearsal else (COUNT,), place)
    (y,) = evaluate([x], POINTWISE, 0, -1, place.backend)
    (slope,) = evaluate([x, x], POINTWISE, 1, -1, place.backend)
    for at in range(0, len(x), PIECE):
        part = x[at : at + PIECE].float()
        sigmoid = torch.sigmoid(part)
        assert_near(y[at : at + PIECE], part * sigmoid)
        assert_near(slope[at : at + PIECE], part * (sigmoid + part * sigmoid * (1 - sigmoid)))
    with pytest.raises(AssertionError):  # negative control: the neighbours of the last elements
        assert_near(y[-1000:], torch.nn.functional.silu(x[-1001:-1].float()))
    del y, slope
    x += 1  # whose rounding errors cancel in the mean
    (centred,) = evaluate([x], STATISTIC, 0, -1, place.backend)
    mean = sum(float(x[at : at + PIECE].double().sum()) for at in range(0, len(x), PIECE)) / len(x)
    for at in range(0, len(x), PIECE):
        assert_near(centred[at : at + PIECE], x[at : at + PIECE].float() - mean)


@pytest.mark.launches(of=lambda: [Launch(PARAMETRIC, BF16, (ROWS, CHANNELS), on_cpu=False)])
def test_rows_and_channels_beyond_two_to_the_31(place: Place) -> None:
    """A sum over rows, and a parameter of each channel."""
    x = normal((79 if place.rehearsal else ROWS, CHANNELS), place)
    s = torch.linspace(-1, 1, CHANNELS, device=place.device)
    (y,) = evaluate([x, s], PARAMETRIC, 0, -1, place.backend)
    total = torch.zeros(CHANNELS, dtype=torch.float64, device=place.device)
    for at in range(0, len(x), PIECE // CHANNELS):
        part = x[at : at + PIECE // CHANNELS].float()
        assert_near(y[at : at + PIECE // CHANNELS], part * s)
        total += part.square().sum(0, dtype=torch.float64)
    del y
    gradient, sums = evaluate([x, s, x], PARAMETRIC, 1, -1, place.backend)
    for at in range(0, len(x), PIECE // CHANNELS):
        assert_near(gradient[at : at + PIECE // CHANNELS], x[at : at + PIECE // CHANNELS].float() * s)
    assert_near(sums, total, torch.float32)
    assert not torch.allclose(sums.double(), total * (1 + 1e-3))  # negative control
