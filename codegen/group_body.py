"""What a thread does with its elements in a group's kernel: it branches on the expression's index, and runs that expression.

    an expression     value and sums at one element, spelled out
    its turns         the same for the PACK elements of a thread, which are turned through one body
    the body          the branch, which goes the same way for all of a program

What makes it compile fast, for 16 expressions of a search's population on sm_90 (4,600 lines spelled out took 460 ms an expression):
functions that are called instead of spelled out (`codegen.outline`); scalar code, since passes over the layouts of tensors took most of
the time, which a builder puts in place (`codegen.scalar_triton`); and one body for the 4 elements that a 128-bit access moves, which are
passed through it in a loop, of as many turns as an argument says, or else it would be unrolled. A thread's 4 elements turn around: the
first goes in, the result comes in at the end.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from codegen import scalar_triton
from codegen.group import SPANS, SUMS, GroupStage, Slot, StageMember
from codegen.instructions import Span, Type
from codegen.kernel import Kernel
from codegen.outline import function_body
from codegen.scalar_triton import Flow, Handle, ScalarCode, constant

PACK: Final = 4
# Instructions up to which an expression is spelled out for each element of a thread: turning the elements takes about six.
_UNROLLED: Final = 10


def variables(stage: GroupStage) -> list[Slot]:
    """What the body is given of each element, in order; behind that come the expression's index and the number of turns."""
    return [(kind, slot) for kind in SPANS for slot in range(stage.counts[kind])]


def results(stage: GroupStage) -> list[tuple[Span, int]]:
    """What the body gives for each element: what is stored there, then the terms of sums."""
    return [(span, number) for span in (Span.ELEMENT, *SUMS) for number in range(stage.outputs[span])]


def is_turned(kernel: Kernel) -> bool:
    """Whether the elements of a thread are turned through one body."""
    return len(_varying(kernel)) > _UNROLLED


def body_name(stage: GroupStage) -> str:
    """The body's name in the kernel's text, with a digest of all that the body follows from."""
    live = [(m.kernel, m.kernel.live()) for m in stage.members]
    applied = {str(op.attribute) for kernel, found in live for op in (kernel.block.instructions[i] for i in found) if op.opcode == "apply"}
    members = [(m.slots, m.places, [(o.span.value, o.index) for o in m.kernel.outputs]) for m in stage.members]
    code = [_listed(kernel) for kernel in (*(kernel for kernel, _ in live), *(function_body(name) for name in sorted(applied)))]
    text = repr((_own_source(), members, code, stage.counts, stage.outputs))
    return f"body_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _listed(kernel: Kernel) -> list[tuple[object, ...]]:
    code = kernel.block.instructions
    return [(i, code[i].opcode, code[i].args, code[i].type, code[i].attribute, code[i].span.value) for i in kernel.live()]


@functools.cache
def _own_source() -> str:
    files = (__file__, str(scalar_triton.__file__))
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()


def put_body(flow: Flow, stage: GroupStage, arguments: Sequence[Handle]) -> list[Handle]:
    """Put the body where the flow is. Arguments and results are in packs: a thread's first, second, ... element of each."""
    packs = [list(arguments[k : k + PACK]) for k in range(0, len(arguments), PACK)]
    *found, expressions, turns = packs
    given = dict(zip(variables(stage), found, strict=True))
    names = results(stage)

    def one_of(low: int, high: int) -> list[Handle]:
        if high - low == 1:
            return _put_expression(flow, stage, stage.members[low], given, turns[0])
        middle = (low + high) // 2
        condition = flow.builder.create_icmpSLT(expressions[0], constant(flow.builder, middle, "i32"))
        types: list[Type] = ["f32"] * (PACK * len(names))
        return flow.branch(condition, types, lambda: one_of(low, middle), lambda: one_of(middle, high))

    return one_of(0, len(stage.members))


def _put_expression(
    flow: Flow, stage: GroupStage, member: StageMember, given: Mapping[Slot, Sequence[Handle]], turns: Handle
) -> list[Handle]:
    """One expression at a thread's elements; zeros for what it does not compute.

    A result takes the place of the first, second, ... element that is read, which is not needed any more.
    """
    kernel = member.kernel
    code, live = kernel.block.instructions, kernel.live()
    inputs = {i: given[member.slots[str(code[i].attribute)]] for i in live if code[i].opcode == "input"}
    elements = [pack for i, pack in inputs.items() if code[i].span is not Span.SCALAR]
    names = [i for i in inputs if code[i].span is not Span.SCALAR]
    fixed = {i: pack[0] for i, pack in inputs.items() if code[i].span is Span.SCALAR}
    body = ScalarCode(flow, kernel)
    body.put([i for i in live if code[i].span is Span.SCALAR and code[i].opcode not in ("input", "constant")], fixed)
    varying, outputs = _varying(kernel), [o.index for o in kernel.outputs]

    def at_one(element: Sequence[Handle]) -> list[Handle]:
        values = {**fixed, **dict(zip(names, element, strict=True))}
        body.put(varying, values)
        return [body.value(index, values) for index in outputs]

    def turned(state: list[Handle]) -> list[Handle]:
        places = [state[k : k + PACK] for k in range(0, len(state), PACK)]
        new = at_one([place[0] for place in places[: len(names)]])
        return [h for k, place in enumerate(places) for h in (*place[1:], new[k] if k < len(new) else place[0])]

    zero = constant(flow.builder, 0.0)
    if is_turned(kernel):
        more = [zero] * PACK * max(0, len(outputs) - len(names))
        state = flow.repeat(turns, [*(h for pack in elements for h in pack), *more], turned)
        packs = [state[PACK * k : PACK * (k + 1)] for k in range(len(outputs))]
    else:
        found = [at_one(element) for element in zip(*elements, strict=True)] if elements else [at_one([])] * PACK
        packs = [[each[k] for each in found] for k in range(len(outputs))]
    position = dict(zip(member.places, packs, strict=True))
    return [h for name in results(stage) for h in position.get(name, [zero] * PACK)]


def _varying(kernel: Kernel) -> list[int]:
    """The instructions that are computed for each element."""
    code = kernel.block.instructions
    return [i for i in kernel.live() if code[i].span is not Span.SCALAR and code[i].opcode != "input"]
