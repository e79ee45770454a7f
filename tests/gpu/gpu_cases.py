"""What the tests in this folder run: the catalogue, 100 random programs, a few programs of each kind, and how results are compared."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from definition import Exact, draw_inputs, intermediates, reference
from tolerances import TOLERANCE, assert_same

from bench.programs import random_program
from codegen.function import signature
from codegen.instructions import Span
from grammar import catalog
from kernels.lowering import lowered
from kernels.ops import evaluate
from kernels.programs import program

CATALOGUE: Final = catalog.names()
RANDOM: Final = 100  # half of them pointwise, half whole programs
DTYPES: Final = tuple(TOLERANCE)
SHAPE: Final = (32, 48)  # 16 divides both and their product; no tile of 1024 elements, nor of 64 channels, is full
ODD_SHAPE: Final = (7, 45)
MATRIX: Final = (4, 8)
# One or two programs of each kind.
KINDS: Final = (
    "gelu(x) + 0.1*sin(x)",
    "x*(1 + 0.5*sinc(x))",
    "param beta = 0.7; x*sigmoid(beta*x)",
    "param slope[channel] = 0.25; where(x > 0, x, slope*x)",
    "z = (x - mean(x))/(std(x) + 1e-6); z*exp(-z^2)",
    "x*sigmoid(rms(x, over=features) - mean(x^2, over=batch))",
    "x*tanh(shift(x, 1) - 0.5*shift(x, -2))",
    "param s[channel] = 0.5; param b = 1.5; shift(s*x, 1)*x + b*sin(2.5*x)",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where kernels run: `shape` is that of an ordinary tensor."""

    device: str
    backend: str
    shape: tuple[int, int]

    @property
    def rehearsal(self) -> bool:
        return self.device == "cpu"


@dataclass(frozen=True, slots=True)
class Launch:
    """Kernels that a test will launch, so that they can be compiled ahead. `on_cpu`: those of the CPU as well."""

    text: str
    dtype: torch.dtype
    shape: tuple[int, int] = SHAPE
    orders: tuple[int, ...] = (0, 1)
    on_cpu: bool = True


@functools.cache
def random_text(number: int) -> str:
    """A random program by its number. One that float32 cannot compute is replaced by the next with this number."""
    for attempt in range(100):
        rng = random.Random(f"{number} {attempt}")
        text = random_program(rng.randint(3, 20), rng, rng) if number < RANDOM // 2 else _whole_program(rng)
        if is_well_conditioned(text):
            return text
    raise AssertionError(f"no program {number} is well-conditioned")


def _whole_program(rng: random.Random) -> str:
    """Two to six of: parameters of both kinds, a local function, a statistic, a shift, a loop; around random expressions."""

    def expression(variable: str = "x") -> str:
        return re.sub(r"\bx\b", variable, random_program(rng.randint(1, 4), rng, rng))

    statements, uses = [], [expression()]
    for kind in rng.sample(("beta", "slope", "def", "statistic", "shift", "repeat"), rng.randint(2, 6)):
        if kind == "beta":
            statements.append(f"param beta = {rng.choice((0.25, 0.5, 1.0))}")
            uses.append(f"tanh(beta*{expression()})")
        elif kind == "slope":
            statements.append(f"param slope[channel] = {rng.choice((0.25, 0.5, 1.0))}")
            uses.append(f"slope*{expression()}")
        elif kind == "def":
            statements.append(f"def bump(t) = {expression('t')}")
            uses.append(f"bump({expression()})")
        elif kind == "statistic":
            over, which = rng.choice(("tensor", "features", "batch")), rng.choice(("mean", "var", "std", "rms"))
            statements.append(f"mu = {which}({expression()}, over={over})")
            uses.append("x*sigmoid(mu)")
        elif kind == "shift":
            uses.append(f"shift({expression()}, {rng.choice((1, -2))})")
        else:
            statements.append(f"u = 0.3; repeat {rng.randint(1, 4)} {{ u = 3.7*u*(1 - u) }}")
            uses.append("sin(u*x)")
    return "; ".join([*statements, " + ".join(uses)])


def is_well_conditioned(text: str, limit: float = 1e4) -> bool:
    """Whether plain torch in float32 comes four times as close to the definition as kernels have to, at the inputs of all types, and no
    value on the way is larger than `limit`, nor infinite. It must be a number at half of the inputs at least."""
    function = program(text)
    for dtype in DTYPES:
        if dtype == torch.float64:  # has the numbers of float32, nearly
            continue
        inputs = draw_inputs(function, 1, dtype, 3, SHAPE)
        expected = [results[0] for results in (exact(text, 0, inputs[:-1]), exact(text, 1, inputs))]
        if any(e.scale > limit or np.isfinite(e.value).mean() < 0.5 for e in expected):
            return False
        if any(np.isinf(v).any() for v in intermediates(function, 1, [i.double().numpy() for i in inputs])):
            return False
        x, *parameters, cotangent = (i.float() for i in inputs)
        y = lowered(text, 0)(x.requires_grad_(), *parameters)
        (slope,) = torch.autograd.grad(y, x, cotangent)
        try:
            for actual, (value, scale, _) in zip((y.detach(), slope), expected, strict=True):
                finite = np.isfinite(value)
                bound = 0.25 * TOLERANCE[torch.float32].absolute * max(1.0, scale)
                np.testing.assert_allclose(actual.double().numpy()[finite], value[finite], rtol=5e-6, atol=bound)
        except AssertionError:
            return False
    return True


def exact(text: str, order: int, inputs: Sequence[torch.Tensor]) -> list[Exact]:
    """The definition at tensors of any type and device."""
    return reference(program(text), order, [i.detach().cpu().double().numpy() for i in inputs])


def check(text: str, order: int, dtype: torch.dtype, place: Place, shape: tuple[int, int], compared_with: str = "") -> bool:
    """Compare with the definition (of `compared_with`, if that is given, for a negative control), and in float32 with the CPU's
    kernels. Says whether they have the same bits."""
    function = program(text)
    inputs = draw_inputs(function, order, dtype, 3, shape)
    found = evaluate([i.to(place.device) for i in inputs], text, order, -1, place.backend)
    spans = signature(function.parameters, order).results
    for actual, wanted, span in zip(found, exact(compared_with or text, order, inputs), spans, strict=True):
        assert_exact(actual, wanted, dtype if span is Span.ELEMENT else _computed(dtype))
    if dtype != torch.float32:
        return False
    on_cpu = evaluate(inputs, text, order, -1, "llvm")
    for actual, other, wanted in zip(found, on_cpu, exact(text, order, inputs), strict=True):
        assert_same(as_numpy(actual), as_numpy(other), dtype, wanted.scale * wanted.summed)
    return all(same_bits(a.cpu(), b) for a, b in zip(found, on_cpu, strict=True))


def assert_exact(actual: torch.Tensor, wanted: Exact, dtype: torch.dtype) -> None:
    """Compare a result with the definition, which is first rounded to its type: it may be too large for it, and is infinity then.

    What cancels on the way does so in the type of computation, so errors that are not relative are in proportion to its precision.
    """
    rounded = torch.from_numpy(np.array(wanted.value)).to(dtype)
    finer = TOLERANCE[_computed(dtype)].absolute / TOLERANCE[dtype].absolute
    scale = wanted.scale * np.sqrt(wanted.summed) * finer
    assert_same(as_numpy(actual), as_numpy(rounded), dtype, scale)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether all numbers are the same, and NaN where the other is NaN."""
    return torch.equal(a.nan_to_num(7.0, torch.inf, -torch.inf), b.nan_to_num(7.0, torch.inf, -torch.inf)) and torch.equal(
        a.isnan(), b.isnan()
    )


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _computed(dtype: torch.dtype) -> torch.dtype:
    """The type that kernels compute in."""
    return torch.float64 if dtype == torch.float64 else torch.float32
