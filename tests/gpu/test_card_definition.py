"""Every function of the catalogue and 100 random programs, forward and backward, in every type: against the float64 definition, and in
float32 against the CPU's kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from gpu_cases import CATALOGUE, DTYPES, KINDS, ODD_SHAPE, RANDOM, SHAPE, Launch, Place, as_numpy, check, exact, random_text
from tolerances import assert_same

from grammar import catalog
from kernels.ops import evaluate

if TYPE_CHECKING:
    from conftest import SameBits

OVERFLOW = ("exp(x)", "x^3", "x*exp(-x)")


def text_of(name: str | int) -> str:
    return random_text(name) if isinstance(name, int) else catalog.entry(name).text


def launch(dtype: torch.dtype, name: str | int = 0, number: int = 0) -> list[Launch]:
    return [Launch(text_of(name or number), dtype, on_cpu=dtype == torch.float32)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.launches(of=launch)
@pytest.mark.sample(25)  # of four types each
def test_catalogue(name: str, dtype: torch.dtype, place: Place, same_bits_as_cpu: SameBits) -> None:
    compare(name, dtype, place, same_bits_as_cpu)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("number", range(RANDOM))
@pytest.mark.launches(of=launch)
@pytest.mark.sample(67)
def test_random_programs(number: int, dtype: torch.dtype, place: Place, same_bits_as_cpu: SameBits) -> None:
    compare(number, dtype, place, same_bits_as_cpu)


def compare(name: str | int, dtype: torch.dtype, place: Place, counted: SameBits) -> None:
    same = [check(text_of(name), order, dtype, place, place.shape) for order in (0, 1)]
    if dtype == torch.float32:
        counted.add(f"program {name}" if isinstance(name, int) else name, all(same))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("text", [*KINDS, *(catalog.entry(name).text for name in CATALOGUE[::16])])
@pytest.mark.launches(of=lambda text, dtype: [Launch(text, dtype, ODD_SHAPE, on_cpu=dtype == torch.float32)])
@pytest.mark.sample(5)
def test_sizes_that_16_does_not_divide(text: str, dtype: torch.dtype, place: Place) -> None:
    for order in (0, 1):
        check(text, order, dtype, place, ODD_SHAPE)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("text", OVERFLOW)
@pytest.mark.launches(of=lambda text, dtype: [Launch(text, dtype, (1, 32), (0,))])
@pytest.mark.sample(4)
def test_what_is_too_large_for_a_type_is_infinity(text: str, dtype: torch.dtype, place: Place) -> None:
    x = torch.tensor([-900.0, -110.0, -100.0, -14.0, -6.0, 0.5, 6.0, 14.0, 100.0, 110.0, 900.0] * 3)[:32].to(dtype)[None]
    (found,) = evaluate([x.to(place.device)], text, 0, -1, place.backend)
    (wanted,) = exact(text, 0, [x])
    rounded = torch.from_numpy(wanted.value.copy()).to(dtype)
    assert_same(as_numpy(found), as_numpy(rounded), dtype)
    assert dtype != torch.float16 or rounded.isinf().any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.launches(of=lambda dtype: [Launch("sin(x)", dtype)])
def test_another_function_is_noticed(dtype: torch.dtype, place: Place) -> None:
    """Negative control: in value and in slope, by a twentieth in the types of 16 bits."""
    other = "sin(x) + 0.05*x" if dtype in (torch.bfloat16, torch.float16) else "sin(x) + 0.0001*x"
    for order in (0, 1):
        check("sin(x)", order, dtype, place, SHAPE)
        with pytest.raises(AssertionError):
            check("sin(x)", order, dtype, place, SHAPE, compared_with=other)
