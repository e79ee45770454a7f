"""What a thread does with its elements in a group's kernel: the body, a loop in which each element goes through one of the expressions.

The loop turns the PACK elements of a thread around: the first goes in, and the result comes in at the end. There is one loop for all
expressions, and within it the branch on the expression's index, which goes the same way for all of a program.

What makes it compile fast, for 16 expressions of a search's population on sm_90 (4,600 lines spelled out took 460 ms an expression):
functions that are called instead of spelled out (`codegen.outline`); scalar code, since passes over the layouts of tensors took most of
the time, which a builder puts in place (`codegen.scalar_triton`); and each expression once for the 4 elements that a 128-bit access moves,
in a loop of as many turns as an argument says, or else it would be unrolled. A loop for each expression, around what was longer than such a
loop, branched once a thread instead of once an element, and took 18 ms instead of 16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from codegen.group import SPANS, SUMS, GroupStage, Slot, StageMember
from codegen.instructions import Span, Type
from codegen.kernel import Kernel
from codegen.outline import function_body
from codegen.scalar_triton import Flow, Handle, ScalarCode, constant

PACK: Final = 4


def variables(stage: GroupStage) -> list[Slot]:
    """What the body is given of each element, in order; behind that come the expression's index and the number of turns."""
    return [(kind, slot) for kind in SPANS for slot in range(stage.counts[kind])]


def results(stage: GroupStage) -> list[tuple[Span, int]]:
    """What the body gives for each element: what is stored there, then the terms of sums."""
    return [(span, number) for span in (Span.ELEMENT, *SUMS) for number in range(stage.outputs[span])]


def body_name(stage: GroupStage) -> str:
    """The body's name in the kernel's text, with a digest of what the body computes."""
    live = [(m.kernel, m.kernel.live()) for m in stage.members]
    applied = {str(op.attribute) for kernel, found in live for op in (kernel.block.instructions[i] for i in found) if op.opcode == "apply"}
    members = [(m.slots, m.places, [(o.span.value, o.index) for o in m.kernel.outputs]) for m in stage.members]
    code = [_listed(kernel) for kernel in (*(kernel for kernel, _ in live), *(function_body(name) for name in sorted(applied)))]
    text = repr((members, code, stage.counts, stage.outputs))
    return f"body_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _listed(kernel: Kernel) -> list[tuple[object, ...]]:
    code = kernel.block.instructions
    return [(i, code[i].opcode, code[i].args, code[i].type, code[i].attribute, code[i].span.value) for i in kernel.live()]


def put_body(flow: Flow, stage: GroupStage, arguments: Sequence[Handle]) -> list[Handle]:
    """Put the body where the flow is. Arguments and results are in packs: a thread's first, second, ... element of each.

    A result takes the place of the first, second, ... element that is read, which is not needed any more.
    """
    *packs, expressions, turns = (arguments[k : k + PACK] for k in range(0, len(arguments), PACK))
    given = dict(zip(variables(stage), packs, strict=True))
    fixed = {slot: pack[0] for slot, pack in given.items() if SPANS[slot[0]] is Span.SCALAR}
    elements = [slot for slot in given if slot not in fixed]
    members = [_Expression(stage, member) for member in stage.members]
    count, ahead = len(results(stage)), max(len(m.ahead) for m in members)
    zero = constant(flow.builder, 0.0)

    def one_of(what: Callable[[_Expression], list[Handle]], count: int, low: int = 0, high: int = len(members)) -> list[Handle]:
        """What a piece of code for each expression gives: so many numbers."""
        if high - low == 1:
            return what(members[low])
        middle = (low + high) // 2
        condition = flow.builder.create_icmpSLT(expressions[0], constant(flow.builder, middle, "i32"))
        types: list[Type] = ["f32"] * count
        return flow.branch(condition, types, lambda: one_of(what, count, low, middle), lambda: one_of(what, count, middle, high))

    known = one_of(lambda m: _padded(m.put_ahead(flow, fixed), ahead, zero), ahead) if ahead else []

    def turned(state: list[Handle]) -> list[Handle]:
        places = [state[k : k + PACK] for k in range(0, len(state), PACK)]
        here = fixed | dict(zip(elements, (place[0] for place in places), strict=False))
        new = one_of(lambda m: m.put(flow, here, known, zero), count)
        return [h for k, place in enumerate(places) for h in (*place[1:], new[k] if k < count else place[0])]

    more = [zero] * PACK * max(0, count - len(elements))
    return flow.repeat(turns[0], [*(h for slot in elements for h in given[slot]), *more], turned)[: PACK * count]


def _padded(handles: list[Handle], count: int, zero: Handle) -> list[Handle]:
    return [*handles, *[zero] * (count - len(handles))]


class _Expression:
    """One expression at one element. `ahead`: what is the same for a whole slice and read for each element, computed before the loop."""

    def __init__(self, stage: GroupStage, member: StageMember) -> None:
        self._stage, self._member, self._kernel = stage, member, member.kernel
        code, live = self._kernel.block.instructions, self._kernel.live()
        self._fixed = [i for i in live if code[i].span is Span.SCALAR and code[i].opcode not in ("input", "constant")]
        self._varying = [i for i in live if code[i].span is not Span.SCALAR and code[i].opcode != "input"]
        self.ahead: list[int] = []
        pending = [a for i in self._varying for a in code[i].args] + [o.index for o in self._kernel.outputs]
        fixed = set(self._fixed)
        while pending:
            index = pending.pop()
            if index in fixed:
                fixed.remove(index)
                if code[index].type == "f32":
                    self.ahead.append(index)
                else:  # a truth value, which follows from numbers at once
                    self._varying.append(index)
                    pending.extend(code[index].args)
        self.ahead.sort()
        self._varying.sort()

    def put_ahead(self, flow: Flow, given: Mapping[Slot, Handle]) -> list[Handle]:
        """What `put` wants to know."""
        code = self._code(flow, given)
        code.put(self._fixed)
        return [code.value(i) for i in self.ahead]

    def put(self, flow: Flow, given: Mapping[Slot, Handle], known: Sequence[Handle], zero: Handle) -> list[Handle]:
        """What the stage computes at the element; zeros for what the expression does not."""
        code = self._code(flow, given)
        code.give(dict(zip(self.ahead, known, strict=False)))
        code.put(self._varying)
        found = dict(zip(self._member.places, code.outputs(), strict=True))
        return [found.get(name, zero) for name in results(self._stage)]

    def _code(self, flow: Flow, given: Mapping[Slot, Handle]) -> ScalarCode:
        return ScalarCode(flow, self._kernel, {name: given[slot] for name, slot in self._member.slots.items() if slot in given})
