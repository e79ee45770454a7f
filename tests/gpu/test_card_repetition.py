"""1,000 repetitions of one launch give the same bits: no sum depends on which program ends first."""

from __future__ import annotations

import pytest
import torch
from definition import draw_inputs
from gpu_cases import KINDS, Launch, Place

from kernels.ops import evaluate
from kernels.population import Population
from kernels.programs import program

LARGE = (1024, 256)
TEXTS = (KINDS[0], KINDS[4], KINDS[7])


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.launches(of=lambda text: [Launch(text, torch.float32, LARGE)])
def test_a_function(text: str, place: Place) -> None:
    function = program(text)
    shape = place.shape if place.rehearsal else LARGE
    for order in (0, 1):
        inputs = [i.to(place.device) for i in draw_inputs(function, order, torch.float32, 3, shape)]
        first = evaluate(inputs, text, order, -1, place.backend)
        assert all(t.isfinite().all() for t in first)
        same = torch.ones((), dtype=torch.bool, device=place.device)
        for _ in range(3 if place.rehearsal else 1000):
            for again, once in zip(evaluate(inputs, text, order, -1, place.backend), first, strict=True):
                same &= (again == once).all()
        assert same
        inputs[0] = inputs[0] * (1 + 2.0**-12)  # negative control
        others = evaluate(inputs, text, order, -1, place.backend)
        assert not all(torch.equal(a, b) for a, b in zip(others, first, strict=True))


@pytest.mark.launches(of=lambda: [], groups=lambda: [(TEXTS, 64, 32)])
def test_a_group(place: Place) -> None:
    texts = TEXTS[:2] if place.rehearsal else TEXTS
    slices, shape = (1, (5, 4)) if place.rehearsal else (8, (64, 32))
    population = Population([program(text) for text in texts], slices, place.device)
    x, cotangent = torch.randn(2, len(texts) * slices, *shape).to(place.device)
    scalars = torch.rand(len(x), population.scalars).to(place.device) if population.scalars else None
    channels = torch.rand(len(x), population.channels, shape[1]).to(place.device) if population.channels else None
    values, slope, gradient = (torch.empty_like(x) for _ in range(3))

    def results() -> list[torch.Tensor]:
        kept = population.forward(x, values, slope, scalars, channels)
        sums = population.backward(kept, cotangent, gradient, scalars, channels)
        return [t.clone() for t in (values, gradient, *sums) if t is not None]

    first = results()
    assert all(t.isfinite().all() for t in first)
    same = torch.ones((), dtype=torch.bool, device=place.device)
    for _ in range(2 if place.rehearsal else 1000):
        for again, once in zip(results(), first, strict=True):
            same &= (again == once).all()
    assert same
    x *= 1 + 2.0**-12  # negative control
    assert not torch.equal(results()[0], first[0])
