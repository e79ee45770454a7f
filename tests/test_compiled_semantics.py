"""What Triton compiles of our kernels, run on NumPy arrays, against the interpreter: the same numbers, bit for bit.

The interpreter runs the text of a kernel, and puts a group's body together with numbers in hand; a GPU runs what Triton's front end takes
the text for, and the operations that the body was put together of. Here each kernel is launched as ever, in the interpreter, and then once
more from its TTIR for sm_90, or a group's TTGIR (`ttir_machine`), with the same arguments. All that either wrote is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from lab_programs import PROGRAMS
from strategies import programs
from test_population import Stack, applied
from torch import Tensor
from triton import knobs
from triton.backends.nvidia.compiler import CUDABackend
from ttir_machine import Machine

from codegen.group import GroupStage
from codegen.instructions import Span
from codegen.operators import FUNCTIONS
from grammar import catalog, format_program
from grammar.tree import Program
from kernels import group_flow, group_launch
from kernels.group_compiler import compile_stage
from kernels.population import Population
from kernels.programs import make_plan, program
from kernels.recent import Recent
from kernels.triton_compiler import NUM_WARPS, Tile, compile_offline
from kernels.triton_launch import GpuKernel

TARGET = "sm_90"
SPECIAL = [0.0, -0.0, 1e-40, -1e-30, 1.0, -1.0, 88.0, -104.0, 3e38, -3e38, np.inf, -np.inf, np.nan, 1e5, -3e7, 1e20]

Argument = Tensor | int


@pytest.fixture(autouse=True, scope="module")
def _front_end_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiling stops at the TTGIR: the stages behind it, which take most of the time, give nothing. Nor is anything kept."""

    def nothing(_backend: object, _module: object, metadata: dict[str, object], *_: object) -> bytes:
        metadata.update(name="", shared=0)
        return b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knobs.cache, "dir", str(tmp_path_factory.mktemp("triton")))
        for name in ("make_llir", "make_ptx", "make_cubin"):
            patch.setattr(CUDABackend, name, nothing)
        # Populations remember their kernels, which are changed here.
        patch.setattr("kernels.population._memory", Recent())
        yield


class Recorded:
    """In place of an interpreted kernel: launches it, and keeps what it was given and what it made of that."""

    def __init__(self, interpreted: Any) -> None:
        self._interpreted = interpreted
        self.launches: list[tuple[tuple[int, ...], Mapping[str, int], list[Argument], list[Argument]]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*arguments: Argument, **constants: int) -> None:
            before = copied(arguments)
            self._interpreted[grid](*arguments, **constants)
            self.launches.append((grid, constants, before, copied(arguments)))

        return launch


def copied(arguments: Sequence[Argument]) -> list[Argument]:
    return [a.detach().clone() if isinstance(a, Tensor) else a for a in arguments]


def differences(kernel: Recorded, ttir: Callable[[Mapping[str, int]], str]) -> list[str]:
    """Run all launches again from the TTIR, which `ttir` gives for the compile-time arguments: where tensors differ then."""
    assert kernel.launches
    found = []
    for number, (grid, constants, before, after) in enumerate(kernel.launches):
        arguments = copied(before)
        Machine(ttir(constants)).launch(grid, [a.numpy().reshape(-1) if isinstance(a, Tensor) else a for a in arguments])
        for k, (got, wanted) in enumerate(zip(arguments, after, strict=True)):
            if isinstance(got, Tensor) and isinstance(wanted, Tensor):
                bits = torch.int64 if got.dtype == torch.float64 else torch.int32
                different = (got.view(bits) != wanted.view(bits)) & ~(got.isnan() & wanted.isnan())
                if different.any():
                    first = different.nonzero()[0].tolist()
                    found.append(f"launch {number}, argument {k}: {int(different.sum())} of {got.numel()} elements, {first} first")
    return found


def compiled_stage(stage: GroupStage) -> Callable[[Mapping[str, int]], str]:
    """The TTGIR of a group's stage, which has the body in its place."""

    def ttgir(constants: Mapping[str, int]) -> str:
        rows, channels = (1, constants["BLOCK"]) if stage.flat else (constants["BLOCK_ROWS"], constants["BLOCK_CHANNELS"])
        return str(compile_stage(stage, TARGET, Tile(rows, channels, NUM_WARPS)).asm["ttgir"])

    return ttgir


def record(population: Population) -> list[tuple[GroupStage, Recorded]]:
    """Make the kernels of a population keep what they do from now on."""
    kernels = [kernel for direction in population.directions for kernel in direction.kernels]
    for kernel in kernels:
        if isinstance(kernel._group.function, Recorded):
            kernel._group.function.launches.clear()
        else:
            kernel._group.function = Recorded(kernel._group.function)
    return [(kernel.stage, kernel._group.function) for kernel in kernels]


def all_differences(stack: Stack) -> dict[str, list[str]]:
    """By stage, of a stack's way forward and back."""
    kernels = record(stack.population)
    stack.run()
    return {stage.name: differences(kernel, compiled_stage(stage)) for stage, kernel in kernels}


def run_operators() -> tuple[GroupStage, Recorded, Tensor]:
    """Each operator and a few entries of the catalogue as one group, run in the interpreter; values and slopes."""
    texts = [applied(o) for o in FUNCTIONS.values() if not any(o.boolean_arguments)]
    texts += [catalog.entry(name).text for name in ("mish", "gelusine", "selu", "gelu_sinc_perturbation")]
    x = torch.cat([torch.tensor(SPECIAL), torch.linspace(-12, 12, 128 - len(SPECIAL))]).reshape(1, 8, 16)
    population = Population([program(text) for text in texts], 1, "cpu")
    ((stage, kernel),) = record(population)
    results = torch.full((2, len(texts), 8, 16), torch.nan)
    population.forward(x.repeat(len(texts), 1, 1), results[0], results[1])
    return stage, kernel, results


def test_every_operator() -> None:
    stage, kernel, _ = run_operators()
    assert differences(kernel, compiled_stage(stage)) == []


def test_a_variable_that_a_loop_does_not_change_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the compiler's loops keep the last of their variables as it was, as a front end that missed it would."""
    plain = group_flow._CompilerFlow.repeat

    def forgetful(self: Any, count: Any, values: Sequence[Any], body: Callable[[list[Any]], Sequence[Any]]) -> list[Any]:
        return plain(self, count, values, lambda state: [*list(body(state))[:-1], state[-1]])

    monkeypatch.setattr(group_flow._CompilerFlow, "repeat", forgetful)
    monkeypatch.setattr(knobs.compilation, "always_compile", True)
    stage, kernel, _ = run_operators()
    assert differences(kernel, compiled_stage(stage))


def test_a_group_with_everything() -> None:
    """All programs in one group, each stage of both directions; sums over each span are among them. Of two slices one has infinities."""
    stack = Stack(list(PROGRAMS.values()), slices=2, shape=(9, 6))
    stack.x[1::2, :2] = torch.tensor(SPECIAL[:12]).reshape(2, 6)
    stages = [kernel.stage for direction in stack.population.directions for kernel in direction.kernels]
    assert all(any(stage.outputs[span] for stage in stages) for span in Span)
    assert all_differences(stack) == {stage.name: [] for stage in stages}


@pytest.mark.parametrize("programs_left", [1, 1 << 20], ids=["one program a slice", "one program a tile"])
@pytest.mark.parametrize("name", ["pointwise", "everything"])
def test_any_cut(name: str, programs_left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several tiles a program or several programs a slice."""
    monkeypatch.setattr(group_launch, "PROGRAMS", programs_left)
    assert not any(all_differences(Stack([PROGRAMS[name]], slices=2, shape=(140, 10))).values())


@settings(max_examples=15, phases=(Phase.explicit, Phase.generate))  # a smaller example would take minutes to find
@given(programs(), programs())
def test_groups_of_random_programs(one: Program, other: Program) -> None:
    stack = Stack([format_program(p) for p in (one, other)], slices=1, shape=(5, 4))
    stack.x.view(-1)[: len(SPECIAL)] = torch.tensor(SPECIAL)
    assert not any(all_differences(stack).values())


SINGLE = {
    "gelusine": catalog.entry("gelusine").text,
    "parameters per channel": PROGRAMS["scalar and channel"],
    "shifted parameter": PROGRAMS["shift of a parameter"],
    "statistics": PROGRAMS["nested statistics"],
}


@pytest.mark.parametrize("order", [0, 1], ids=["forward", "backward"])
@pytest.mark.parametrize("name", SINGLE)
def test_single_kernels(name: str, order: int) -> None:
    """Every stage of one expression on a tensor of 9 x 6, whose last elements are a launch of their own where the kernel is flat."""
    rows, channels = 9, 6
    shapes: dict[Span, tuple[int, ...]] = {Span.ELEMENT: (rows, channels), Span.ROW: (rows,), Span.CHANNEL: (channels,), Span.SCALAR: ()}
    for stage in make_plan(program(SINGLE[name]), order, "f32").stages:
        compiled = compile_offline(stage.kernel, TARGET)
        kernel = GpuKernel(stage.kernel, interpret=True, tile=compiled.tile)
        kernel._function = Recorded(kernel._function)
        inputs = [torch.randn(shapes[i.span]) for i in stage.kernel.inputs]
        for item, tensor in zip(stage.kernel.inputs, inputs, strict=True):
            if item.span is Span.ELEMENT and stage.kernel.flat:  # an infinity would hide what else a mean is made of
                tensor.view(-1)[: len(SPECIAL)] = torch.tensor(SPECIAL)
        kernel(inputs, rows, channels)
        assert differences(kernel._function, lambda _, text=str(compiled.asm["ttir"]): text) == []  # type: ignore[misc]


def test_what_the_machine_does_not_know_is_refused() -> None:
    """And what is approximate on a GPU, which would be found equal here."""

    def run(line: str) -> None:
        lines = ["tt.func public @f() {", "%x = arith.constant 2.5 : f32", f"%0 = {line} : f32", "tt.return", "}"]
        Machine("\n".join(["module {", *("  " + text for text in lines), "}"])).launch((1,), [])

    run("arith.addf %x, %x")
    for line, what in (("arith.frobnicate %x", "unknown"), ("arith.cmpf ueq, %x, %x", "unknown"), ("arith.divf %x, %x", "approximate")):
        with pytest.raises(NotImplementedError, match=what):
            run(line)
