"""What copies and files keep of a module, and what a module says to what it cannot take."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import gp

every_backend = pytest.mark.parametrize("backend", ["auto", "eager"])


class Derived(gp.Activation):
    """A subclass, as a user writes one."""


def plus_one(module: nn.Module, arguments: Any, result: Tensor) -> Tensor:
    return result + 1


def reloaded(module: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES: dict[str, Callable[[nn.Module], Any]] = {
    "copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda m: pickle.loads(pickle.dumps(m)), "save": reloaded,
}  # fmt: skip
every_copy = pytest.mark.parametrize("copied", COPIES.values(), ids=list(COPIES))


@every_copy
@every_backend
def test_copies_keep_what_a_module_has(copied: Callable[[nn.Module], Any], backend: str) -> None:
    module = Derived("param beta = 1; x*sigmoid(beta*x)", backend=backend).eval()
    module.register_buffer("k", torch.ones(2))
    module.register_forward_hook(plus_one)
    module.note = "kept"
    module.beta.requires_grad_(False)
    found = copied(module)
    x = torch.randn(5)
    assert torch.equal(found(x), module(x))
    assert type(found) is Derived
    assert (found.note, found.backend, found.training, found.beta.requires_grad) == ("kept", backend, False, False)
    assert [n for n, _ in found.named_buffers()] == ["k"]


@every_copy
def test_copies_of_parameters_without_a_size(copied: Callable[[nn.Module], Any]) -> None:
    found = copied(gp.activation("prelu"))
    assert found(-torch.ones(2, 5)).eq(-0.25).all()
    assert found.slope.shape == (5,)


@every_backend
def test_a_parametrized_copy(backend: str) -> None:
    module = gp.activation("swish", backend=backend)
    parametrize.register_parametrization(module, "beta", nn.Softplus())
    for m in (module, copy.deepcopy(module)):
        y = m(torch.tensor(-1.0))
        torch.testing.assert_close(y, torch.tensor(-0.2119), atol=1e-4, rtol=0)
        y.backward()
        assert m.parametrizations.beta.original.grad is not None


@pytest.mark.parametrize("copied", [COPIES["deepcopy"], COPIES["pickle"], COPIES["save"]], ids=["deepcopy", "pickle", "save"])
def test_a_pruned_copy(copied: Callable[[nn.Module], Any]) -> None:
    module = gp.activation("prelu")
    x = -torch.ones(2, 3)
    module(x)
    prune.custom_from_mask(module, "slope", torch.tensor([1.0, 0.0, 1.0]))
    found = copied(module)
    assert torch.equal(found(x), torch.tensor([[-0.25, 0, -0.25]] * 2))
    found(x).sum().backward()
    assert torch.equal(found.slope_orig.grad, torch.tensor([-2.0, 0, -2.0]))


def test_a_backend_that_is_chosen_later() -> None:
    module, x = gp.activation("gelu"), torch.randn(5)
    expected = module(x)
    module.backend = "eager"
    torch.testing.assert_close(module(x), expected)
    assert module(x.to("meta")).device.type == "meta"  # no kernel runs there
    with pytest.raises(ValueError, match="backend must be one of"):
        module.backend = "cuda"


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
@every_backend
def test_dtypes_that_are_refused(dtype: torch.dtype, backend: str) -> None:
    with pytest.raises(TypeError, match=f"takes float32, float64, bfloat16 or float16, not {dtype}"):
        gp.activation("gelu", backend=backend)(torch.ones(3).to(dtype))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda backend: gp.activation(3, backend=backend), TypeError, "a program's text, a name or a path, not 3"),
        (lambda backend: gp.activation("gelu", backend=backend)([1.0]), TypeError, r"takes a tensor, not \[1.0\]"),
        (lambda backend: gp.activation("prelu", backend=backend)([1.0]), TypeError, r"takes a tensor, not \[1.0\]"),
        (
            lambda backend: gp.activation("gelu", backend=backend)(torch.eye(3).to_sparse()),
            TypeError,
            "dense tensors, not torch.sparse",
        ),
        (lambda backend: gp.activation("gelu", channel_dim=5, backend=backend)(torch.ones(2, 2)), ValueError, "from -2 to 1"),
        (
            lambda backend: gp.activation("prelu", channel_dim=5, backend=backend)(torch.ones(2, 2)),
            ValueError,
            "channel_dim=5, but x",
        ),
        (lambda backend: gp.activation("gelu", channel_dim=1.5, backend=backend), TypeError, "the number of a dimension"),
        (lambda backend: called(backend, "prelu", "slope", torch.ones(1)), ValueError, "'slope' has 1 values, but x has 3 channels"),
        (lambda backend: called(backend, "swish", "beta", torch.ones(3)), ValueError, "'beta' has 3 values, but is one number"),
    ],
)
@every_backend
def test_what_is_refused(call: Callable[[str], Any], error: type[Exception], message: str, backend: str) -> None:
    with pytest.raises(error, match=message):
        call(backend)


def called(backend: str, name: str, parameter: str, value: Tensor) -> Tensor:
    """What a module gives for 2 rows of 3 channels with another parameter."""
    module = gp.activation(name, backend=backend)
    module(torch.ones(2, 3))
    return torch.func.functional_call(module, {parameter: value}, (torch.ones(2, 3),))


@every_backend
@pytest.mark.parametrize("value", [torch.full((1, 3), 2.0), torch.full((3,), 2.0, dtype=torch.float64), torch.full((3,), 2.0).half()])
def test_a_parameter_in_another_form(value: Tensor, backend: str) -> None:
    parameter = value.requires_grad_()
    module = gp.activation("prelu", backend=backend)
    module(torch.ones(2, 3))
    y = torch.func.functional_call(module, {"slope": parameter}, (-torch.ones(2, 3),))
    assert torch.equal(y, torch.full((2, 3), -2.0))
    (gradient,) = torch.autograd.grad(y.sum(), parameter)
    assert (gradient.shape, gradient.dtype) == (parameter.shape, parameter.dtype)
    assert gradient.eq(-2).all()


@every_backend
def test_a_state_with_channels_in_another_shape(backend: str) -> None:
    module = gp.activation("param p[channel] = 1; p*x", channel_dim=1, backend=backend)
    module.load_state_dict({"p": torch.full((1, 8, 1, 1), 2.0)})
    assert module(torch.ones(2, 8, 3, 3)).eq(2).all()


@every_backend
def test_half_modules_and_powers_of_negative_parameters(backend: str) -> None:
    module = gp.activation("param p = 2; x^p", backend=backend)
    x = torch.tensor([-1.5, 0.5, 3.0])
    torch.testing.assert_close(module.half()(x.half()), x.half() ** 2)
    module.float().p.data.fill_(-2.0)
    torch.testing.assert_close(module(x), x**-2)
