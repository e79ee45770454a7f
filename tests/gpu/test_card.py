"""What a card is needed for at all: without one this test is skipped, and says so."""

from __future__ import annotations

import pytest
import torch
from gpu_cases import Launch, Place, same_bits

from gp.lab.chunks import check
from kernels.module import activation
from kernels.tensors import resolve_backend

TEXT = "gelu(x) + 0.1*sin(x)"


@pytest.mark.launches(of=lambda: [Launch(TEXT, torch.float32, orders=(0,))])
def test_the_backend_is_chosen_by_the_device(place: Place) -> None:
    x = torch.randn(place.shape, device=place.device)
    assert resolve_backend(x, "auto") == ("llvm" if place.rehearsal else "triton")
    with pytest.raises(ValueError, match="cannot run on a tensor on"):
        activation(TEXT, backend="triton" if place.rehearsal else "llvm")(x)
    named = activation(TEXT, backend=place.backend)(x)
    assert named.device == x.device
    if not place.rehearsal:
        assert same_bits(activation(TEXT)(x), named)


def test_the_check_of_a_card_passes(place: Place) -> None:
    """Two candidates, four steps, against the CPU's trainer: what has to pass before a search uses a GPU."""
    device = "cpu" if place.rehearsal else "cuda:0"
    assert check(device) == ("Triton's interpreter" if place.rehearsal else torch.cuda.get_device_name(0))
