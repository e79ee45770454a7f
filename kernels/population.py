"""Many activations at once: a group of expressions on a stack of slices, with one kernel each way.

A slice is a tensor of rows x channels that one expression is applied to, such as the hidden values of one network; statistics are those
of the slice, parameters are its own. Expressions that differ in constants alone share their code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from codegen.function import Activation
from codegen.group import MEANS, Kind, group
from codegen.instructions import Span
from kernels.group_launch import StageKernel
from kernels.native import constants_of
from kernels.programs import make_plan

NAMES: Final = ("forward", "backward")
_MEMORY_LIMIT: Final = 1024
_memory: dict[tuple[tuple[str, ...], int, bool], Direction] = {}


class Direction:
    """The kernels of some structures in one direction, stage by stage."""

    def __init__(self, structures: Sequence[Activation], order: int, interpret: bool) -> None:
        plans = [make_plan(f, order, "f32", outlined=True) for f in structures]
        made = group(NAMES[order], plans, [f.parameters for f in structures])
        self.arrays = made.arrays
        self.kernels = [StageKernel(stage, interpret=interpret) for stage in made.stages]


def direction(structures: Sequence[Activation], order: int, interpret: bool) -> Direction:
    """The kernels for some structures, remembered."""
    key = (tuple(f.key for f in structures), order, interpret)
    found = _memory.get(key)
    if found is None:
        if len(_memory) >= _MEMORY_LIMIT:
            _memory.pop(next(iter(_memory)))
        found = _memory[key] = Direction(structures, order, interpret)
    return found


class Population:
    """Candidates, each with `slices` slices of a stack, ready to run each way on a device.

    Slices of a candidate follow one another. `scalars` and `channels` say how many learnable parameters of either kind there are for
    each slice: those of the candidate that has most, in the order of its declarations.
    """

    def __init__(self, functions: Sequence[Activation], slices: int, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.count = len(functions) * slices
        structures = list({f.key: f for f in functions}.values())
        number = {f.key: k for k, f in enumerate(structures)}
        interpret = self.device.type == "cpu"
        self.directions = [direction(structures, order, interpret) for order in (0, 1)]
        self.scalars, self.channels = (self.directions[0].arrays[kind] for kind in ("scalar", "channel"))
        expressions = [number[f.key] for f in functions]
        self._stages = [
            [self._placed(kernel, functions, expressions, slices) for kernel in each.kernels] for each in self.directions
        ]  # fmt: skip

    def _placed(
        self, kernel: StageKernel, functions: Sequence[Activation], expressions: Sequence[int], slices: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Of a stage: the member that each slice belongs to, its constants, and the table of views."""
        position = {member.expression: k for k, member in enumerate(kernel.stage.members)}
        which = [position.get(e, -1) for e in expressions]
        constants = torch.zeros(len(functions), max(kernel.stage.counts["constant"], 1))
        for k, (function, member) in enumerate(zip(functions, which, strict=True)):
            if member >= 0:
                stage = kernel.stage.members[member].stage
                values = constants_of(stage.tape, stage.tape_roots)(function.constants)
                constants[k, : len(values)] = torch.tensor(values)
        by_slice = torch.tensor(which, dtype=torch.int32).repeat_interleave(slices)
        return by_slice.to(self.device), constants.repeat_interleave(slices, 0).to(self.device), kernel.views(self.device)

    def forward(self, x: Tensor, scalars: Tensor | None = None, channels: Tensor | None = None) -> Tensor:
        """The values at x (slices, rows, channels), float32, contiguous.

        `scalars` (slices, `self.scalars`) and `channels` (slices, `self.channels`, channels) are the learnable parameters, None where
        there are none. Raises ValueError for tensors of another shape, type or device.
        """
        return self._run(0, {"x": x}, scalars, channels)[0]

    def backward(
        self, x: Tensor, cotangent: Tensor, scalars: Tensor | None = None, channels: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The gradients with respect to x, scalars and channels for the gradient `cotangent` of the values; see `forward`."""
        value, sums = self._run(1, {"x": x, "cotangent": cotangent}, scalars, channels)
        scalar, channel = sums.get(Span.SCALAR), sums.get(Span.CHANNEL)
        return value, None if scalar is None else scalar.float(), None if channel is None else channel.float()

    def _run(
        self, order: int, arrays: dict[Kind, Tensor], scalars: Tensor | None, channels: Tensor | None
    ) -> tuple[Tensor, dict[Span, Tensor]]:
        x = arrays["x"]
        shape = (x.shape[0], x.shape[1], x.shape[2])
        self._check(arrays, scalars, channels)
        if scalars is not None:
            arrays["scalar"] = scalars
        if channels is not None:
            arrays["channel"] = channels
        behind: dict[Span, tuple[int, ...]] = {Span.SCALAR: (), Span.ROW: (shape[1],), Span.CHANNEL: (shape[2],)}
        numbers = {Span.SCALAR: shape[1] * shape[2], Span.ROW: shape[2], Span.CHANNEL: shape[1]}
        for span, kind in MEANS.items():
            if count := self.directions[order].arrays[kind]:
                arrays[kind] = torch.zeros((shape[0], count, *behind[span]), device=x.device)
        value: Tensor | None = None
        sums: dict[Span, Tensor] = {}
        for kernel, (which, constants, views) in zip(self.directions[order].kernels, self._stages[order], strict=True):
            value, sums = kernel(which, {**arrays, "constant": constants}, views, shape)
            if kernel.stage.first_mean is not None:
                for span, total in sums.items():
                    begin = kernel.stage.first_mean[span]
                    arrays[MEANS[span]][:, begin : begin + total.shape[1]] = total / numbers[span]
        assert value is not None, "the last stage writes values"
        return value, sums

    def _check(self, arrays: dict[Kind, Tensor], scalars: Tensor | None, channels: Tensor | None) -> None:
        x = arrays["x"]
        expected: dict[str, tuple[Tensor | None, tuple[int, ...]]] = {name: (t, tuple(x.shape)) for name, t in arrays.items()}
        expected["scalars"] = (scalars, (self.count, self.scalars))
        expected["channels"] = (channels, (self.count, self.channels, *x.shape[2:]))
        for name, (tensor, shape) in expected.items():
            if tensor is None and 0 in shape:
                continue
            wanted = f"{name} must be a contiguous float32 tensor of shape {shape} on {self.device}"
            if tensor is None:
                raise ValueError(f"{wanted}, for these programs have learnable parameters")
            if x.dim() != 3 or len(x) != self.count:
                raise ValueError(f"x must be ({self.count}, rows, channels), not {tuple(x.shape)}")
            if (
                tensor.shape != shape
                or tensor.dtype != torch.float32
                or not tensor.is_contiguous()
                or tensor.device.type != self.device.type
            ):
                raise ValueError(f"{wanted}, not {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}")
