"""Running one stage of a group on a stack of slices: on a GPU, or interpreted on CPU tensors."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
import triton
from torch import Tensor
from triton.runtime import driver

from codegen.group import NOT_USED, SUMS, VIEWS, GroupStage, Kind, View
from codegen.group_body import PACK
from codegen.group_triton import pointers
from codegen.instructions import Span
from kernels.ahead import Job, group_job
from kernels.group_compiler import group_tile, tile_constants
from kernels.group_flow import CompiledGroup
from kernels.group_interpreter import InterpretedGroup
from kernels.triton_compiler import NUM_WARPS, Tile, compile_options
from kernels.tuning import NARROW, WORTHWHILE, device_name, kernel_class, timer, tuned

# A program takes several tiles once this many programs are left: it reads the constants of its slice and branches once, and writes
# one part of each sum. 8 programs of 4 warps for each of 132 multiprocessors are what an H100 runs at a time with 64 registers.
PROGRAMS: Final = 1056


@dataclass(frozen=True, slots=True)
class Cut:
    """How the slices of a launch are cut: the tile of a program at a time, how many of them it takes, and the programs of a slice."""

    tile: Tile
    tiles: int
    parts: int
    channel_blocks: int


def cut(stage: GroupStage, tile: Tile, slices: int, rows: int, channels: int) -> Cut:
    """Programs for so many slices of rows x channels; a flat stage sees a slice as one row."""
    if stage.flat:
        tiles_of_slice, blocks = triton.cdiv(rows * channels, tile.channels), 1
    else:
        tiles_of_slice, blocks = triton.cdiv(rows, tile.rows), triton.cdiv(channels, tile.channels)
    tiles = max(1, min(tiles_of_slice, slices * blocks * tiles_of_slice // PROGRAMS))
    return Cut(tile, tiles, triton.cdiv(tiles_of_slice, tiles) * blocks, blocks)


class StageKernel:
    """A stage's kernel; Triton compiles it on the first call for each alignment of the sizes.

    `interpret` runs it in Triton's interpreter instead, on CPU tensors: for tests, some 20 microseconds for each line and program.
    """

    def __init__(self, stage: GroupStage, *, interpret: bool = False) -> None:
        self.stage = stage
        self.interpret = interpret
        longest = max(len(member.kernel.live()) for member in stage.members)
        self._kind = kernel_class("group flat" if stage.flat else "group structured", "f32", longest)
        self._group = InterpretedGroup(stage) if interpret else CompiledGroup(stage)

    def views(self, device: torch.device) -> Tensor | None:
        """The table of views for the kernel: int32 (members, 2 x columns), None if there are none."""
        if not self.stage.columns:
            return None
        unused = View(0, NOT_USED)
        table = []
        for member in self.stage.members:
            shown = [found for kind in VIEWS for found in _padded(member.views[kind], self.stage.counts[kind], unused)]
            table.append([number for view in shown for number in (view.index, view.shift)])
        return torch.tensor(table, dtype=torch.int32, device=device)

    def __call__(
        self,
        which: Tensor,
        arrays: Mapping[Kind, Tensor],
        views: Tensor | None,
        written: Sequence[Tensor],
        shape: tuple[int, int, int],
    ) -> dict[Span, Tensor]:
        """Run on slices x rows x channels.

        `which`: int32 (slices,), the position among the stage's members of each slice's expression, negative for none. `arrays`: what is
        read, by kind (`codegen.group.Kind`), contiguous float32: x and cotangent (slices, rows, channels), others (slices, arrays) and
        for `row_mean` rows, for channels channels behind that. `written`: the tensors, of the shape of x, that the values go to; slices of
        no expression get none. Gives the sums by span in float64: (slices, slots), (slices, slots, rows) or (slices, slots, channels).
        """

        stage, device = self.stage, which.device
        slices, rows, channels = shape

        def run(tile: Tile) -> dict[Span, Tensor]:
            plan = cut(stage, tile, slices, rows, channels)
            parts = {
                Span.SCALAR: (slices, stage.outputs[Span.SCALAR], plan.parts),
                Span.ROW: (slices, stage.outputs[Span.ROW], plan.channel_blocks, rows),
                Span.CHANNEL: (slices, stage.outputs[Span.CHANNEL], plan.parts // plan.channel_blocks, channels),
            }
            sums = {span: torch.empty(parts[span], dtype=torch.float64, device=device) for span in SUMS if stage.outputs[span]}
            tensors: dict[str, Tensor | None] = {"which": which, "views": views, **{str(kind): t for kind, t in arrays.items()}}
            tensors |= {f"result{k}": t for k, t in enumerate(written)} | {f"{span.name.lower()}_sums": t for span, t in sums.items()}
            numbers = (*self._numbers(rows, channels), plan.tiles, PACK)
            self._launch((slices, plan.parts), [*(tensors[name] for name in pointers(stage)), *numbers], tile, device)
            return {span: t.sum(2) if t.shape[2] > 1 else t.squeeze(2) for span, t in sums.items()}

        return run(self._tile(shape, device, run))

    def _launch(self, grid: tuple[int, int], arguments: list[Tensor | int | None], tile: Tile, device: torch.device) -> None:
        constants = tile_constants(self.stage, tile)
        if not self.interpret:
            constants |= compile_options(driver.active.get_current_target()) | {"num_warps": tile.num_warps}
        on_device = contextlib.nullcontext() if self.interpret else torch.cuda.device(device)
        # A launch may compile, and must then find the key under which `kernels.ahead` has compiled it.
        with on_device, self._group.running():
            self._group.function[grid](*arguments, **constants)

    def _tile(self, shape: tuple[int, int, int], device: torch.device, run: Callable[[Tile], object]) -> Tile:
        """The tile that was found to be the fastest for such kernels, or the static one; see `kernels.tuning`."""
        channels = shape[2]
        if self.interpret:
            return group_tile(self.stage, 32, channels)
        warp_size = int(driver.active.get_current_target().warp_size)
        if any(self.stage.outputs[span] for span in SUMS):
            return group_tile(self.stage, warp_size, channels)
        large = math.prod(shape) >= WORTHWHILE
        seconds = timer(lambda choice: run(group_tile(self.stage, warp_size, channels, choice.num_warps))) if large else None
        choice = tuned(device_name(device.index), self._kind, NARROW, seconds)
        return group_tile(self.stage, warp_size, channels, NUM_WARPS if choice is None else choice.num_warps)

    def job(self, rows: int, channels: int) -> Job:
        """What compiles this kernel ahead of its launch on slices of rows x channels, for the GPU of this process."""
        target = driver.active.get_current_target()
        tile = self._tile((0, rows, channels), torch.device("cuda", torch.cuda.current_device()), lambda _: None)
        return group_job(self.stage, tile, target, rows, channels)

    def _numbers(self, rows: int, channels: int) -> tuple[int, ...]:
        return (rows * channels,) if self.stage.flat else (rows, channels)


def _padded(views: tuple[View, ...], count: int, unused: View) -> list[View]:
    return [*views, *[unused] * (count - len(views))]
