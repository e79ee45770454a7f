"""The torch side on a card: gradients to the second order, autocast, torch.compile with Inductor, tensors that outlive what made them."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from typing import Final

import pytest
import torch
from definition import with_slope
from gpu_cases import KINDS, MATRIX, SHAPE, Launch, Place, same_bits
from tolerances import TOLERANCE
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.gradcheck import GradcheckError

from kernels.module import Activation, activation

WIDTH: Final = 32
LAYERS: Final = (16, WIDTH)
OTHER: Final = "{}*x*sigmoid({}*x)"


def prepared(text: str, dtype: torch.dtype, place: Place, channels: int = MATRIX[1]) -> Activation:
    """A module on the device, with as many channels."""
    module = activation(text, backend=place.backend).to(place.device)
    module(torch.zeros(16, channels, device=place.device))
    return module.to(dtype)


def pure(module: Activation) -> Callable[..., Tensor]:
    names = [n for n, _ in module.named_parameters()]
    return lambda x, *values: torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))


@pytest.mark.parametrize("text", KINDS)
@pytest.mark.launches(of=lambda text: [Launch(text, torch.float64, MATRIX, (0, 1, 2)), Launch(text, torch.float32, (16, MATRIX[1]), (0,))])
@pytest.mark.sample(3)
def test_gradients_to_the_second_order(text: str, place: Place) -> None:
    module = prepared(text, torch.float64, place)
    x = torch.randn(MATRIX, dtype=torch.float64).to(place.device).requires_grad_()
    # The fast mode compares one product with each Jacobian instead of all of its columns.
    assert gradcheck(pure(module), (x, *module.parameters()), fast_mode=place.rehearsal)
    assert gradgradcheck(pure(module), (x, *module.parameters()), fast_mode=place.rehearsal)


@pytest.mark.launches(of=lambda: [Launch(text, torch.float64, MATRIX, (0,)) for text in ("sin(x)", "cos(x)")])
def test_a_wrong_gradient_is_noticed(place: Place) -> None:
    module, other = (prepared(text, torch.float64, place) for text in ("sin(x)", "cos(x)"))

    with pytest.raises(GradcheckError):
        gradcheck(
            with_slope(module, lambda x: 1.01 * other(x)), (torch.randn(MATRIX, dtype=torch.float64).to(place.device).requires_grad_(),)
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("text", KINDS)
@pytest.mark.launches(of=lambda text, dtype: [Launch(text, dtype, LAYERS), Launch(text, torch.float32, LAYERS, (0,))])
@pytest.mark.sample(5)
def test_autocast_keeps_the_type_of_x(text: str, dtype: torch.dtype, place: Place) -> None:
    module, layer = prepared(text, torch.float32, place, WIDTH), nn.Linear(WIDTH, WIDTH).to(place.device)
    x = torch.randn(LAYERS, device=place.device)
    with torch.autocast(place.device, dtype=dtype):
        sums = layer(x)
        y = module(sums)
    assert sums.dtype == y.dtype == dtype
    assert same_bits(y.detach(), module(sums.detach()).detach())
    y.float().sum().backward()
    assert torch.isfinite(layer.weight.grad).all()
    assert all(torch.isfinite(p.grad).all() and p.grad.dtype == torch.float32 for p in module.parameters())


def assert_near(found: Tensor, wanted: Tensor) -> None:
    tolerance = TOLERANCE[torch.float32]
    scale = max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(found, wanted, rtol=tolerance.relative, atol=tolerance.absolute * scale)


@pytest.mark.parametrize("text", [KINDS[0], KINDS[7]])
@pytest.mark.launches(of=lambda text: [Launch(text, torch.float32, LAYERS)])
@pytest.mark.sample(2)
def test_torch_compile_in_one_graph(text: str, place: Place) -> None:
    """A model that Inductor compiles around the activation; on the CPU, where there may be no C++ compiler, without Inductor."""
    torch.compiler.reset()
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), prepared(text, torch.float32, place, WIDTH), nn.Linear(WIDTH, WIDTH)).to(place.device)
    x = torch.randn(LAYERS, device=place.device, requires_grad=True)
    inputs = [x, *model.parameters()]

    def whole(x: Tensor) -> Tensor:
        y = model(x)
        return torch.tanh(y) * y  # for Inductor to fuse

    def results(run: Callable[[Tensor], Tensor]) -> list[Tensor]:
        y = run(x)
        return [y.detach(), *torch.autograd.grad(y.sum(), inputs)]

    compiled = torch.compile(whole, fullgraph=True, backend="aot_eager" if place.rehearsal else "inductor")
    for found, wanted in zip(results(compiled), results(whole), strict=True):
        assert_near(found, wanted)
    with pytest.raises(AssertionError):  # negative control
        assert_near(results(compiled)[0], results(lambda x: whole(1.01 * x))[0])


@pytest.mark.launches(of=lambda: [Launch(text, torch.float32) for text in (KINDS[0], KINDS[7], OTHER.format(1.25, 0.75))])
def test_results_outlive_what_made_them(place: Place) -> None:
    """Neither later calls nor other tensors write to a result, and backward needs nothing that the caller has to keep."""
    for text in (KINDS[0], KINDS[7]):
        x = torch.randn(SHAPE, device=place.device)
        module = prepared(text, torch.float32, place, SHAPE[1])
        leaf = x.clone().requires_grad_()
        twin = copy.deepcopy(module)
        expected = module(x).detach().clone()
        cotangent = torch.randn_like(x)
        (slope,) = torch.autograd.grad(twin(leaf), leaf, cotangent)
        kept = x.clone()
        y = twin(leaf * 1.0)
        del twin, module
        gc.collect()
        for k in range(20):
            other = prepared(OTHER.format(k + 1.25, k + 0.75), torch.float32, place)
            other(torch.full(SHAPE, float(k), device=place.device))
            torch.full(SHAPE, torch.nan, device=place.device)
        assert same_bits(y.detach(), expected)
        assert same_bits(torch.autograd.grad(y, leaf, cotangent)[0], slope)
        assert torch.equal(x, kept)  # it is not written to


@pytest.mark.launches(of=lambda: [Launch(KINDS[3], torch.float32)])
def test_moving_and_copying(place: Place) -> None:
    """From the CPU and back, as copy, as state and by value: the same function."""
    module = activation(KINDS[3])
    x = torch.randn(SHAPE)
    expected = module(x).detach()
    module.slope.data.uniform_(0.1, 1)
    assert not torch.equal(module(x), expected)  # negative control
    expected = module(x).detach()
    there = copy.deepcopy(module).to(place.device)
    assert_near(there(x.to(place.device)).detach().cpu(), expected)
    assert_near(there.to("cpu")(x).detach(), expected)
    fresh = activation(KINDS[3]).to(place.device)
    fresh.load_state_dict(module.state_dict())
    assert fresh.slope.device.type == place.device
    assert_near(fresh(x.to(place.device)).detach().cpu(), expected)
