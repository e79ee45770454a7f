"""The Triton spelling of a group's stage: one module, one kernel, each expression a scalar function.

    elementary functions    noinline, one for each operator that some expression applies (`codegen.outline`)
    expression{i}           value and sums of expression i at one element
    run{i}                  the same for the PACK elements of a thread, which are turned through one body
    choose                  branches on the expression's index, which is the same for all of a program
    the kernel              loads and stores tiles, adds sums up

What makes it compile fast, for 16 expressions of a search's population on sm_90 (4,600 lines spelled out took 460 ms an expression):
functions that are called instead of spelled out; scalar code within `tl.map_elementwise`, since passes over the layouts of tensors
took most of the time; one load and store for all expressions, since the pass that coalesces them walks the whole kernel for each;
and one body for the 4 elements that a 128-bit access moves, which are passed through it in a loop (`turns` is 4, but only known at
run time, or else the loop would be unrolled). A thread's 4 elements turn around: the first goes in, the result comes in at the end.

Arguments: `which` (int32, the expression of each slice; none if negative), the tensors, the slots as [slices, slots(, rows or channels)],
`views` (int32 [expressions, columns of the stage]), then outputs and sizes. Sums leave a program as float64 partial results, as in
`codegen.triton`: SCALAR [slices, slots, parts], CHANNEL [slices, slots, row parts, channels], ROW [slices, slots, channel blocks, rows].
"""

from __future__ import annotations

import re
from typing import Final

from codegen.group import NOT_USED, SPANS, SUMS, GroupStage, Kind, StageMember
from codegen.instructions import Span
from codegen.kernel import Kernel
from codegen.scalar_triton import ScalarLines, indented, print_function

PACK: Final = 4
# Instructions up to which an expression is spelled out for each element of a thread: turning the elements takes about six.
_UNROLLED: Final = 10
_ZERO: Final = "tl.full((), 0.0, tl.float32)"
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


def print_group(stage: GroupStage) -> str:
    """The Python source of a module with the stage's kernel. Equal stages give equal text."""
    lines = ["import triton", "import triton.language as tl"]
    applied = (str(m.kernel.block.instructions[i].attribute) for m in stage.members for i in m.kernel.live() if _applies(m.kernel, i))
    for name in sorted(set(applied)):
        lines += ["", "", *print_function(name)]
    for number, member in enumerate(stage.members):
        body = _Body(member)
        lines += ["", "", *body.expression(number), "", "", *body.run(number, stage)]
    return "\n".join([*lines, "", "", *_choose(stage), "", "", *_kernel(stage), ""])


def _applies(kernel: Kernel, index: int) -> bool:
    return kernel.block.instructions[index].opcode == "apply"


class _Body:
    """One expression: its value and sums at one element, and at the elements of a thread."""

    def __init__(self, member: StageMember) -> None:
        self._member = member
        kernel = member.kernel
        self._lines = ScalarLines(kernel, {label: _variable(*slot) for label, slot in member.slots.items()})
        code = kernel.block.instructions
        used = [i for i in kernel.live() if code[i].opcode == "input"]
        self._elements = [self._lines.name(i) for i in used if code[i].span is not Span.SCALAR]
        self._raw = [self._lines.name(i) for i in used if code[i].span is Span.SCALAR]
        inside = set(self._lines.varying())
        read = {a for i in inside for a in code[i].args} | {o.index for o in kernel.outputs}
        self._scalars = [self._lines.name(i) for i in sorted(read - inside) if code[i].span is Span.SCALAR and code[i].opcode != "constant"]

    def expression(self, number: int) -> list[str]:
        results = [o.index for o in self._member.kernel.outputs]
        lines = self._lines.lines(self._lines.varying(), results)
        lines.append("return " + ", ".join(self._lines.name(i) for i in results))
        return ["@triton.jit", f"def expression{number}({', '.join([*self._elements, *self._scalars])}):", *indented(lines)]

    def run(self, number: int, stage: GroupStage) -> list[str]:
        """A result takes the place of the first, second, ... element that is read, which is not needed any more."""
        outputs = len(self._member.kernel.outputs)
        places = [*self._elements, *(f"more{k}" for k in range(outputs - len(self._elements)))]
        results = [f"r{k}" for k in range(outputs)]
        lines = [f"zero = {_ZERO}", *self._lines.lines(self._lines.fixed(), [])]
        if len(self._lines.varying()) <= _UNROLLED:
            for j in range(PACK):
                lines.append(f"{', '.join(f'{p}_{j}' for p in places[:outputs])} = {self._call(number, j)}")
        else:
            # Each a value of its own: Triton takes a name that is given an equal one for a name that the loop does not change.
            lines += [f"{p}_{j} = {_ZERO}" for p in places[len(self._elements) :] for j in range(PACK)]
            lines += ["for turn in range(turns):", f"    {', '.join(results)} = {self._call(number, 0)}"]
            for k, place in enumerate(places):
                new = [*(f"{place}_{j}" for j in range(1, PACK)), results[k] if k < outputs else f"{place}_0"]
                lines.append(f"    {_packed(place)} = {', '.join(new)}")
        position = dict(zip(self._member.places, places, strict=False))
        found = [_packed(position[key]) if key in position else ", ".join(["zero"] * PACK) for key in _results(stage)]
        lines.append("return " + ", ".join(found))
        arguments = [*map(_packed, self._elements), *self._raw, "turns"]
        return ["@triton.jit", f"def run{number}({', '.join(arguments)}):", *indented(lines)]

    def call(self, number: int) -> str:
        """`run` where all variables of the stage are known in packs."""
        arguments = [*map(_packed, self._elements), *(f"{name}_0" for name in self._raw), "turns_0"]
        return f"run{number}({', '.join(arguments)})"

    def _call(self, number: int, j: int) -> str:
        return f"expression{number}({', '.join([*(f'{e}_{j}' for e in self._elements), *self._scalars])})"


def _variable(kind: Kind, slot: int) -> str:
    return f"{kind}{slot}"


def _packed(name: str) -> str:
    return ", ".join(f"{name}_{j}" for j in range(PACK))


def _results(stage: GroupStage) -> list[tuple[Span, int]]:
    """What the stage computes at each element: what is stored there, then the terms of sums."""
    return [(span, number) for span in (Span.ELEMENT, *SUMS) for number in range(stage.outputs[span])]


def _result(span: Span, slot: int) -> str:
    return f"value{slot}" if span is Span.ELEMENT else f"{span.name.lower()}_term{slot}"


def _variables(stage: GroupStage) -> list[str]:
    return [_variable(kind, slot) for kind in SPANS for slot in range(stage.counts[kind])]


def _choose(stage: GroupStage) -> list[str]:
    names = ", ".join(_packed(_result(*key)) for key in _results(stage))
    calls = [f"{names} = {_Body(member).call(number)}" for number, member in enumerate(stage.members)]

    def tree(low: int, high: int) -> list[str]:
        if high - low == 1:
            return [calls[low]]
        middle = (low + high) // 2
        return [f"if expression_0 < {middle}:", *indented(tree(low, middle)), "else:", *indented(tree(middle, high))]

    arguments = ", ".join(map(_packed, [*_variables(stage), "expression", "turns"]))
    return ["@triton.jit", f"def choose({arguments}):", *indented([*tree(0, len(calls)), f"return {names}"])]


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
        *indented([*head, "for tile in range(tiles):", *indented(tile), *tail]),
    ]


def _shape(stage: GroupStage) -> str:
    return "(BLOCK,)" if stage.flat else "(BLOCK_ROWS, BLOCK_CHANNELS)"


def _accumulated(stage: GroupStage) -> list[str]:
    """The sums that run over all tiles of a program."""
    return [f"{span.name.lower()}_sum{k}" for span in (Span.SCALAR, Span.CHANNEL) for k in range(stage.outputs[span])]


def _evaluated(stage: GroupStage) -> list[str]:
    names = [_result(*key) for key in _results(stage)]
    call = f"tl.map_elementwise(choose, {', '.join(_variables(stage))}, expression, turns, pack={PACK})"
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
