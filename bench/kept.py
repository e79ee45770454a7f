"""Figure 4: what is kept for backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch

import gp
from bench.functions import COPY_BOUND, FUSED
from bench.measure import Row, Target, exactly
from gp.timing import bytes_kept

_SIZE: Final = 65_536
_EXACTLY_X: Final = Target(1.0, at_least=False)


def figure_4() -> Iterator[Row]:
    """Bytes kept, in tensors of x's size, ours against eager's. Keeping less than x is impossible here, so "at most 1" is "exactly 1"."""
    for contest in FUSED + COPY_BOUND:
        x = torch.randn(_SIZE).requires_grad_()
        ours, theirs = (bytes_kept(function, x) / x.nbytes for function in (gp.activation(contest.text), contest.eager))
        yield Row("4", contest.name, f"{ours:g} tensors", f"eager {theirs:g} tensors", exactly(ours), "tensors", _EXACTLY_X)
