"""`python -m bench.gpu_functions`: machine instructions of elementary functions on GPUs, the compiler's own beside ours.

Each function is compiled in the same kernel of 8 elements a thread, without a mask, and the instructions of the kernel that only copies
are taken off. "on the way" counts what runs when no rare branch is taken: the shortest way through the code. sin and cos of large arguments
and quotients near the ends of the range take another; `libdevice.tanh`, and on AMD `tl.erf`, branch below |x| = 1, so that a warp with
numbers on both sides runs all of its code. "all" counts the code, every branch included. "elements a clock" is what a multiprocessor can
make of the instructions on the way (`kernels.gpus.Gpu.clocks`); memory allows 1.6 on an H100 and 1.0 on an MI300X, one float32 read and
one written. Nothing is timed.

Error bounds in ulp, all of float32 if nothing else is said. Ours: `tests/test_elementary.py`. The library's: the largest distance from the
correctly rounded result, found by trying every float32 number (LLVM libc, "GPU Conformance", CUDA Math and HIP Math), plus the half ulp of
that rounding. `tl.exp` is 2^(x*log2(e)) by the special function unit: rounding log2(e) and the product makes up to 1.3|x| ulp of the
result, and the unit adds 2 (PTX ISA, ex2.approx; AMD CDNA 3 ISA, V_EXP_F32: 1). Bounds of the quotients 1/(1 + exp(-x)), which is also what
`tl.sigmoid` is, are the sums of their steps'.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import triton
import typer
from rich.console import Console
from rich.table import Table
from triton.compiler import ASTSource

from codegen.instructions import Block, Span
from codegen.kernel import Input, Kernel, Output
from codegen.operators import OPERATORS
from codegen.triton import print_kernel
from kernels.gpus import BY_TARGET
from kernels.report import KINDS, Report, kinds, read
from kernels.triton_compiler import NUM_WARPS, TARGETS, compile_options, load, load_function

_TARGETS: Final = ("sm_90", "gfx942")
_ELEMENTS: Final = 8
_SOURCE: Final = """\
import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit
def kernel(in0, out0, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(in0 + offsets).to(tl.float32)
    tl.store(out0 + offsets, {})
"""


@dataclass(frozen=True, slots=True)
class Function:
    """One function: its operator, the largest error of ours in ulp, and other spellings with the errors of each on NVIDIA and AMD."""

    name: str
    ours: str
    others: tuple[tuple[str, str, str], ...]


FUNCTIONS: Final = (
    Function("exp", "1.6", (("libdevice.exp(x)", "2.5", "1.5"), ("tl.exp(x)", "2 + 1.3|x|", "1 + 1.3|x|"))),
    Function("log", "1.3", (("tl.log(x)", "1.5", "2.5"),)),
    Function("sin", "2.8; 1e-6 beyond 1e5", (("tl.sin(x)", "1.5", "2.5"),)),
    Function("cos", "2.7; 1e-6 beyond 1e5", (("tl.cos(x)", "2.5", "2.5"),)),
    Function("tanh", "4", (("libdevice.tanh(x)", "2.5", "1.5"),)),
    Function("erf", "4", (("tl.erf(x)", "1.5", "2.5"),)),
    Function("sigmoid", "3.2", (("tl.sigmoid(x)", "4 + 1.3|x|", "3 + 1.3|x|"), ("1/(1 + libdevice.exp(-x))", "5", "4"))),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Instructions an element, without those of a copy. `way`: by kind, on the shortest way; `code`: of all the code."""

    way: dict[str, float]
    code: float
    local_bytes: int

    @property
    def instructions(self) -> float:
        return sum(self.way.values())


def cost(report: Report, copy: Report) -> Cost:
    """What the function costs in the kernel of that report."""
    counts, base = (kinds(shortest(r), r.target) for r in (report, copy))
    way = {kind: (counts[kind] - base[kind]) / _ELEMENTS for kind in KINDS}
    return Cost(way, (report.instructions - copy.instructions) / _ELEMENTS, report.local_bytes)


def kernel_text(expression: str) -> str:
    """The text of a kernel `kernel(in0, out0, n, BLOCK)` that computes an expression of x in float32."""
    return _SOURCE.format(expression)


def written(expression: str, target: str) -> Report:
    """The report on a kernel that computes an expression of x, as Triton compiles it."""
    return _report(load(kernel_text(expression)).kernel, target)


def ours(name: str, target: str) -> Report:
    """The report on the same kernel with our spelling of an operator."""
    block = Block("f32")
    y = OPERATORS[name].kernel(block, block.input("x", Span.ELEMENT))
    kernel = Kernel(name, "f32", block, (Input("x", Span.ELEMENT, "x"),), (Output("y", Span.ELEMENT, y.index),))
    return _report(load_function(kernel, print_kernel(kernel).replace(", mask)", ")")), target)


def _report(function: Any, target: str) -> Report:
    gpu = TARGETS[target]
    signature = {"in0": "*fp32", "out0": "*fp32", "n": "i32", "BLOCK": "constexpr"}
    aligned = {(i,): [["tt.divisibility", 16]] for i in range(3)}
    source = ASTSource(function, signature, {"BLOCK": NUM_WARPS * gpu.warp_size * _ELEMENTS}, aligned)
    return read(triton.compile(source, target=gpu, options={"num_warps": NUM_WARPS, **compile_options(gpu)}), target, _ELEMENTS)


@dataclass(frozen=True, slots=True)
class _Step:
    """An instruction; where it may jump to, if anywhere, and whether it may go on to the next one."""

    mnemonic: str
    jump: int | None
    goes_on: bool


def shortest(report: Report) -> list[str]:
    """The mnemonics on the shortest way through a kernel, every branch free to go either way.

    With one exception: on AMD a branch over the `else` part of a condition is not taken after one over its `then` part, for then no
    lane would have taken either.
    """
    steps = _steps_nvidia(report.asm["sass"]) if "sass" in report.asm else _steps_amd(report.asm["amdgcn"])
    came_from: dict[tuple[int, bool], tuple[int, bool] | None] = {(0, False): None}
    pending = [(0, False)]
    for place in pending:  # grows: breadth first
        index, skipped = place
        step = steps[index]
        if step.jump is None and not step.goes_on:
            way = []
            at: tuple[int, bool] | None = place
            while at is not None:
                way.append(steps[at[0]].mnemonic)
                at = came_from[at]
            return way
        is_else = step.mnemonic == "s_cbranch_execz" and any("andn2" in s.mnemonic for s in steps[max(0, index - 2) : index])
        following = [(index + 1, skipped and step.mnemonic != "s_cbranch_execz")] if step.goes_on else []
        if step.jump is not None and not (is_else and skipped):
            following.append((step.jump, step.mnemonic == "s_cbranch_execz"))
        for after in following:
            if after not in came_from:
                came_from[after] = place
                pending.append(after)
    raise ValueError("no way through the kernel reaches its end")


def _steps_nvidia(sass: str) -> list[_Step]:
    steps = []
    for predicate, mnemonic, operands in re.findall(r"/\*[0-9a-f]{4,}\*/\s+(@\S+\s+)?(\S+)([^;]*);", sass):
        stem = mnemonic.partition(".")[0]
        address = re.search(r"0x([0-9a-f]+)", operands) if stem == "BRA" else None
        # An instruction has 16 bytes. A return is that of a subroutine, whose call counts as one instruction.
        steps.append(_Step(stem, int(address[1], 16) // 16 if address else None, bool(predicate) or stem not in ("BRA", "EXIT", "RET")))
    return steps


def _steps_amd(text: str) -> list[_Step]:
    lines = re.findall(r"^(?:(\.L\w+):|\t((?:v|s|ds|global|buffer|flat|scratch)_\w+)(.*))", text[: text.index(".Lfunc_end0")], re.MULTILINE)
    labels: dict[str, int] = {}
    code: list[tuple[str, list[str]]] = []
    for label, mnemonic, operands in lines:
        if label:
            labels[label] = len(code)
        else:
            code.append((mnemonic, operands.split()))
    return [
        _Step(name, labels[words[0]] if "branch" in name else None, name not in ("s_branch", "s_endpgm")) for name, words in code
    ]  # fmt: skip


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main() -> None:
    """Compile every function for an NVIDIA and an AMD GPU and print what it costs."""
    for target in _TARGETS:
        copy = written("x", target)
        table = Table(title=f"{target} ({BY_TARGET[target].name}), instructions an element", title_justify="left")
        for name in (
            "function",
            "error, ulp",
            "on the way",
            "float32",
            "integer",
            "special",
            "other",
            "all",
            "local memory",
            "elements a clock",
        ):
            table.add_column(name, justify="left" if name == "function" else "right")
        for function in FUNCTIONS:
            contenders = [(f"ours: {function.name}", function.ours, ours(function.name, target))]
            contenders += [(text, errors[target == "gfx942"], written(text, target)) for text, *errors in function.others]
            for label, error, report in contenders:
                found = cost(report, copy)
                other = sum(found.way[kind] for kind in ("fp64", "memory", "other"))
                numbers = (found.instructions, *(found.way[kind] for kind in ("fp32", "integer", "special")), other, found.code)
                rate = 1 / BY_TARGET[target].clocks(found.way)
                table.add_row(
                    label, error, *(f"{n:.1f}" for n in numbers), f"{found.local_bytes} B" if found.local_bytes else "", f"{rate:.1f}"
                )
            table.add_section()
        Console(width=None if Console().is_terminal else 160).print(table)


if __name__ == "__main__":
    app(prog_name="python -m bench.gpu_functions")
