"""NaN, infinities, subnormals, signed zeros and angles up to 3e38: against the CPU's kernels, whose elementary functions are the same
polynomials in float32; in float64 those of a GPU are NVIDIA's."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
import torch
from definition import draw_inputs
from gpu_cases import CATALOGUE, DTYPES, SHAPE, Launch, Place, as_numpy, exact, same_bits
from tolerances import assert_same

from codegen.limits import is_pointwise
from grammar import catalog
from kernels.ops import evaluate
from kernels.programs import program

if TYPE_CHECKING:
    from conftest import SameBits

LARGE: Final = (16.0, 88.0, 88.9, 89.5, 104.0, 300.0, 711.0, 746.0, 1e4, 65504.0, 1e5, 1e10, 1e20, 1e30, 3e38, 1e100, 1e300)
SMALL: Final = (1e-4, 1e-10, 1e-20, 1e-30, 0.3, 0.5, 0.9, 1.0, 1.1, 1.5, 2.0, 2.5, 3.0, 5.0, 9.0)
# What is exact, or rounded once, whatever the size of x.
EXACT: Final = (
    "x",
    "-x",
    "abs(x)",
    "relu(x)",
    "0.5*x",
    "x + x",
    "where(x > 0, x, 0.25*x)",
    "floor(x)",
    "sign(x)",
    "max(x, 0)",
    "min(x, 0)",
)
SINES: Final = ("sin(x)", "cos(x)")
ANGLE: Final = 4e-9
WITH_SINES: Final = ("gelusine", "snake", "gcu", "cosid", "minsin", "sine", "cosine_squasher", "gelu_sinc_perturbation")


def edges(dtype: torch.dtype, place: Place) -> torch.Tensor:
    """The numbers at the edges of a type, and ordinary ones, each of either sign. Triton's interpreter takes subnormal numbers of bfloat16
    for others."""
    info = torch.finfo(dtype)
    step = info.tiny * info.eps  # the smallest subnormal number
    positive = [0.0, step, 3 * step, info.tiny / 2, info.tiny - step, info.tiny, info.max, float("inf"), float("nan"), *SMALL, *LARGE]
    values = torch.tensor([s * v for v in positive for s in (1, -1)], dtype=torch.float64).to(dtype)
    readable = (values == 0) | ~(values.abs() < info.tiny)
    return values[readable] if place.rehearsal and dtype == torch.bfloat16 else values


def filled(values: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """A tensor of these values, over and over."""
    count = shape[0] * shape[1]
    return values.repeat(-(-count // len(values)))[:count].reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.launches(of=lambda name, dtype: [Launch(catalog.entry(name).text, dtype)])
@pytest.mark.sample(25)
def test_edges_of_the_catalogue(name: str, dtype: torch.dtype, place: Place, same_bits_as_cpu: SameBits) -> None:
    text = catalog.entry(name).text
    function = program(text)
    for order in (0, 1):
        inputs = draw_inputs(function, order, dtype, 3, SHAPE)
        values = edges(dtype, place)
        if not is_pointwise(function.structure):  # one infinity would be everywhere
            values = values[values.abs() < 1e4]
        inputs[0] = filled(values, SHAPE)
        found = evaluate([i.to(place.device) for i in inputs], text, order, -1, place.backend)
        on_cpu = evaluate(inputs, text, order, -1, "llvm")
        for actual, wanted in zip(found, on_cpu, strict=True):
            assert_same(as_numpy(actual), as_numpy(wanted), dtype)
        if dtype == torch.float32:
            same_bits_as_cpu.add(name, all(same_bits(a.cpu(), b) for a, b in zip(found, on_cpu, strict=True)))
        if order == 0:
            zeros = (inputs[0] == 0) & (on_cpu[0] == 0)
            assert torch.equal(found[0].cpu().signbit()[zeros], on_cpu[0].signbit()[zeros])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("text", EXACT)
@pytest.mark.launches(of=lambda text, dtype: [Launch(text, dtype, orders=(0,))])
@pytest.mark.sample(5)
def test_subnormals_are_not_flushed(text: str, dtype: torch.dtype, place: Place) -> None:
    values = edges(dtype, place)
    x = filled(values[values.isfinite() & (values.abs() < torch.finfo(dtype).max / 2)], SHAPE)
    (found,) = evaluate([x.to(place.device)], text, 0, -1, place.backend)
    wanted = torch.from_numpy(exact(text, 0, [x])[0].value.copy()).to(dtype)
    assert torch.equal(found.cpu(), wanted)
    assert (wanted != 0).any()


def angles(dtype: torch.dtype) -> torch.Tensor:
    """Numbers from 1e5 to 3e38, evenly by their logarithm, of either sign."""
    rng = np.random.default_rng(4)
    sizes = np.exp(rng.uniform(np.log(1e5), np.log(3e38), SHAPE))
    return torch.from_numpy(sizes * rng.choice([-1.0, 1.0], SHAPE)).to(dtype)


@pytest.mark.parametrize("text", SINES)
@pytest.mark.launches(of=lambda text: [Launch(text, torch.float32)])
def test_sines_of_large_angles(text: str, place: Place) -> None:
    """Within 4 ulp of float32 of the sine of exactly that number, and so is the slope. Next to its zeros the error of the angle is more,
    which is reduced with one of 3e-9."""
    x = angles(torch.float32)
    for order, inputs in ((0, [x]), (1, [x, torch.ones_like(x)])):
        (found,) = evaluate([i.to(place.device) for i in inputs], text, order, -1, place.backend)
        wanted = exact(text, order, inputs)[0].value
        assert error_in_ulp(found, wanted) <= 4
        assert error_in_ulp(found * (1 + 2.0**-20), wanted) > 4  # negative control


def error_in_ulp(found: torch.Tensor, wanted: np.ndarray) -> float:
    """The largest error in steps of float32, beyond what that of the angle makes."""
    return float(np.max((np.abs(as_numpy(found) - wanted) - ANGLE) / np.spacing(np.abs(wanted).astype(np.float32))))


@pytest.mark.parametrize(("name", "dtype"), list(itertools.product(WITH_SINES, [torch.float32, torch.float64])), ids=str)
@pytest.mark.launches(of=lambda name, dtype: [Launch(catalog.entry(name).text, dtype)])
@pytest.mark.sample(4)
def test_functions_with_sines_at_large_angles(name: str, dtype: torch.dtype, place: Place) -> None:
    text = catalog.entry(name).text
    for order in (0, 1):
        inputs = draw_inputs(program(text), order, dtype, 3, SHAPE)
        inputs[0] = angles(dtype)
        found = evaluate([i.to(place.device) for i in inputs], text, order, -1, place.backend)
        for actual, wanted in zip(found, evaluate(inputs, text, order, -1, "llvm"), strict=True):
            # What is summed over the tensor is as large as the angles.
            sums = float(wanted.abs().max()) if actual.shape != inputs[0].shape else 1.0
            assert_same(as_numpy(actual), as_numpy(wanted), dtype, sums)
