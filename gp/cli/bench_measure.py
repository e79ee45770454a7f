"""What `gp bench` measures: the kernels of an activation against the ways in which torch computes the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.nn import functional

from gp.cli.bench_cold import Untranslatable, first_call, first_gradient_elsewhere
from gp.timing import Activate, Spread, bytes_kept, interleaved, passes, ratio
from kernels.lowering import lowered
from kernels.module import Activation
from kernels.native import WORTHWHILE

OURS: Final = "ours"
OWN: Final = "torch.nn"
EAGER: Final = "torch eager"
COMPILED: Final = "torch.compile"

PASSES: Final = ("forward", "backward", "both")  # seconds
KEPT: Final = "kept"  # from forward to backward: tensors of x's size
COLD: Final = "cold"  # seconds to the first gradient with nothing compiled before

# Functions that torch.nn has under the same name, with the same defaults.
TORCH_NAMES: Final = frozenset((
    "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "relu", "relu6",
    "selu", "sigmoid", "silu", "softplus", "softshrink", "softsign", "tanh", "tanhshrink",
))  # fmt: skip
_CHANNELS: Final = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure. `compiled`: with torch.compile."""

    sizes: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    rounds: int
    compiled: bool

    @property
    def steps(self) -> int:
        """How many steps `measure` reports for one activation, at most."""
        return 1 + len(self.sizes) * (2 if self.compiled else 1)


@dataclass(frozen=True, slots=True)
class Row:
    """One number: the 20th, 50th and 80th percentile over rounds, and of its ratio to ours, round by round.

    `measure` is one of PASSES, KEPT or COLD.
    """

    expression: str
    program: str
    contender: str
    measure: str
    elements: int
    value: Spread
    ratio: Spread | None

    def as_json(self) -> dict[str, Any]:
        """The row without nesting, for a data frame."""
        low, middle, high = (None,) * 3 if self.ratio is None else (self.ratio.low, self.ratio.median, self.ratio.high)
        return {
            "expression": self.expression,
            "program": self.program,
            "contender": self.contender,
            "measure": self.measure,
            "unit": "tensors" if self.measure == KEPT else "seconds",
            "elements": self.elements,
            "value": self.value.median,
            "value_low": self.value.low,
            "value_high": self.value.high,
            "ratio": middle,
            "ratio_low": low,
            "ratio_high": high,
        }


@dataclass(slots=True)
class Result:
    """What was measured of an activation, and what could not be measured and why."""

    rows: list[Row]
    notes: list[str]


def measure(expression: str, text: str, settings: Settings, on_step: Callable[[str], None]) -> Result:
    """Measure the program `text`, called `expression`; a catalogue function that torch.nn has is measured in torch's form too.

    `on_step` is told what is about to be done.
    """
    notes: list[str] = []
    rows: list[Row] = []
    compiled = settings.compiled
    on_step("compiling from nothing")
    cold = {OURS: first_gradient_elsewhere(text, _shape(settings.sizes[0]), settings.dtype, settings.device)}

    def add(measure: str, size: int, values: Mapping[str, Sequence[float]]) -> None:
        for name, found in values.items():
            against = None if name == OURS else ratio(found, values[OURS])
            rows.append(Row(expression, text, name, measure, size, Spread.of(found), against))

    for size in settings.sizes:
        shape = _shape(size)
        _settle(text, shape[1], settings)
        x, cotangent = _normal(shape, settings, seed=0).requires_grad_(), _normal(shape, settings, seed=1)
        functions, parameters = _contenders(expression, text, x)
        if compiled:
            on_step(f"torch.compile, {size:,} elements")
            try:
                functions[COMPILED], seconds = first_call(functions[EAGER], x, parameters)
                cold.setdefault(COMPILED, seconds)
            except Untranslatable as error:
                notes.append(f"torch.compile is left out: {error}")
                compiled = False
        on_step(f"{size:,} elements")
        smooth = functions[EAGER](x).requires_grad
        work = {name: passes(function, x, cotangent, parameters) for name, function in functions.items()}
        for kind in PASSES if smooth else PASSES[:1]:
            add(kind, size, interleaved({name: by_pass[kind] for name, by_pass in work.items()}, settings.rounds))
        if smooth:
            add(KEPT, size, {name: [bytes_kept(function, x) / x.nbytes] for name, function in functions.items()})
    add(COLD, settings.sizes[0], {name: [seconds] for name, seconds in cold.items()})
    if not smooth:
        notes.append("x has no influence that torch could differentiate: there is no backward pass to measure")
    return Result(rows, notes)


def _contenders(expression: str, text: str, x: torch.Tensor) -> tuple[dict[str, Activate], list[torch.Tensor]]:
    """Ways to compute the function, torch.compile apart, and the parameters that they share."""
    module = Activation(text).to(x.device)
    module(x)  # parameters per channel have no size before
    parameters: list[torch.Tensor] = list(module.parameters())
    plain = lowered(text, 0)
    functions: dict[str, Activate] = {OURS: module}
    if expression in TORCH_NAMES:
        functions[OWN] = getattr(functional, expression)
    functions[EAGER] = lambda x: plain(x, *parameters)
    return functions, parameters


def _settle(text: str, channels: int, settings: Settings) -> None:
    """Run forward and backward on so many elements that the CPU kernels are compiled thoroughly before a clock starts."""
    x = _normal((-(-WORTHWHILE // channels), channels), settings, seed=0).requires_grad_()
    torch.autograd.grad(Activation(text).to(x.device)(x).sum(), x)


def _shape(size: int) -> tuple[int, int]:
    """Rows and channels of so many elements."""
    channels = math.gcd(size, _CHANNELS)
    return size // channels, channels


def _normal(shape: tuple[int, int], settings: Settings, seed: int) -> torch.Tensor:
    """Standard normal numbers, the same each time."""
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return numbers.to(settings.device, settings.dtype)
