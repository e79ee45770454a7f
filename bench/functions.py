"""The functions of the figures: the program, and what a torch user would write instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Contest:
    """One function written twice."""

    name: str
    text: str
    eager: Callable[[torch.Tensor], torch.Tensor]


FUSED: Final = (
    Contest("gelusine", "gelu(x) + 0.1*sin(x)", lambda x: F.gelu(x) + 0.1 * torch.sin(x)),
    Contest("gelu_sinc_perturbation", "gelu(x)*(1 + 0.5*sinc(x))", lambda x: F.gelu(x) * (1 + 0.5 * torch.sinc(x))),
    Contest(
        "gmtu",
        "tanh(1.5*x)*exp(-0.2*x^2) + 0.1*x",
        lambda x: torch.tanh(1.5 * x) * torch.exp(-0.2 * x**2) + 0.1 * x,
    ),
    Contest("mish", "x*tanh(softplus(x))", lambda x: x * torch.tanh(F.softplus(x))),
    Contest("snake", "x + sin(x)^2", lambda x: x + torch.sin(x) ** 2),
    Contest("silu", "x/(1 + exp(-x))", lambda x: x / (1 + torch.exp(-x))),
    Contest("x*tanh(exp(x))", "x*tanh(exp(x))", lambda x: x * torch.tanh(torch.exp(x))),
    Contest("exp(-x^2)*sin(3*x) + 0.1*x", "exp(-x^2)*sin(3*x) + 0.1*x", lambda x: torch.exp(-(x**2)) * torch.sin(3 * x) + 0.1 * x),
)
COPY_BOUND: Final = (
    Contest("relu", "relu(x)", F.relu),
    Contest("hardswish", "hardswish(x)", F.hardswish),
    Contest("squared_relu", "relu(x)^2", lambda x: F.relu(x) ** 2),
)


_TURBULENT: Final = "z = (x - mean(x))/(std(x) + 1e-6); sign(x)*log(1 + 0.5*abs(x)) + 0.2*exp(-z^2/2)*sin(2*x)"


def _turbulent(x: torch.Tensor) -> torch.Tensor:
    """Statistics over one network's batch: the last two dimensions."""
    mean = x.mean(dim=(-2, -1), keepdim=True)
    z = (x - mean) / (x.std(dim=(-2, -1), keepdim=True, correction=0) + 1e-6)
    return torch.sign(x) * torch.log1p(0.5 * torch.abs(x)) + 0.2 * torch.exp(-(z**2) / 2) * torch.sin(2 * x)


def _turbulent_of_all(x: torch.Tensor) -> torch.Tensor:
    """Statistics over the whole tensor."""
    z = (x - x.mean()) / (x.std(correction=0) + 1e-6)
    return torch.sign(x) * torch.log1p(0.5 * torch.abs(x)) + 0.2 * torch.exp(-(z**2) / 2) * torch.sin(2 * x)


TRAINED: Final = (
    FUSED[0],
    COPY_BOUND[0],
    Contest("gelu", "gelu(x)", F.gelu),
    Contest("turbulent", _TURBULENT, _turbulent),
)
# What a round on a GPU measures; random programs come beside them.
ROUND: Final = (*COPY_BOUND[::2], TRAINED[2], *FUSED[:2], *FUSED[3:5], FUSED[2], Contest("turbulent", _TURBULENT, _turbulent_of_all))
