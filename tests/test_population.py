"""Groups of expressions on a stack of slices, in Triton's interpreter: each slice against its expression alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from lab_programs import PROGRAMS
from strategies import programs
from torch import Tensor

from codegen.function import with_learnable_constants
from codegen.operators import FUNCTIONS, Operator
from grammar import catalog, format_program
from grammar.tree import Program
from kernels import group_launch
from kernels.module import activation
from kernels.native import constants_of
from kernels.population import Population, direction
from kernels.programs import SLOPE, make_plan, program
from kernels.triton_launch import GpuKernel

POINTWISE = ["gelu(x) + 0.1*sin(3*x)", "relu(x)", "x", "x*tanh(exp(x))", "0.5", "where(x < -0.3, 0.1*x, x^3 - x)", "erf(x)/(1 + abs(x))"]


class Stack:
    """Some slices for each of some texts, with random values, cotangents and parameters, and what a population makes of them."""

    def __init__(self, texts: Sequence[str], slices: int = 2, shape: tuple[int, int] = (9, 6)) -> None:
        self.functions = [program(text) for text in texts]
        self.population = Population(self.functions, slices, "cpu")
        self.slices = slices
        count = len(texts) * slices
        rng = torch.Generator().manual_seed(5)
        self.x, self.cotangent = (torch.randn(count, *shape, generator=rng) for _ in "xg")
        p = self.population
        self.scalars = torch.randn(count, p.scalars, generator=rng) if p.scalars else None
        self.channels = torch.randn(count, p.channels, shape[1], generator=rng) if p.channels else None

    def run(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Values, and the gradients with respect to x, scalars and channels."""
        values, slope, gradient = (torch.full_like(self.x, torch.nan) for _ in range(3))
        kept = self.population.forward(self.x, values, slope, self.scalars, self.channels)
        return values, gradient, *self.population.backward(kept, self.cotangent, gradient, self.scalars, self.channels)

    def expected(self, k: int, slice_: int) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        """The same of one slice by torch.autograd in float64; gradients of scalars and of channels as lists."""
        at = k * self.slices + slice_
        module = activation(format_program(self.functions[k].function.program), backend="eager").double()
        x = self.x[at].double().requires_grad_()
        module(x)  # parameters per channel learn their size
        own: dict[bool, list[Tensor]] = {False: [], True: []}
        for parameter in self.functions[k].parameters:
            tensor = dict(module.named_parameters())[parameter.name]
            given_ = self.channels if parameter.per_channel else self.scalars
            assert given_ is not None
            tensor.data = given_[at, len(own[parameter.per_channel])].double().reshape(tensor.shape)
            own[parameter.per_channel].append(tensor)
        y = module(x)
        if y.requires_grad:
            (y * self.cotangent[at].double()).sum().backward()
        gradients = {kind: [torch.zeros_like(t) if t.grad is None else t.grad for t in found] for kind, found in own.items()}
        return y.detach(), torch.zeros_like(x) if x.grad is None else x.grad, gradients[False], gradients[True]

    def error(self, k: int) -> float:
        """The largest difference of an expression's results from what is expected, relative to the largest number of its kind, or 1."""
        values, gradient, scalars, channels = self.run()
        worst = 0.0
        for s in range(self.slices):
            at = k * self.slices + s
            expected = self.expected(k, s)
            pairs = [(values[at], expected[0]), (gradient[at], expected[1])]
            pairs += [(scalars[at, i], t) for i, t in enumerate(expected[2]) if scalars is not None]
            pairs += [(channels[at, i], t) for i, t in enumerate(expected[3]) if channels is not None]
            worst = max([worst, *(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in pairs)])
        return worst


@pytest.fixture(scope="module")
def everything() -> Stack:
    """All programs in one group: every kind of slot and as many levels of means as any of them has."""
    stack = Stack(list(PROGRAMS.values()))
    results = stack.run()
    stack.run = lambda: results  # type: ignore[method-assign]
    return stack


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_expression_of_a_mixed_group(name: str, everything: Stack) -> None:
    assert everything.error(list(PROGRAMS).index(name)) < 5e-6


def test_unequal_expressions_show() -> None:
    """Negative control: another expression's results are not taken for an expression's own."""
    stack = Stack(POINTWISE[:2])
    stack.functions.reverse()
    assert min(stack.error(0), stack.error(1)) > 1e-2


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (5, 2), (70, 3), (40, 40), (3, 300)], ids=str)
@pytest.mark.parametrize("name", ["pointwise", "everything"])
def test_any_shape(name: str, shape: tuple[int, int]) -> None:
    stack = Stack([PROGRAMS[name]], slices=1, shape=shape)
    assert stack.error(0) < 5e-6


@pytest.mark.parametrize("programs_left", [1, 1 << 20], ids=["one program a slice", "one program a tile"])
def test_any_cut(programs_left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_launch, "PROGRAMS", programs_left)
    for name in ("pointwise", "everything"):
        assert Stack([PROGRAMS[name]], slices=2, shape=(40, 40)).error(0) < 5e-6


def applied(operator: Operator) -> str:
    """A program in which an operator is applied to x, and to constants if it has more arguments."""
    return f"{operator.name}({', '.join(['x', '0.7', '1.3'][: operator.arity])})"


def test_every_operator_is_that_of_the_single_kernels_bit_for_bit() -> None:
    """Where a group calls a function, a kernel of its own spells it out: the same instructions, the same roundings."""
    special = [0.0, -0.0, 1e-40, -1e-30, 1.0, -1.0, 88.0, -104.0, 3e38, -3e38, np.inf, -np.inf, np.nan]
    x = torch.cat([torch.tensor(special), torch.linspace(-12, 12, 51)]).reshape(1, 8, 8)
    texts = [applied(o) for o in FUNCTIONS.values() if not any(o.boolean_arguments)]
    texts += [catalog.entry(name).text for name in ("mish", "gelusine", "selu", "gelu_sinc_perturbation")]
    functions = [program(text) for text in texts]
    values, slope = torch.empty(2, len(texts), 8, 8)
    Population(functions, 1, "cpu").forward(x.repeat(len(texts), 1, 1), values, slope)
    for k, function in enumerate(functions):
        stage = make_plan(function, SLOPE, "f32").stages[-1]
        constants = constants_of(stage.tape, stage.tape_roots)(function.constants)
        inputs = [x if i.constant is None else constants[i.constant] for i in stage.kernel.inputs]
        for got, wanted in zip((values[k], slope[k]), GpuKernel(stage.kernel, interpret=True)(inputs, 1, 64), strict=True):
            np.testing.assert_array_equal(got.numpy(), wanted.reshape(8, 8).numpy(), err_msg=texts[k])


def test_a_slice_does_not_depend_on_its_company() -> None:
    alone, among = Stack([PROGRAMS["nested statistics"]]), Stack([PROGRAMS["nested statistics"], *list(PROGRAMS.values())[4:8]])
    among.x[:2], among.cotangent[:2] = alone.x, alone.cotangent
    for a, b in zip(alone.run()[:2], among.run()[:2], strict=True):
        assert torch.equal(a, b[:2])


def test_constants_are_arguments() -> None:
    """Expressions that differ in constants alone share one kernel, and a group with other constants as well."""
    texts = ["x*tanh(1.3*x)", "x*tanh(0.7*x)"]
    stack = Stack(texts)
    assert len(stack.population.directions[0].kernels[0].stage.members) == 1
    assert Population([program("x*tanh(2.9*x)")], 3, "cpu").directions[0] is stack.population.directions[0]
    assert max(stack.error(0), stack.error(1)) < 2e-6
    assert not torch.equal(stack.run()[0][0], Stack(texts[::-1]).run()[0][0])


def test_gradients_of_constants() -> None:
    """Constants that are made learnable, against the program with parameters in their place."""
    texts = ["x*tanh(1.3*x) - 0.7*sin(1.3*x)", "param b = 0.4; gelu(b*x + 0.3) + 3^x"]
    as_parameters = [
        "param p = 1.3; param q = 0.7; x*tanh(p*x) - q*sin(p*x)",
        "param b = 0.4; param d = 3; param c = 0.3; gelu(b*x + c) + d^x",
    ]
    functions = [with_learnable_constants(program(text)) for text in texts]
    assert [tuple(p.initial for p in f.parameters) for f in functions] == [(1.3, 0.7), (0.4, 3.0, 0.3)]
    reference = Stack(as_parameters)
    stack = Stack(texts)
    stack.population = Population(functions, 2, "cpu")
    stack.scalars = reference.scalars = 0.2 + torch.rand(4, 3)
    expected, found = reference.run(), stack.run()
    for k, text in enumerate(as_parameters):
        assert reference.error(k) < 5e-6
        count = len(program(text).parameters)
        assert found[2] is not None
        assert expected[2] is not None
        rows = slice(2 * k, 2 * k + 2)
        for got, wanted in zip(found[:2], expected[:2], strict=True):
            torch.testing.assert_close(got[rows], wanted[rows])
        torch.testing.assert_close(found[2][rows, :count], expected[2][rows, :count])


@settings(max_examples=12, phases=(Phase.explicit, Phase.generate))  # a smaller example would take minutes to find
@given(programs(), programs())
def test_groups_of_random_programs(one: Program, other: Program) -> None:
    stack = Stack([format_program(p) for p in (one, other)], slices=1, shape=(5, 4))
    assert max(stack.error(0), stack.error(1)) < 1e-4


def test_what_does_not_fit_is_refused() -> None:
    stack = Stack([PROGRAMS["scalar and channel"]])
    p, x = stack.population, stack.x
    for bad, what in ((x[:1], "rows, channels"), (x.double(), "values must be"), (x[0], "rows, channels")):
        with pytest.raises(ValueError, match=what):
            p.forward(x if what == "values must be" else bad, bad, None, stack.scalars, stack.channels)
    with pytest.raises(ValueError, match="scalars must be"):
        p.forward(x, torch.empty_like(x), None, None, stack.channels)


def test_directions_are_remembered_by_structure() -> None:
    functions = [program("x*tanh(1.3*x)")]
    assert direction(functions, 0, True) is direction([program("x*tanh(9*x)")], 0, True)
    assert direction(functions, 0, True) is not direction([program("x*tanh(x)")], 0, True)
