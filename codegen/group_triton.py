"""The Triton spelling of a group's stage: a kernel that loads and stores tiles and adds sums up, around a body of scalar code.

The text is the kernel alone. It calls its body, which `codegen.group_body` puts in place while the kernel is compiled or interpreted,
through `tl.map_elementwise`, by a name that tells equal bodies from different ones. One load and one store serve all expressions, since
the pass that coalesces them walks the whole kernel for each.

Arguments: `which` (int32, the expression of each slice; none if negative), the tensors, the slots as [slices, slots(, rows or channels)],
`views` (int32 [expressions, columns of the stage]), then outputs and sizes. Sums leave a program as float64 partial results, as in
`codegen.triton`: SCALAR [slices, slots, parts], CHANNEL [slices, slots, row parts, channels], ROW [slices, slots, channel blocks, rows].
"""

from __future__ import annotations

import re
from typing import Final

from codegen.group import NOT_USED, SPANS, SUMS, GroupStage, Kind
from codegen.group_body import PACK, results, variables
from codegen.instructions import Span

_TENSORS: Final[dict[Kind, str]] = {"x": "x", "x_view": "x", "cotangent": "cotangent", "cotangent_view": "cotangent"}


def function_name(stage: GroupStage) -> str:
    """The stage's kernel as a Python name."""
    return "group_" + re.sub(r"\W", "_", stage.name, flags=re.ASCII)


def pointers(stage: GroupStage) -> list[str]:
    """The kernel's pointers, in order: what it reads, then what it writes."""
    read = dict.fromkeys(_TENSORS.get(kind, kind) for kind in SPANS if stage.counts[kind])
    written = [f"result{k}" for k in range(stage.outputs[Span.ELEMENT])]
    written += [f"{span.name.lower()}_sums" for span in SUMS if stage.outputs[span]]
    return ["which", *read, *["views"] * bool(stage.columns), *written]


def sizes(stage: GroupStage) -> tuple[list[str], list[str]]:
    """The sizes at run time, and those at compile time."""
    if stage.flat:
        return ["n", "tiles", "turns"], ["BLOCK"]
    return ["rows", "channels", "tiles", "turns"], ["BLOCK_ROWS", "BLOCK_CHANNELS"]


def print_group(stage: GroupStage, name: str) -> str:
    """The Python source of a module with the stage's kernel, but for its body, which is called `name` (`codegen.group_body.body_name`)."""
    given = [*(_variable(*slot) for slot in variables(stage)), "expression", "turns"]
    arguments = ", ".join(f"{variable}_{j}" for variable in given for j in range(PACK))
    body = ["@triton.jit", f"def body({arguments}):", *_indented([f"return {name}({arguments})"])]
    return "\n".join(["import triton", "import triton.language as tl", "", "", *body, "", "", *_kernel(stage), ""])


def _variable(kind: Kind, slot: int) -> str:
    return f"{kind}{slot}"


def _result(span: Span, slot: int) -> str:
    return f"value{slot}" if span is Span.ELEMENT else f"{span.name.lower()}_term{slot}"


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _kernel(stage: GroupStage) -> list[str]:
    run_time, compile_time = sizes(stage)
    signature = ", ".join([*pointers(stage), *run_time, *(f"{name}: tl.constexpr" for name in compile_time)])
    head = ["slice = tl.program_id(0).to(tl.int64)", "part = tl.program_id(1)", "expression = tl.load(which + slice)"]
    for kind in SPANS:
        if SPANS[kind] is Span.SCALAR:
            head += [f"{kind}{k} = tl.load({kind} + slice * {stage.arrays[kind]} + {k})" for k in range(stage.counts[kind])]
    tile, tail = _flat(stage) if stage.flat else _structured(stage, head)
    head += [f"{name} = tl.full({_shape(stage)}, 0.0, tl.float64)" for name in _accumulated(stage)]
    fixed = [name for name in run_time if name not in ("n", "channels")]
    decorator = f"@triton.jit(do_not_specialize={fixed!r})"
    return [
        decorator,
        f"def {function_name(stage)}({signature}):",
        *_indented([*head, "for tile in range(tiles):", *_indented(tile), *tail]),
    ]


def _shape(stage: GroupStage) -> str:
    return "(BLOCK,)" if stage.flat else "(BLOCK_ROWS, BLOCK_CHANNELS)"


def _accumulated(stage: GroupStage) -> list[str]:
    """The sums that run over all tiles of a program."""
    return [f"{span.name.lower()}_sum{k}" for span in (Span.SCALAR, Span.CHANNEL) for k in range(stage.outputs[span])]


def _evaluated(stage: GroupStage) -> list[str]:
    names = [_result(*key) for key in results(stage)]
    given = ", ".join(_variable(*slot) for slot in variables(stage))
    call = f"tl.map_elementwise(body, {given}, expression, turns, pack={PACK})"
    lines = [f"results = {call}", *(f"{name} = results[{k}]" for k, name in enumerate(names))]
    lines += [f"tl.store(result{k} + offsets, {_result(Span.ELEMENT, k)}, mask)" for k in range(stage.outputs[Span.ELEMENT])]
    for span in (Span.SCALAR, Span.CHANNEL):
        for k in range(stage.outputs[span]):
            total = f"{span.name.lower()}_sum{k}"
            lines.append(f"{total} = {total} + {_masked(_result(span, k))}")
    return lines


def _masked(name: str) -> str:
    return f"tl.where(mask, {name}, 0.0).to(tl.float64)"


def _scalar_sums(stage: GroupStage) -> list[str]:
    count = stage.outputs[Span.SCALAR]
    return [f"tl.store(scalar_sums + (slice * {count} + {k}) * tl.num_programs(1) + part, tl.sum(scalar_sum{k}))" for k in range(count)]


def _flat(stage: GroupStage) -> tuple[list[str], list[str]]:
    tile = [
        "at = (part * tiles + tile) * BLOCK + tl.arange(0, BLOCK)",
        "mask = (at < n) & (expression >= 0)",
        "offsets = slice * n + at",
        *(f"{kind}0 = tl.load({kind} + offsets, mask)" for kind in ("x", "cotangent") if stage.counts[kind]),
        *_evaluated(stage),
    ]
    return tile, _scalar_sums(stage)


def _structured(stage: GroupStage, head: list[str]) -> tuple[list[str], list[str]]:
    head += [
        "channel_blocks = (channels + BLOCK_CHANNELS - 1) // BLOCK_CHANNELS",
        "row_part = part // channel_blocks",
        "channel_block = part % channel_blocks",
        "column = channel_block * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)[None, :]",
        "column_mask = (column < channels) & (expression >= 0)",
        *_views(stage),
    ]
    tile = [
        "row = (row_part * tiles + tile) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)[:, None]",
        "row_mask = (row < rows) & (expression >= 0)",
        "mask = row_mask & column_mask",
        "begin = (slice * rows + row) * channels",
        "offsets = begin + column",
        *(f"{kind}0 = tl.load({kind} + offsets, mask)" for kind in ("x", "cotangent") if stage.counts[kind]),
    ]
    for kind in ("x_view", "cotangent_view"):
        for k in range(stage.counts[kind]):
            tile.append(f"{kind}{k} = tl.load({_TENSORS[kind]} + begin + {kind}{k}_column, mask & {kind}{k}_used)")
    place = f"row_mean + (slice * {stage.arrays['row_mean']} + {{}}) * rows + row"
    tile += [f"row_mean{k} = tl.load({place.format(k)}, row_mask)" for k in range(stage.counts["row_mean"])]
    tile += _evaluated(stage)
    for k in range(stage.outputs[Span.ROW]):
        place = f"row_sums + ((slice * {stage.outputs[Span.ROW]} + {k}) * channel_blocks + channel_block) * rows + row"
        tile.append(f"tl.store({place}, tl.sum({_masked(_result(Span.ROW, k))}, axis=1, keep_dims=True), row_mask)")
    tail = _scalar_sums(stage)
    count = stage.outputs[Span.CHANNEL]
    for k in range(count):
        place = f"channel_sums + ((slice * {count} + {k}) * (tl.num_programs(1) // channel_blocks) + row_part) * channels + column"
        tail.append(f"tl.store({place}, tl.sum(channel_sum{k}, axis=0, keep_dims=True), column_mask)")
    return tile, tail


def _views(stage: GroupStage) -> list[str]:
    """The columns that each view shows, and the numbers per channel, which are read once."""
    lines = []
    for at, (kind, k) in enumerate(stage.columns):
        name, entry = f"{kind}{k}", f"tl.load(views + tl.maximum(expression, 0) * {2 * len(stage.columns)} + {2 * at}"
        lines += [
            f"{name}_shift = {entry} + 1)",
            f"{name}_used = {name}_shift != {NOT_USED}",
            f"{name}_column = column - {name}_shift % channels",  # the remainder has the sign of the shift
            f"{name}_column = tl.where({name}_column < 0, {name}_column + channels, {name}_column)",
            f"{name}_column = tl.where({name}_column >= channels, {name}_column - channels, {name}_column)",
        ]
        if SPANS[kind] is Span.CHANNEL:
            place = f"{kind} + (slice * {stage.arrays[kind]} + {entry})) * channels + {name}_column"
            lines.append(f"{name} = tl.load({place}, column_mask & {name}_used)")
    return lines
