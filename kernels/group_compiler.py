"""The machine code of group kernels: their tiles, the types of their arguments, and compiling them for a GPU that need not be there."""

from __future__ import annotations

from typing import Final

import triton
from triton.compiler import ASTSource

from codegen.group import GroupStage
from codegen.group_body import PACK
from codegen.group_triton import pointers, sizes
from kernels.group_flow import CompiledGroup
from kernels.triton_compiler import MAX_BLOCK_CHANNELS, NUM_WARPS, TARGETS, Compiled, Tile, compile_options

_TYPES: Final = {"which": "*i32", "views": "*i32", "scalar_sums": "*fp64", "row_sums": "*fp64", "channel_sums": "*fp64"}
_SPECIALISED: Final = ("n", "channels")  # of the sizes: whether 16 divides them decides on the width of accesses
_ALIGNED: Final = [["tt.divisibility", 16]]


def group_tile(stage: GroupStage, warp_size: int, channels: int, num_warps: int = NUM_WARPS) -> Tile:
    """The tile of a program: `PACK` elements a thread, one 128-bit access."""
    block = num_warps * warp_size * PACK
    if stage.flat:
        return Tile(1, block, num_warps)
    width = min(triton.next_power_of_2(max(channels, 1)), MAX_BLOCK_CHANNELS, block)
    return Tile(block // width, width, num_warps)


def pointer_type(name: str) -> str:
    """The type of a pointer argument as Triton writes it."""
    return _TYPES.get(name, "*fp32")


def compile_stage(stage: GroupStage, target: str, tile: Tile) -> Compiled:
    """Compile for "sm_80", "sm_90", "sm_100" or "gfx942"; no GPU is needed.

    The code is what the launcher gets for tensors whose channels are a multiple of 16. KeyError for another target.
    """
    gpu = TARGETS[target]
    run_time, compile_time = sizes(stage)
    signature = {name: pointer_type(name) for name in pointers(stage)}
    signature |= dict.fromkeys(run_time, "i32") | dict.fromkeys(compile_time, "constexpr")
    aligned = {(i,): _ALIGNED for i, name in enumerate(signature) if name in (*pointers(stage), *_SPECIALISED)}
    group = CompiledGroup(stage)
    source = ASTSource(group.function, signature, constexprs=tile_constants(stage, tile), attrs=aligned)
    with group.running(keep_stages=True):
        compiled = triton.compile(source, target=gpu, options={"num_warps": tile.num_warps, **compile_options(gpu)})
    return Compiled(compiled.asm, compiled.metadata, gpu, tile)


def tile_constants(stage: GroupStage, tile: Tile) -> dict[str, int]:
    """The compile-time arguments of the stage's function."""
    return {"BLOCK": tile.channels} if stage.flat else {"BLOCK_ROWS": tile.rows, "BLOCK_CHANNELS": tile.channels}
