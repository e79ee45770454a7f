"""The float64 definition of a program's derivative of any order, inputs to compare with it at, and a wrong derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codegen.asymptotics import guard_products
from codegen.function import Activation, derived, signature
from codegen.graph import topological
from codegen.instructions import Span
from codegen.numpy import evaluate


class Exact(NamedTuple):
    """A result in float64, the largest intermediate value, and how many elements each of its numbers is a sum of."""

    value: NDArray[np.float64]
    scale: float
    summed: int


def reference(function: Activation, order: int, inputs: Sequence[NDArray[Any]]) -> list[Exact]:
    """The results of that order, sums included. The first input is x, rows x channels."""
    values = _named(function, order, inputs)
    rows, channels = inputs[0].shape
    everything = intermediates(function, order, inputs)
    scale = max((float(np.abs(v[np.isfinite(v)]).max(initial=0.0)) for v in everything), default=0.0)
    found = []
    for result in derived(function, order):
        value = np.broadcast_to(evaluate([result.node], values, function.constants)[0], (rows, channels))
        with np.errstate(invalid="ignore"):
            if result.span is Span.CHANNEL:
                found.append(Exact(value.sum(0), scale, rows))
            elif result.span is Span.SCALAR:
                found.append(Exact(value.sum(), scale, rows * channels))
            else:
                found.append(Exact(value, scale, 1))
    return found


def intermediates(function: Activation, order: int, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float64]]:
    """All real values on the way to the results."""
    reals = [n for n in topological([r.node for r in derived(function, order)]) if not n.boolean]
    return evaluate(reals, _named(function, order, inputs), function.constants)


def _named(function: Activation, order: int, inputs: Sequence[NDArray[Any]]) -> dict[str, NDArray[np.float64] | float]:
    names = signature(function.parameters, order).inputs
    return {name: value.astype(np.float64) for (name, _), value in zip(names, inputs, strict=True)}


def draw_inputs(function: Activation, order: int, dtype: torch.dtype, seed: int, shape: tuple[int, int]) -> list[torch.Tensor]:
    """Normal numbers for x, cotangents and parameters; a parameter called beta is positive."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {Span.ELEMENT: shape, Span.CHANNEL: shape[1:], Span.SCALAR: ()}
    parameter_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    inputs = []
    for name, span in signature(function.parameters, order).inputs:
        value = 2 * torch.randn(shapes[span], generator=generator, dtype=torch.float64)
        inputs.append(value.to(dtype if span is Span.ELEMENT else parameter_dtype) if name != "beta" else value.abs().to(parameter_dtype))
    return inputs


def with_slope(function: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function of x with `slope(x)` for its derivative: a wrong one for negative controls."""

    class Replaced(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return function(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return g * slope(ctx.saved_tensors[0])

    return Replaced.apply


def guarded_reference(function: Activation, order: int, inputs: Sequence[NDArray[Any]], dtype: torch.dtype) -> NDArray[np.float64]:
    """The first result of that order where products are guarded as a backend has them, which is what counts at the edges; in float64, with
    the constants that the dtype is computed with, and rounded to it."""
    wide = dtype == torch.float64
    constants = function.constants if wide else [float(np.float32(c)) for c in function.constants]
    roots = guard_products([derived(function, order)[0].node])
    value = evaluate(roots, _named(function, order, inputs), constants)[0]
    return torch.from_numpy(np.broadcast_to(value, inputs[0].shape).copy()).to(dtype).double().numpy()
