"""How a tensor is cut into tiles for a CPU kernel: by its size and the kernel's shape alone, never by the number of threads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from codegen.instructions import Span
from codegen.kernel import Input, Output

TILE: Final = 16384
_TILES: Final = 64  # of a large tensor, whose tiles may then grow to _LONG: longer streams run 8% faster from memory
_LONG: Final = 131072
_NARROW: Final = 256  # rows shorter than this are joined
_JOINED: Final = 1024  # up to about this length, in steps of a vector so that each begins where a vector does
_STEP: Final = 16


@dataclass(frozen=True, slots=True)
class Tiles:
    """`length`: elements in a row as the kernel sees it. `join`: how many of the tensor's rows are one of those, so that what is
    given per channel must be repeated as often and what is summed per channel folded. `rows`: the kernel's rows in a tile.
    `count`: tiles."""

    length: int
    join: int
    rows: int
    count: int


def cut(inputs: Sequence[Input], outputs: Sequence[Output], rows: int, channels: int) -> Tiles:
    """The tiles of a tensor of rows x channels for a kernel that reads `inputs` and writes `outputs`."""
    spans = {i.span for i in inputs} | {o.span for o in outputs}
    total = rows * channels
    if not spans & {Span.ROW, Span.CHANNEL}:
        length, join, tile_rows = min(max(total // _TILES // TILE * TILE, TILE), _LONG), 1, 1
    else:
        join = 1
        if Span.ROW not in spans and 0 < channels < _NARROW:
            join = min(max(rows, 1), _STEP * math.ceil(_JOINED / (channels * _STEP)))
        length = channels * join
        tile_rows = max(1, TILE // max(length, 1))
        if any(o.span is Span.CHANNEL for o in outputs):
            # Each tile writes one sum per channel: let it pay with 16 rows, as long as there are 8 tiles.
            tile_rows = max(tile_rows, min(16, rows // 8))
    return Tiles(length, join, tile_rows, -(-total // (length * tile_rows)) if total else 0)
