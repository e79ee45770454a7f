"""Which expressions share a group's kernel.

All expressions of a kernel get as many registers as the one that needs most, and a kernel with means takes a launch for each level of
them for all of its slices. So expressions with equal stages come together, in the order of how many values they keep alive, and a group
ends when it is full or when its code is as long as that of a few large expressions: compile times stay even, and the compilers busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from codegen.function import Activation
from codegen.kernel import Kernel
from codegen.outline import function_body
from kernels.programs import SLOPE, make_plan

SIZE: Final = 32  # expressions of a group at most
# Instructions of a group at most, operators that are called counting as one. A search's expressions have 10 to 60 in their longest
# kernel; one that goes beyond the limit by itself, such as a loop of the catalogue (up to 3,700), has a group of its own.
LENGTH: Final = 1200


@dataclass(frozen=True, slots=True)
class Weight:
    """What an expression asks of a kernel: its levels of means each way (-1: a function of x alone), the most values alive at a time,
    its instructions, and those with the operators that it applies spelled out, a measure of its run time."""

    levels: tuple[int, ...]
    alive: int
    length: int
    cost: int


_weights: dict[str, Weight] = {}
_MEMORY_LIMIT: Final = 32_768


def weigh(function: Activation) -> Weight:
    """What an expression asks of a kernel, remembered by its structure."""
    found = _weights.get(function.key)
    if found is None:
        pointwise = function.of_x_alone
        plans = [make_plan(function, order, "f32", outlined=True) for order in ((SLOPE,) if pointwise else (0, 1))]
        kernels = [stage.kernel for plan in plans for stage in plan.stages]
        levels = (-1,) if pointwise else tuple(len(plan.stages) - 1 for plan in plans)
        found = Weight(levels, max(map(most_alive, kernels)), max(len(k.live()) for k in kernels), sum(map(spelled_out, kernels)))
        if len(_weights) >= _MEMORY_LIMIT:
            _weights.pop(next(iter(_weights)))
        _weights[function.key] = found
    return found


def most_alive(kernel: Kernel) -> int:
    """The most values that are needed at a time, from where they are computed to their last use, in the order of the instructions."""
    code, live = kernel.block.instructions, kernel.live()
    last = {argument: at for at in live for argument in code[at].args}
    last |= {output.index: live[-1] + 1 for output in kernel.outputs}
    alive, most = set[int](), 0
    for at in live:
        if code[at].opcode != "constant":
            alive.add(at)
        most = max(most, len(alive))
        alive = {value for value in alive if last.get(value, at) > at}
    return most


def spelled_out(kernel: Kernel) -> int:
    """Instructions, with those of the functions that are called."""
    code = [kernel.block.instructions[i] for i in kernel.live()]
    return sum(len(function_body(str(op.attribute)).live()) if op.opcode == "apply" else 1 for op in code)


def form_groups(functions: Sequence[Activation], size: int = SIZE, length: int = LENGTH) -> list[list[int]]:
    """Which functions go together, by their positions; those with one structure always do, and count once.

    Groups are in the order of what they ask for, so that the same functions give the same groups in whatever order they come.
    """
    by_key: dict[str, list[int]] = {}
    for k, function in enumerate(functions):
        by_key.setdefault(function.key, []).append(k)
    weights = {key: weigh(functions[found[0]]) for key, found in by_key.items()}
    order = sorted(by_key, key=lambda key: (weights[key].levels, weights[key].alive, weights[key].length, key))
    groups: list[list[int]] = []
    count = total = 0
    before: Weight | None = None
    for key in order:
        weight = weights[key]
        if before is None or weight.levels != before.levels or count == size or total + weight.length > length:
            groups.append([])
            count = total = 0
        groups[-1] += by_key[key]
        count, total, before = count + 1, total + weight.length, weight
    return groups
