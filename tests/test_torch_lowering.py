"""The torch lowering against the float64 definition at the edges of the range of numbers, in value and gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from definition import guarded_reference
from tolerances import TOLERANCE, assert_same
from torch import Tensor

import gp
from codegen.function import Activation
from codegen.graph import Source, topological
from grammar import catalog
from kernels.lowering import lowered

POSITIVE = (0, 1e-45, 1e-40, 1e-38, 1e-30, 1e-10, 0.04, 0.1, 0.3, 0.5, 0.64, 1, 1.5, 2, 3, 4.6, 6, 9, 20, 45, 60, 88, 89, 104, 1e3, 1e5,
            1e10, 1e19, 1e20, 1e30, np.inf)  # fmt: skip
SQUARE_OVERFLOWS = 1e19
# On these autograd, and in part the torch functions that a value was made of, gave something else, or an error.
CASES = ("clamp(0.5, -1, x)", "max(0/0, 1)*x", "x^0", "x + sin(x)", "sinc(x)", "softplus(x)", "sinh(x)", "x - tanh(x)", "logsigmoid(x)",
         "sign(x)*x", "cbrt(x)", "x*erfc(-sqrt(1/2)*x)", "3", "min(x, inf)", "where(1 > 0, x, 1/x)")  # fmt: skip


def edges(function: Activation, dtype: torch.dtype) -> Tensor:
    """Numbers at the edges of the dtype, where a function has a kink (each of its constants may be one), and beside these."""
    info = torch.finfo(dtype)
    kinks = np.abs(function.constants)
    beside = [np.nextafter(np.float32(k), np.float32(end)) for k in kinks for end in (0, np.inf)]
    positive = [*POSITIVE, *kinks, *beside, info.max, info.tiny, info.eps]
    return torch.tensor([s * float(v) for v in positive for s in (1, -1)] + [np.nan], dtype=torch.float64).to(dtype)


def inputs(function: Activation, dtype: torch.dtype) -> Iterator[Tensor]:
    """The edges as rows of one channel; of a function with statistics each by itself. One that is not point by point squares its x, so the
    edges are no larger there than what float32 can square."""
    values = edges(function, dtype)
    nodes = topological([function.structure])
    if any(n.name == "mean" or (isinstance(n.attribute, Source) and n.attribute.shift) for n in nodes):
        values = values[~(values.abs() > SQUARE_OVERFLOWS)]
    yield from values.reshape(-1, 1, 1) if any(n.name == "mean" for n in nodes) else [values.reshape(-1, 1)]


def value_and_gradient(text: str, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    y = gp.activation(text, backend="eager")(leaf)
    return y.detach(), torch.autograd.grad(y, leaf, torch.ones_like(y))[0]


@pytest.mark.parametrize("text", [*map(catalog.load_text, catalog.names()), *CASES], ids=[*catalog.names(), *CASES])
def test_value_and_gradient_at_the_edges(text: str) -> None:
    function = gp.activation(text).function
    for dtype in TOLERANCE:
        for x in inputs(function, dtype):
            known = [x.double().numpy(), *(np.full((1, 1), p.initial, np.float32) for p in function.parameters)]
            for order, actual in enumerate(value_and_gradient(text, x)):
                expected = guarded_reference(function, order, [*known, *[np.ones(x.shape)] * order], dtype)
                assert_same(actual.double().numpy(), expected, dtype)


def test_the_gradient_of_autograd_would_fail() -> None:
    """Negative control: what autograd makes of the value is NaN where the definition is 1."""
    x = torch.tensor([89.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(lowered("x*tanh(exp(x))", 0)(x), x)
    expected = guarded_reference(gp.activation("x*tanh(exp(x))").function, 1, [x.detach().numpy(), np.ones(1)], torch.float32)
    assert expected == 1
    with pytest.raises(AssertionError, match="NaN at different places"):
        assert_same(gradient.numpy(), expected, torch.float32)


@pytest.mark.parametrize("text", ["x", "abs(x)", "relu(x)", "floor(x)", "param p = 1; p*x"])
@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_the_result_is_a_tensor_of_its_own(text: str, backend: str) -> None:
    x = torch.ones(3, 2)
    gp.activation(text, backend=backend)(x).add_(1)
    assert torch.equal(x, torch.ones(3, 2))
