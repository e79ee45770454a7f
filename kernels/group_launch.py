"""Running one stage of a group on a stack of slices: on a GPU, or interpreted on CPU tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
import triton
from torch import Tensor
from triton.runtime import driver

from codegen.group import NOT_USED, SUMS, VIEWS, GroupStage, Kind, View
from codegen.group_triton import PACK, function_name, pointers, print_group
from codegen.instructions import Span
from kernels.group_compiler import Job, pointer_type, specialised, tile_constants, without_line_numbers
from kernels.triton_compiler import MAX_BLOCK_CHANNELS, Tile, compile_options, load
from kernels.triton_interpreter import gpu_rounding, interpreted

# A program takes several tiles once this many programs are left: it reads the constants of its slice and branches once, and writes
# one part of each sum. 8 programs of 4 warps for each of 132 multiprocessors are what an H100 runs at a time with 64 registers.
PROGRAMS: Final = 1056
NUM_WARPS: Final = 4


@dataclass(frozen=True, slots=True)
class Cut:
    """How the slices of a launch are cut: the tile of a program at a time, how many of them it takes, and the programs of a slice."""

    tile: Tile
    tiles: int
    parts: int
    channel_blocks: int


def group_tile(stage: GroupStage, warp_size: int, channels: int, num_warps: int = NUM_WARPS) -> Tile:
    """The tile of a program: `PACK` elements a thread, one 128-bit access."""
    block = num_warps * warp_size * PACK
    if stage.flat:
        return Tile(1, block, num_warps)
    width = min(triton.next_power_of_2(max(channels, 1)), MAX_BLOCK_CHANNELS, block)
    return Tile(block // width, width, num_warps)


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
        self.source = print_group(stage)
        name = function_name(stage)
        self._function: Any = interpreted(self.source, name) if interpret else getattr(load(self.source), name)

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
        slices, rows, channels = shape
        stage, device = self.stage, which.device
        plan = cut(stage, group_tile(stage, self._warp_size(), channels), slices, rows, channels)
        row_parts = plan.parts // plan.channel_blocks
        parts = {
            Span.SCALAR: (slices, stage.outputs[Span.SCALAR], plan.parts),
            Span.ROW: (slices, stage.outputs[Span.ROW], plan.channel_blocks, rows),
            Span.CHANNEL: (slices, stage.outputs[Span.CHANNEL], row_parts, channels),
        }
        sums = {span: torch.empty(parts[span], dtype=torch.float64, device=device) for span in SUMS if stage.outputs[span]}
        tensors: dict[str, Tensor | None] = {"which": which, "views": views, **{str(kind): t for kind, t in arrays.items()}}
        tensors |= {f"result{k}": t for k, t in enumerate(written)} | {f"{span.name.lower()}_sums": t for span, t in sums.items()}
        arguments = [tensors[name] for name in pointers(stage)]
        numbers = (*self._numbers(rows, channels), plan.tiles, PACK)
        constants = tile_constants(stage, plan.tile)
        grid = (slices, plan.parts)
        if self.interpret:
            with gpu_rounding():
                self._function[grid](*arguments, *numbers, **constants)
        else:
            options = compile_options(driver.active.get_current_target())
            # A launch may compile, and must then find the key that `compile_ahead` used.
            with without_line_numbers():
                self._function[grid](*arguments, *numbers, **constants, num_warps=plan.tile.num_warps, **options)
        return {span: t.sum(2) if t.shape[2] > 1 else t.squeeze(2) for span, t in sums.items()}

    def job(self, rows: int, channels: int) -> Job:
        """What compiles this kernel ahead of its launch on slices of rows x channels, for the GPU of this process."""
        target = driver.active.get_current_target()
        tile = group_tile(self.stage, int(target.warp_size), channels)
        return Job(
            self.source,
            function_name(self.stage),
            tuple(map(pointer_type, pointers(self.stage))),
            (*map(specialised, self._numbers(rows, channels)), 0, PACK),
            tuple(tile_constants(self.stage, tile).items()),
            tile.num_warps,
            (target.backend, target.arch, target.warp_size),
        )

    def _numbers(self, rows: int, channels: int) -> tuple[int, ...]:
        return (rows * channels,) if self.stage.flat else (rows, channels)

    def _warp_size(self) -> int:
        return 32 if self.interpret else int(driver.active.get_current_target().warp_size)


def _padded(views: tuple[View, ...], count: int, unused: View) -> list[View]:
    return [*views, *[unused] * (count - len(views))]
