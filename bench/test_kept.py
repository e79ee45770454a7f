"""Figure 4 as tests: for backward one tensor is kept, x itself, whatever the expression."""

from __future__ import annotations

import pytest
import torch

import gp
from bench.compile import LARGEST, SMALLEST
from bench.functions import COPY_BOUND, FUSED
from bench.programs import random_programs
from gp.timing import bytes_kept

_PROGRAMS = {contest.name: contest.text for contest in FUSED + COPY_BOUND}
_RANDOM = {f"random {k}": text for k, text in enumerate(random_programs(10, SMALLEST, LARGEST, seed=5))}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("text", [*_PROGRAMS.values(), *_RANDOM.values()], ids=[*_PROGRAMS, *_RANDOM])
def test_kept_is_x(text: str, dtype: torch.dtype) -> None:
    x = torch.randn(4096, dtype=dtype).requires_grad_()
    assert bytes_kept(gp.activation(text), x) == x.nbytes
