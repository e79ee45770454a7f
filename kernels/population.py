"""Many activations at once: a group of expressions on a stack of slices, with one kernel each way.

A slice is a tensor of rows x channels that one expression is applied to, such as the hidden values of one network; statistics are those
of the slice, parameters are its own. Expressions that differ in constants alone share their code.

Where all expressions are functions of x alone, the forward kernel writes the derivative beside the value: both together cost little more
than one of them, only one kernel is compiled, and the backward pass is a product. Otherwise x is kept and the backward kernel computes
again what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from codegen.function import Activation
from codegen.group import MEANS, Kind, group
from codegen.instructions import Span
from kernels.ahead import Job
from kernels.group_launch import StageKernel
from kernels.native import constants_of
from kernels.programs import SLOPE, make_plan
from kernels.recent import Recent

_MOST_GROUPS: Final = 64  # that are remembered, some 2 MB each
NAMES: Final = {0: "forward", 1: "backward", SLOPE: "slope"}
_memory: Recent[tuple[tuple[str, ...], int, bool], Direction] = Recent(_MOST_GROUPS)


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
        found = _memory.put(key, Direction(structures, order, interpret))
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
        expressions = [number[f.key] for f in functions]
        self.pointwise = all(f.of_x_alone for f in structures)
        orders = (SLOPE,) if self.pointwise else (0, 1)
        self.directions = [direction(structures, order, self.device.type == "cpu") for order in orders]
        self.scalars, self.channels = (self.directions[0].arrays[kind] for kind in ("scalar", "channel"))
        self._stages = [[self._placed(kernel, functions, expressions, slices) for kernel in each.kernels] for each in self.directions]

    def jobs(self, rows: int, channels: int) -> list[Job]:
        """What compiles all kernels ahead of their launches on slices of rows x channels; for a GPU."""
        return [kernel.job(rows, channels) for each in self.directions for kernel in each.kernels]

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

    def forward(
        self, x: Tensor, values: Tensor, slope: Tensor | None, scalars: Tensor | None = None, channels: Tensor | None = None
    ) -> Tensor:
        """Write the values at x (slices, rows, channels) to `values`, and give what `backward` needs of them: `slope` or x.

        All tensors are contiguous float32; `values` and, where all expressions are `pointwise`, `slope` are of the shape of x.
        `scalars` (slices, `self.scalars`) and `channels` (slices, `self.channels`, channels) are the learnable parameters, None where
        there are none. Raises ValueError for tensors of another shape, type or device.
        """
        self._check({"x": x, "values": values, "slope": slope} if self.pointwise else {"x": x, "values": values}, scalars, channels)
        self._run(0, {"x": x}, [values, slope] if slope is not None and self.pointwise else [values], scalars, channels)
        return slope if slope is not None and self.pointwise else x

    def backward(
        self, kept: Tensor, cotangent: Tensor, gradient: Tensor, scalars: Tensor | None = None, channels: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Write the gradient with respect to x to `gradient`, where `cotangent` is that with respect to the values, and give those with
        respect to scalars and channels; see `forward`."""
        self._check({"kept": kept, "cotangent": cotangent, "gradient": gradient}, scalars, channels)
        if self.pointwise:
            torch.mul(kept, cotangent, out=gradient)
            return None, None
        sums = self._run(1, {"x": kept, "cotangent": cotangent}, [gradient], scalars, channels)
        scalar, channel = sums.get(Span.SCALAR), sums.get(Span.CHANNEL)
        return None if scalar is None else scalar.float(), None if channel is None else channel.float()

    def _run(
        self, number: int, arrays: dict[Kind, Tensor], written: Sequence[Tensor], scalars: Tensor | None, channels: Tensor | None
    ) -> dict[Span, Tensor]:
        x = arrays["x"]
        shape = (x.shape[0], x.shape[1], x.shape[2])
        if scalars is not None:
            arrays["scalar"] = scalars
        if channels is not None:
            arrays["channel"] = channels
        behind: dict[Span, tuple[int, ...]] = {Span.SCALAR: (), Span.ROW: (shape[1],), Span.CHANNEL: (shape[2],)}
        numbers = {Span.SCALAR: shape[1] * shape[2], Span.ROW: shape[2], Span.CHANNEL: shape[1]}
        for span, kind in MEANS.items():
            if count := self.directions[number].arrays[kind]:
                arrays[kind] = torch.zeros((shape[0], count, *behind[span]), device=x.device)
        sums: dict[Span, Tensor] = {}
        for kernel, (which, constants, views) in zip(self.directions[number].kernels, self._stages[number], strict=True):
            first_mean = kernel.stage.first_mean
            sums = kernel(which, {**arrays, "constant": constants}, views, written if first_mean is None else (), shape)
            if first_mean is not None:
                for span, total in sums.items():
                    begin = first_mean[span]
                    arrays[MEANS[span]][:, begin : begin + total.shape[1]] = total / numbers[span]
        return sums

    def _check(self, tensors: Mapping[str, Tensor | None], scalars: Tensor | None, channels: Tensor | None) -> None:
        first = next(t for t in tensors.values() if t is not None)
        shape = tuple(first.shape)
        if len(shape) != 3 or shape[0] != self.count:
            raise ValueError(f"a tensor of ({self.count}, rows, channels) is wanted, not {shape}")
        expected: dict[str, tuple[Tensor | None, tuple[int, ...]]] = {name: (tensor, shape) for name, tensor in tensors.items()}
        expected["scalars"] = (scalars, (self.count, self.scalars))
        expected["channels"] = (channels, (self.count, self.channels, shape[2]))
        for name, (tensor, wanted) in expected.items():
            if tensor is None and 0 in wanted:
                continue
            fits = tensor is not None and tensor.shape == wanted and tensor.dtype == torch.float32 and tensor.is_contiguous()
            if tensor is None or not fits or tensor.device.type != self.device.type:
                got = "None" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
                raise ValueError(f"{name} must be a contiguous float32 tensor of shape {wanted} on {self.device}, not {got}")
