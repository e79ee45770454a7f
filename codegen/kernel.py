"""What a kernel is, whatever it runs on: a body of instructions, what it reads and what it writes.

A tensor is seen as rows x channels, channels innermost. A kernel that never looks at a row or a channel as such (`flat`) is
given the whole tensor as one row.

Numerics policy, the same for every backend: float64 is computed in float64; float32, bfloat16 and float16 are widened to
float32 when loaded, computed in float32 and rounded once when stored. Sums are accumulated over fixed pieces of the tensor, so
the number of threads cannot change a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from codegen.instructions import Block, Span, Type

Storage = Literal["f32", "f64", "bf16", "f16"]
COMPUTE: Final[dict[Storage, Type]] = {"f32": "f32", "f64": "f64", "bf16": "f32", "f16": "f32"}


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that a kernel reads; the instruction `input` with the same name stands for it in the body.

    `ELEMENT`: a tensor of rows x channels in the storage type, read `shift` places away along the channel axis, circularly: at
    channel c it gives the value of channel (c - shift) mod channels, as torch.roll(x, shift, -1) does.
    `ROW`, `CHANNEL`: one number per row, per channel, in the compute type; what is shifted along the channels is handed over
    shifted. `SCALAR`: one number, in the compute type.
    Inputs with the same `source` and different shifts are views of one tensor.
    """

    name: str
    span: Span
    source: str
    shift: int = 0

    @property
    def constant(self) -> int | None:
        """Which of the stage's constants (`codegen.plan.Stage`) this reads; None if it reads something else."""
        kind, _, number = self.source.partition(".")
        return int(number) if kind == "constant" and number else None


@dataclass(frozen=True, slots=True)
class Output:
    """One thing that a kernel writes: the value of instruction `index`.

    `ELEMENT`: stored element by element, in the storage type. Otherwise the value is summed over what `span` leaves out:
    `SCALAR` over the whole tensor, `CHANNEL` over rows (one sum per channel), `ROW` over channels (one sum per row); the sums
    are float64.
    """

    name: str
    span: Span
    index: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel before it is printed for a backend. `inputs` and `outputs` are in the order of the launch arguments."""

    name: str
    storage: Storage
    block: Block
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]

    @property
    def flat(self) -> bool:
        """Whether rows and channels do not matter, so that a tensor can be run through as one long row."""
        spans = {i.span for i in self.inputs} | {o.span for o in self.outputs}
        return not spans & {Span.ROW, Span.CHANNEL} and not any(i.shift for i in self.inputs)

    def live(self) -> list[int]:
        """The instructions that some output needs, in order."""
        needed: set[int] = set()
        pending = [output.index for output in self.outputs]
        while pending:
            index = pending.pop()
            if index not in needed:
                needed.add(index)
                pending.extend(self.block.instructions[index].args)
        return sorted(needed)
