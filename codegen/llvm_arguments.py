"""What a kernel printed for LLVM is called with: `void NAME(ptr arguments, i64 tile)`, where `arguments` is an array of 64-bit slots:

    0 total     elements in the tensor
    1 channels  elements in a row; the last row may be shorter
    2 rows      rows in a tile
    3 stream    1: ELEMENT outputs go past the cache; their rows then begin at multiples of a vector's size. 0: they do not
    4 scalars   address of the SCALAR inputs, in order, in the compute type
    5...        addresses of the other inputs, in order, then of the outputs, in order

Tile t computes rows [t*rows, (t+1)*rows). ELEMENT outputs and ROW sums (float64, one per row) are written in place. A SCALAR sum
goes to `output[t]`. A CHANNEL sum is added to `output[t*sum_stride(channels) + channel]`, which the caller cleared. So tiles are
independent, and the caller adds up their parts in an order of its own.

A flat kernel is the case of rows that mean nothing: the caller picks their length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from codegen.instructions import Span
from codegen.kernel import COMPUTE, Kernel, Storage
from codegen.llvm_lines import NAMES

HEADER_SLOTS: Final = 5
_MEMORY: Final[dict[Storage, str]] = {"f32": "float", "f64": "double", "bf16": "i16", "f16": "half"}
_WIDEST: Final = 64  # no target has more lanes


def sum_stride(channels: int) -> int:
    """Distance between the tiles of a CHANNEL sum: room for a whole vector after the last channel."""
    return channels + _WIDEST


@dataclass(frozen=True, slots=True)
class Array:
    """An argument in memory, of LLVM type `kind`: the input that instruction `index` reads, or the output that it gives."""

    index: int
    slot: int
    span: Span
    kind: str

    @property
    def name(self) -> str:
        """The name of its address in the text."""
        return f"%s{self.slot}"


def arrays(kernel: Kernel, live: list[int]) -> tuple[list[Array], list[Array]]:
    """The input arrays that some live instruction reads, and the output arrays."""
    code = kernel.block.instructions
    readers = {code[i].attribute: i for i in live if code[i].opcode == "input"}
    memory, number = _MEMORY[kernel.storage], NAMES[COMPUTE[kernel.storage]]
    described = [i for i in kernel.inputs if i.span is not Span.SCALAR]
    inputs = [
        Array(readers[i.name], slot, i.span, memory if i.span is Span.ELEMENT else number)
        for slot, i in enumerate(described, HEADER_SLOTS)
        if i.name in readers
    ]
    outputs = [
        Array(o.index, slot, o.span, memory if o.span is Span.ELEMENT else "double")
        for slot, o in enumerate(kernel.outputs, HEADER_SLOTS + len(described))
    ]
    return inputs, outputs
