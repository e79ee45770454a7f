"""The Triton spelling of a kernel: one `@triton.jit` function, one line per instruction.

Two templates. A flat kernel takes the tensor as n elements, BLOCK of them a program. A structured kernel takes it as rows x
channels in tiles of BLOCK_ROWS x BLOCK_CHANNELS; a value has the shape of its span, () or [1, channels] or [rows, 1] or the
tile's, and Triton broadcasts. Arguments, in order: one pointer per non-scalar input (`in0`, ...), `scalars` (all the scalar
inputs, in one array of the compute type) if there are any, one pointer per output (`out0`, ...), then the sizes.

Sums leave a program as float64 partial results in the program's own slot, and the launcher adds the slots up: with no atomics
the result depends on the shape only. Slots: SCALAR [programs], CHANNEL [row blocks, channels], ROW [channel blocks, rows].
A kernel with sums per channel runs over `tiles` tiles of rows before it writes, or else there would be as many slots as data.

What is seldom needed (`codegen.rare`) is a function of scalars that branches, mapped over the elements: kernels of tensors cannot.

Rounding. Every line rounds once, as long as the kernel is compiled with `enable_fp_fusion=False`; `/` and `sqrt` of float32
are approximate in Triton (`div.full.f32`, `sqrt.approx.f32`) and are therefore spelled `div_rn` and `sqrt_rn`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from codegen.instructions import Instruction, Span, Type
from codegen.kernel import COMPUTE, Input, Kernel, Storage
from codegen.rare import Group, long_groups

TYPES: Final[dict[Type | Storage, str]] = {
    "f32": "tl.float32", "f64": "tl.float64", "bf16": "tl.bfloat16", "f16": "tl.float16", "i32": "tl.int32", "i64": "tl.int64",
}  # fmt: skip

# opcode -> the line's right side; {0} {1} {2} are the arguments, {type} is the result's type, {unsigned} that of the arguments.
SPELLING: Final[dict[str, str]] = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "fma": "tl.fma({0}, {1}, {2})",
    "neg": "{0} * -1.0",  # Triton's `-v` is 0 - v, so that -(0.0) would be 0.0
    "abs": "tl.abs({0})", "sqrt": "tl.sqrt({0})", "floor": "tl.floor({0})",
    "lt": "{0} < {1}", "le": "{0} <= {1}", "gt": "{0} > {1}", "ge": "{0} >= {1}", "eq": "{0} == {1}", "ne": "{0} != {1}",
    "and": "{0} & {1}", "or": "{0} | {1}", "not": "~{0}", "select": "tl.where({0}, {1}, {2})", "rare": "tl.where({0}, {1}, {2})",
    "iadd": "{0} + {1}", "isub": "{0} - {1}", "imul": "{0} * {1}", "iand": "{0} & {1}", "ior": "{0} | {1}", "ixor": "{0} ^ {1}",
    "shl": "{0} << {1}", "sar": "{0} >> {1}",
    "shr": "({0}.to({unsigned}, bitcast=True) >> {1}.to({unsigned}, bitcast=True)).to({type}, bitcast=True)",
    "ilt": "{0} < {1}", "ieq": "{0} == {1}",
    "to_float": "{0}.to({type})", "bits": "{0}.to({type}, bitcast=True)", "from_bits": "{0}.to({type}, bitcast=True)",
    "widen": "{0}.to({type})", "narrow": "{0}.to({type})",
}  # fmt: skip
_FLOAT32_SPELLING: Final = {"div": "tl.div_rn({0}, {1})", "sqrt": "tl.sqrt_rn({0})"}
_SUM_SHAPE: Final = "(BLOCK_ROWS, BLOCK_CHANNELS)"


def print_kernel(kernel: Kernel) -> str:
    """The Python source of a module with one Triton function, `function_name(kernel)`. Equal kernels give equal text."""
    return _Printer(kernel).module()


def function_name(kernel: Kernel) -> str:
    """The kernel's name as a Python name."""
    return "kernel_" + re.sub(r"\W", "_", kernel.name, flags=re.ASCII)


def sums_over_rows(kernel: Kernel) -> bool:
    """Whether a program runs over several tiles of rows (the argument `tiles`): when there are sums per channel."""
    return any(output.span is Span.CHANNEL for output in kernel.outputs)


def parameters(kernel: Kernel) -> tuple[list[str], list[str], list[str]]:
    """The function's parameters: pointers, run-time sizes, compile-time sizes."""
    pointers = [f"in{i}" for i in range(sum(i.span is not Span.SCALAR for i in kernel.inputs))]
    if any(i.span is Span.SCALAR for i in kernel.inputs):
        pointers.append("scalars")
    pointers += [f"out{i}" for i in range(len(kernel.outputs))]
    if kernel.flat:
        return pointers, ["n"], ["BLOCK"]
    return pointers, ["rows", "channels"] + ["tiles"] * sums_over_rows(kernel), ["BLOCK_ROWS", "BLOCK_CHANNELS"]


class _Printer:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.instructions = kernel.block.instructions
        self.loads = self._loads()
        live = kernel.live()
        self.live = set(live)
        groups = long_groups(kernel, live).values()
        # One that is the same for a whole channel would get the shape of the others' condition.
        self.rare = {g.members[0]: g for g in groups if self.instructions[g.condition].span is Span.ELEMENT}
        behind = {i for g in self.rare.values() for i in (*g.body, *g.members)}
        # Nor are constants that only stand behind a branch.
        read = {a for i in self.live - behind for a in self.instructions[i].args} | {o.index for o in kernel.outputs}
        alone = {i for i in self.live - read if self.instructions[i].opcode == "constant"}
        self.outside = self.live - behind - alone

    def module(self) -> str:
        pointers, sizes, constants = parameters(self.kernel)
        signature = ", ".join([*pointers, *sizes, *(f"{name}: tl.constexpr" for name in constants)])
        lines = ["import triton", "import triton.language as tl"]
        if any(self.instructions[i].opcode == "call" for i in self.live):
            lines.append("from triton.language.extra import libdevice")
        for group in self.rare.values():
            lines += ["", "", "@triton.jit", *self._function(group)]
        # The number of tiles would otherwise be compiled in when it is 1, and again when 16 divides it.
        lines += ["", "", '@triton.jit(do_not_specialize=["tiles"])' if "tiles" in sizes else "@triton.jit"]
        body = self._flat() if self.kernel.flat else self._structured()
        return "\n".join([*lines, f"def {function_name(self.kernel)}({signature}):", *("    " + line for line in body), ""])

    def _flat(self) -> list[str]:
        head = [
            "offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)",
            "mask = offsets < n",
        ]
        sums = [
            f"tl.store(out{i} + tl.program_id(0), tl.sum({self._masked(output.index)}))"
            for i, output in enumerate(self.kernel.outputs)
            if output.span is Span.SCALAR
        ]
        return [*head, *self._lines(Span.SCALAR), *self._lines(Span.ELEMENT), *self._stores(), *sums]

    def _structured(self) -> list[str]:
        looped = sums_over_rows(self.kernel)
        head = [
            "channel_blocks = (channels + BLOCK_CHANNELS - 1) // BLOCK_CHANNELS",
            "row_block = (tl.program_id(0) // channel_blocks).to(tl.int64)",
            "channel_block = (tl.program_id(0) % channel_blocks).to(tl.int64)",
            "channel = channel_block * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)[None, :]",
            "channel_mask = channel < channels",
        ]
        shifts = sorted({i.shift for i in self.kernel.inputs if i.shift})
        for shift in shifts:
            name = _shifted(shift)
            # Between -channels and channels, so that one addition makes it an index.
            head.append(f"{name} = channel - {'' if shift > 0 else 'channels + '}{abs(shift)} % channels")
            head.append(f"{name} = tl.where({name} < 0, {name} + channels, {name})")
        head += [*self._lines(Span.SCALAR), *self._lines(Span.CHANNEL)]
        tile = [
            f"row = {'(row_block * tiles + tile)' if looped else 'row_block'} * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)[:, None]",
            "row_mask = row < rows",
            "mask = row_mask & channel_mask",
            "offsets = row * channels + channel",
            *self._lines(Span.ROW, Span.ELEMENT),
            *self._stores(),
        ]
        zeros, tail = [], []
        for i, output in enumerate(self.kernel.outputs):
            if output.span is Span.ELEMENT:
                continue
            term = self._masked(output.index)
            if output.span is Span.ROW:
                tile.append(f"tl.store(out{i} + channel_block * rows + row, tl.sum({term}, axis=1, keep_dims=True), row_mask)")
                continue
            total = term
            if looped:
                total = f"sum{i}"
                zeros.append(f"{total} = tl.full({_SUM_SHAPE}, 0.0, tl.float64)")
                tile.append(f"{total} = {total} + {term}")
            if output.span is Span.CHANNEL:
                place = f"out{i} + row_block * channels + channel"
                tail.append(f"tl.store({place}, tl.sum({total}, axis=0, keep_dims=True), channel_mask)")
            else:
                tail.append(f"tl.store(out{i} + tl.program_id(0), tl.sum({total}))")
        if looped:
            tile = ["for tile in range(tiles):", *("    " + line for line in tile)]
        return [*head, *zeros, *tile, *tail]

    def _loads(self) -> dict[str, str]:
        """Input name -> the expression that loads it in the compute type."""
        loads = {}
        pointer = scalar = 0
        for item in self.kernel.inputs:
            if item.span is Span.SCALAR:
                loads[item.name] = f"tl.load(scalars + {scalar})"
                scalar += 1
                continue
            loads[item.name] = f"tl.load(in{pointer} + {self._place(item)}, {_MASKS[item.span]}){self._widened(item)}"
            pointer += 1
        return loads

    @staticmethod
    def _place(item: Input) -> str:
        if item.span is not Span.ELEMENT:
            return "row" if item.span is Span.ROW else "channel"
        return f"(row * channels + {_shifted(item.shift)})" if item.shift else "offsets"

    def _widened(self, item: Input) -> str:
        compute = COMPUTE[self.kernel.storage]
        return f".to({TYPES[compute]})" if item.span is Span.ELEMENT and compute != self.kernel.storage else ""

    def _lines(self, *spans: Span) -> list[str]:
        lines = []
        for index, op in enumerate(self.instructions):
            if index in self.rare:
                if op.span in spans:
                    lines.append(self._call(self.rare[index]))
            elif index in self.outside and op.span in spans:
                lines.append(self._line(index))
        return lines

    def _line(self, index: int) -> str:
        return f"v{index} = {self._spelled(self.instructions[index])}"

    def _call(self, group: Group) -> str:
        results, arguments = (", ".join(f"v{i}" for i in indices) for indices in (group.members, self._read(group)))
        return f"{results} = tl.map_elementwise({_function_of(group)}, {arguments})"

    def _function(self, group: Group) -> list[str]:
        """The choices of a group at one element. Each is made again within the branch, which the interpreter takes with all elements."""
        code = self.instructions
        inside = sorted({a for i in (*group.body, *group.members) for a in code[i].args if code[a].opcode == "constant"})
        choices = [self._line(m) for m in group.members]
        return [
            f"def {_function_of(group)}({', '.join(f'v{i}' for i in self._read(group))}):",
            *(f"    {self._line(i)}" for i in inside),
            *(f"    v{m} = v{code[m].args[2]}" for m in group.members),
            f"    if v{group.condition}:",
            *(f"        {line}" for line in (*map(self._line, group.body), *choices)),
            f"    return {', '.join(f'v{m}' for m in group.members)}",
        ]

    def _read(self, group: Group) -> list[int]:
        """What the function of a group is given: all that it reads, besides constants."""
        code = self.instructions
        read = {a for i in (*group.body, *group.members) for a in code[i].args} - set(group.body)
        return sorted(i for i in read if code[i].opcode != "constant")

    def _spelled(self, op: Instruction) -> str:
        if op.opcode == "input":
            return f"{self.loads[str(op.attribute)]}  # {op.attribute}"
        return spell(op, [f"v{i}" for i in op.args], [self.instructions[i].type for i in op.args])

    def _stores(self) -> list[str]:
        rounded = "" if self.kernel.storage in ("f32", "f64") else f".to({TYPES[self.kernel.storage]})"
        return [
            f"tl.store(out{i} + offsets, v{output.index}{rounded}, mask)  # {output.name}"
            for i, output in enumerate(self.kernel.outputs)
            if output.span is Span.ELEMENT
        ]

    @staticmethod
    def _masked(index: int) -> str:
        return f"tl.where(mask, v{index}, 0.0).to(tl.float64)"


_MASKS: Final = {Span.ELEMENT: "mask", Span.ROW: "row_mask", Span.CHANNEL: "channel_mask"}


def spell(op: Instruction, args: Sequence[str], types: Sequence[Type]) -> str:
    """The right side of an instruction's line, for arguments that are written so and are of those types; not for `input` and `apply`."""
    if op.opcode == "constant":
        return spell_constant(op)
    if op.opcode == "call":
        return f"libdevice.{op.attribute}({', '.join(args)})"
    unsigned = "tl.u" + TYPES[types[0]].removeprefix("tl.") if types[0] in ("i32", "i64") else ""
    if op.opcode == "widen" and types[0] == "i32":
        return f"{args[0]}.to(tl.uint32, bitcast=True).to(tl.int64)"
    spelling = _FLOAT32_SPELLING.get(op.opcode, SPELLING[op.opcode]) if types[0] == "f32" else SPELLING[op.opcode]
    return spelling.format(*args, type=TYPES.get(op.type, ""), unsigned=unsigned)


def _function_of(group: Group) -> str:
    return f"rare{group.members[0]}"


def _shifted(shift: int) -> str:
    return f"channel_{'back' if shift > 0 else 'ahead'}_{abs(shift)}"


def spell_constant(op: Instruction) -> str:
    """A constant as a scalar tensor, with all its bits."""
    value, kind = op.attribute, TYPES[op.type]
    if isinstance(value, float) and value == 0 and math.copysign(1, value) < 0:
        # tl.full takes -0.0 for 0.0; -1 << 31 or 63 are its bits.
        bits = 32 if op.type == "f32" else 64
        return f"tl.full((), {-(1 << (bits - 1))}, tl.int{bits}).to({kind}, bitcast=True)"
    literal = repr(value) if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)) else f'float("{value}")'
    return f"tl.full((), {literal}, {kind})"
