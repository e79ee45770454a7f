"""Work that is seldom needed: what a kernel may skip when no lane of a vector asks for it.

`rare(c, a, b)` is `select(c, a, b)` with the promise that `a` is expensive and `c` almost always false, such as the exact
reduction of a large angle (29 instructions, for |x| > 1e5). A backend with branches computes `a` behind one.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from codegen.instructions import Instruction, Span
from codegen.kernel import Kernel

_VARYING: Final = (Span.CHANNEL, Span.ELEMENT)
# Instructions from which on a branch around them pays on a GPU: the exact reduction of a large angle has 29, half of a sine.
_LONG: Final = 8


@dataclass(frozen=True, slots=True)
class Group:
    """Choices by one condition: their positions, and the instructions that serve nothing but their first branch, in order."""

    condition: int
    members: tuple[int, ...]
    body: tuple[int, ...]


def rare_groups(kernel: Kernel, live: Sequence[int]) -> dict[int, Group]:
    """The groups, by the position of their first member, where a branch can stand: every other operand is known there.

    `live` are the instructions of the kernel that some output needs, in order.
    """
    code = kernel.block.instructions
    by_condition: dict[int, list[int]] = {}
    for index in live:
        if code[index].opcode == "rare" and code[index].span in _VARYING:
            by_condition.setdefault(code[index].args[0], []).append(index)
    if not by_condition:
        return {}
    users: dict[int, list[int]] = {}
    for index in live:
        for argument in code[index].args:
            users.setdefault(argument, []).append(index)
    kept = {output.index for output in kernel.outputs}
    groups: dict[int, Group] = {}
    for condition, found in by_condition.items():
        members = tuple(i for i in found if code[i].args[2] < found[0])
        groups[members[0]] = Group(condition, members, _body(code, members, users, kept))
    return groups


def long_groups(kernel: Kernel, live: Sequence[int]) -> dict[int, Group]:
    """Those of `rare_groups` that are worth a branch on a GPU."""
    return {at: group for at, group in rare_groups(kernel, live).items() if len(group.body) >= _LONG}


def _body(code: Sequence[Instruction], members: tuple[int, ...], users: Mapping[int, Sequence[int]], kept: Set[int]) -> tuple[int, ...]:
    """What serves nothing but the first branch of the members, in order. From the branches down: users are met before what they use."""
    inside: set[int] = set()
    pending = [-code[m].args[1] for m in members]
    heapq.heapify(pending)
    while pending:
        index = -heapq.heappop(pending)
        instruction = code[index]
        if index in inside or index in kept or instruction.opcode in ("input", "constant") or instruction.span not in _VARYING:
            continue
        if all(u in inside or (u in members and index not in code[u].args[::2]) for u in users[index]):
            inside.add(index)
            for argument in instruction.args:
                heapq.heappush(pending, -argument)
    return tuple(sorted(inside))
