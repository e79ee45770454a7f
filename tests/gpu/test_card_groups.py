"""Groups of expressions, one kernel for many: each slice against the float64 definition of its expression, and the CPU's kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest
import torch
from gpu_cases import CATALOGUE, RANDOM, Place, as_numpy, assert_exact, exact, random_text
from lab_programs import PROGRAMS
from tolerances import assert_same
from torch import Tensor

from codegen.function import Activation
from grammar import catalog
from kernels.grouping import form_groups
from kernels.ops import evaluate
from kernels.population import Population
from kernels.programs import program

SHAPE: Final = (48, 32)
SMALL: Final = (5, 4)
SHAPES: Final = ((1, 1), (70, 3), (3, 300))
TWO: Final = (PROGRAMS["pointwise"], PROGRAMS["everything"])
CONTROL: Final = (PROGRAMS["pointwise"], PROGRAMS["kink"])
ALIKE: Final = tuple(f"x*tanh({k / 8 + 0.625}*x)" for k in range(20))
LISTS: Final = ("everything in one", "random", "catalogue")


def lists(name: str) -> list[tuple[str, ...]]:
    """Texts that share a kernel each: of all kinds, random ones, and as a search would put the catalogue together."""
    if name == "everything in one":
        return [tuple(PROGRAMS.values())]
    if name == "random":
        return [tuple(random_text(k) for k in range(0, RANDOM // 2, 2))]
    texts = [catalog.entry(name).text for name in CATALOGUE if name != "phase_locked_entropic_repulsion"]  # 3,700 instructions
    return [tuple(texts[k] for k in group) for group in form_groups([program(text) for text in texts])]


class Slices:
    """Some slices for each of some texts, with random values, cotangents and parameters, and what a population makes of them."""

    def __init__(self, texts: Sequence[str], place: Place, slices: int, shape: tuple[int, int]) -> None:
        self.texts, self.each = texts, slices
        self.functions = [program(text) for text in texts]
        population = Population(self.functions, slices, place.device)
        count = len(texts) * slices
        rng = torch.Generator().manual_seed(5)
        self.x, self.cotangent = (torch.randn(count, *shape, generator=rng) for _ in "xg")
        self.scalars = torch.rand(count, population.scalars, generator=rng) + 0.2 if population.scalars else None
        self.channels = torch.randn(count, population.channels, shape[1], generator=rng) if population.channels else None
        x, cotangent = self.x.to(place.device), self.cotangent.to(place.device)
        parameters = [None if p is None else p.to(place.device) for p in (self.scalars, self.channels)]
        values, slope, gradient = (torch.full_like(x, torch.nan) for _ in range(3))
        kept = population.forward(x, values, slope, *parameters)
        sums = population.backward(kept, cotangent, gradient, *parameters)
        self.values, self.gradient = values.cpu(), gradient.cpu()
        self.scalar_sums, self.channel_sums = (None if s is None else s.cpu() for s in sums)

    def inputs(self, function: Activation, at: int) -> list[Tensor]:
        """What the derivative of a slice's expression is evaluated at."""
        scalars, channels = (iter(() if p is None else p[at].unbind()) for p in (self.scalars, self.channels))
        named = {p.name: next(channels if p.per_channel else scalars) for p in function.parameters}
        return [self.x[at], *named.values(), self.cotangent[at]]

    def found(self, function: Activation, at: int) -> list[Tensor]:
        """The gradients with respect to x and to the parameters."""
        scalars, channels = (iter(() if p is None else p[at].unbind()) for p in (self.scalar_sums, self.channel_sums))
        return [self.gradient[at], *(next(channels if p.per_channel else scalars) for p in function.parameters)]

    def compare(self, number: int, text: str = "") -> None:
        """An expression's slices with its definition, or that of another text."""
        text = text or self.texts[number]
        function = program(text)
        for at in range(number * self.each, (number + 1) * self.each):
            inputs = self.inputs(function, at)
            assert_exact(self.values[at], exact(text, 0, inputs[:-1])[0], torch.float32)
            for actual, wanted in zip(self.found(function, at), exact(text, 1, inputs), strict=True):
                assert_exact(actual, wanted, torch.float32)
            (on_cpu,) = evaluate(inputs[:-1], text, 0, -1, "llvm")
            assert_same(as_numpy(self.values[at]), as_numpy(on_cpu), torch.float32)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.launches(of=lambda name: [], groups=lambda: [(texts, *SHAPE) for name in LISTS for texts in lists(name)])
def test_every_slice_is_that_of_its_expression(name: str, place: Place) -> None:
    for texts in lists(name):
        chosen = texts[::6] if place.rehearsal else texts
        slices = Slices(chosen, place, 1 if place.rehearsal else 2, SMALL if place.rehearsal else SHAPE)
        for number in range(len(chosen)):
            slices.compare(number)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.launches(of=lambda shape: [], groups=lambda: [(TWO, *shape) for shape in SHAPES])
def test_any_shape(shape: tuple[int, int], place: Place) -> None:
    slices = Slices(TWO, place, 2, shape)
    for number in range(len(TWO)):
        slices.compare(number)


@pytest.mark.launches(of=lambda: [], groups=lambda: [(CONTROL, *SMALL)])
def test_an_expression_of_another_slice_is_noticed(place: Place) -> None:
    """Negative control."""
    slices = Slices(CONTROL, place, 1, SMALL)
    slices.compare(0)
    with pytest.raises(AssertionError):
        slices.compare(0, CONTROL[1])


@pytest.mark.launches(of=lambda: [], groups=lambda: [(ALIKE, *SMALL)])
def test_constants_are_those_of_each_slice(place: Place) -> None:
    """Expressions that differ in constants alone share their code."""
    slices = Slices(ALIKE, place, 2, SMALL)
    for number in range(len(ALIKE)):
        slices.compare(number)
