"""Work that is seldom needed: what a kernel may skip when no lane of a vector asks for it.

`rare(c, a, b)` is `select(c, a, b)` with the promise that `a` is expensive and `c` almost always false, such as the exact
reduction of a large angle (29 instructions, for |x| > 1e5). A backend with branches computes `a` behind one.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.instructions import Span
from codegen.kernel import Kernel


@dataclass(frozen=True, slots=True)
class Group:
    """Choices by one condition: their positions, and the instructions that serve nothing but their first branch, in order."""

    condition: int
    members: tuple[int, ...]
    body: tuple[int, ...]


def rare_groups(kernel: Kernel) -> dict[int, Group]:
    """The groups, by the position of their first member, where a branch can stand: every other operand is known there."""
    code = kernel.block.instructions
    live = kernel.live()
    users: dict[int, list[int]] = {index: [] for index in live}
    for index in live:
        for argument in code[index].args:
            users[argument].append(index)
    by_condition: dict[int, list[int]] = {}
    for index in live:
        if code[index].opcode == "rare" and code[index].span in (Span.CHANNEL, Span.ELEMENT):
            by_condition.setdefault(code[index].args[0], []).append(index)
    kept = {output.index for output in kernel.outputs}
    groups: dict[int, Group] = {}
    for condition, found in by_condition.items():
        members = tuple(i for i in found if code[i].args[2] < found[0])
        inside: set[int] = set()
        for index in reversed(live[: live.index(members[-1])]):
            wanted = bool(users[index]) and all(
                u in inside or (u in members and index == code[u].args[1] and index not in code[u].args[::2]) for u in users[index]
            )
            if (
                wanted
                and index not in kept
                and code[index].opcode not in ("input", "constant")
                and code[index].span in (Span.CHANNEL, Span.ELEMENT)
            ):
                inside.add(index)
        groups[members[0]] = Group(condition, members, tuple(sorted(inside)))
    return groups
