"""Nothing becomes float64 on the way to a GPU, where float64 takes half of the bandwidth or worse: read from the PTX, for all types.

A number of Python's that becomes an argument of a kernel is the usual way for that to happen.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import triton
from lab_programs import PROGRAMS
from triton.compiler import ASTSource

from bench.programs import random_programs
from codegen.group import GroupStage, group
from codegen.instructions import Span
from codegen.kernel import Kernel, Storage
from grammar import catalog
from kernels.group_compiler import compile_stage, group_tile
from kernels.programs import SLOPE, make_plan, program
from kernels.triton_compiler import TARGETS, compile_offline, load, pointer_types

TARGET = "sm_90"
STORED: dict[Storage, str] = {"f32": "*fp32", "f64": "*fp64", "bf16": "*bf16", "f16": "*fp16"}
NARROW: tuple[Storage, ...] = ("f32", "bf16", "f16")
# With constants in all places where a program can have them.
CONSTANTS = {
    "pointwise": "x*sigmoid(1.3*x) + 0.7*abs(x - 0.45)",
    "parameters": "param b = 1.7; param s[channel] = 0.3; x*tanh(b*x + 0.3)*s",
    "statistics": "z = (x - 0.9*mean(1.3*x))/(std(x, over=features) + 0.1); z*sigmoid(1.2*z)",
    "shift": "silu(1.2*x) + 0.1*shift(0.7*x, 1)",
    "branch": "where(x > 0.3, 1.7*x, 0.2*sin(3.1*x))",
}
TEXTS = {**CONSTANTS, **PROGRAMS, **{f"random {k}": text for k, text in enumerate(random_programs(12, 5, 20, seed=8))}}


def wide(ptx: str) -> set[str]:
    """The instructions on float64."""
    return set(re.findall(r"(?<![\w.%])[a-z]\w*(?:\.\w+)*\.f64(?:\.\w+)*", ptx))


def allowed(kernel: Kernel) -> set[str]:
    """What a kernel is to do in float64: sums, in which case numbers are made wider and added; and what `pow` and `cbrt` do there."""
    found: set[str] = set()
    if any(o.span is not Span.ELEMENT for o in kernel.outputs):
        found |= {"add.rn.f64", "sub.rn.f64", "selp.f64", "mov.f64", "cvt.f64.f32", "cvt.f64.bf16", "cvt.f64.f16"}
    if any(kernel.block.instructions[i].type == "f64" for i in kernel.live()):
        found |= {"any"}
    return found


def kernels(text: str, storage: Storage) -> Iterator[Kernel]:
    for order in (0, 1):
        for stage in make_plan(program(text), order, storage).stages:
            yield stage.kernel


def faults(kernel: Kernel) -> set[str]:
    """The instructions on float64 that it should not have, and tensors or scalars of another type than its own."""
    right = allowed(kernel)
    found = set() if "any" in right else wide(str(compile_offline(kernel, TARGET).asm["ptx"])) - right
    own = {STORED[kernel.storage], STORED["f64" if kernel.storage == "f64" else "f32"]}
    sums = {f"out{k}" for k, o in enumerate(kernel.outputs) if o.span is not Span.ELEMENT}
    return found | {f"{name} {type}" for name, type in pointer_types(kernel).items() if name not in sums and type not in own}


@pytest.mark.parametrize("storage", NARROW)
@pytest.mark.parametrize("name", TEXTS)
def test_single_kernels(name: str, storage: Storage) -> None:
    found = list(kernels(TEXTS[name], storage))
    assert not any("any" in allowed(kernel) for kernel in found) or name not in CONSTANTS
    for kernel in found:
        assert faults(kernel) == set()


@pytest.mark.parametrize("name", catalog.names()[::6])
def test_functions_of_the_catalogue(name: str) -> None:
    for kernel in kernels(catalog.entry(name).text, "bf16"):
        assert faults(kernel) == set()


def test_float64_is_computed_in_float64() -> None:
    for kernel in kernels(CONSTANTS["pointwise"], "f64"):
        assert faults(kernel) == set()
        ptx = str(compile_offline(kernel, TARGET).asm["ptx"])
        assert "mul.rn.f64" in wide(ptx)
        assert not re.search(r"\b(?:mul|add|fma|div)\.rn\.f32\b", ptx)


def stage(texts: list[str], order: int) -> GroupStage:
    functions = [program(text) for text in texts]
    plans = [make_plan(f, order, "f32", outlined=True) for f in functions]
    return group("test", plans, [f.parameters for f in functions]).stages[-1]


@pytest.mark.parametrize(("names", "order"), [(("pointwise", "branch"), SLOPE), (("parameters",), 0), (("shift",), 1)])
def test_groups(names: tuple[str, ...], order: int) -> None:
    made = stage([CONSTANTS[name] for name in names], order)
    assert wide(str(compile_stage(made, TARGET, group_tile(made, 32, 32)).asm["ptx"])) <= {"sqrt.rn.f64"}


def test_constants_are_held_in_the_type_that_is_computed_in() -> None:
    """0.1 in float32 where that is the type: no wider number comes before it."""
    kernel = next(kernels("x + 0.1*sin(x)^3", "bf16"))
    ptx = str(compile_offline(kernel, TARGET).asm["ptx"])
    assert "ld.global.b32" in ptx
    assert f"{struct.unpack('<Q', struct.pack('<d', 0.1))[0]:X}" not in ptx


def test_an_argument_of_float64_shows(tmp_path: Path) -> None:
    """Negative control: the same kernel with a number that is passed as float64."""
    text = """
import triton
import triton.language as tl


@triton.jit
def scaled(in0, out0, scale, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out0 + offsets, (tl.load(in0 + offsets, offsets < n) * scale).to(tl.float32), offsets < n)
"""

    def compiled(type: str) -> set[str]:
        signature = {"in0": "*fp32", "out0": "*fp32", "scale": type, "n": "i32", "BLOCK": "constexpr"}
        source = ASTSource(load(text).scaled, signature, constexprs={"BLOCK": 1024})
        return wide(triton.compile(source, target=TARGETS[TARGET], options={"num_warps": 4}).asm["ptx"])

    assert compiled("fp32") == set()
    assert {"cvt.f64.f32", "mul.f64", "cvt.rn.f32.f64"} & compiled("fp64")
