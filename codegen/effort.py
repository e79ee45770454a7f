"""How long a function takes to compile, value and gradient, estimated from its graph before anything is differentiated or compiled.

Two counts make up the estimate. The instructions of the forward kernels: each level of means has a kernel, which computes again all that
it needs, so nested means make them grow with the square of the program. And the pairs of an operation and a leaf that it depends on (x,
a shift of it, a parameter, a mean): there is a derivative for each.

Calibrated on 65 programs of 3 to 3,361 nodes, on one core of a Zen 4, LLVM's fast tier, from the graph to object code: sums, products,
loops, powers, statistics side by side and nested to 40 levels, shifts of shifts, 3 to 60 parameters, catalogue functions in each other.
Of the 42 that took more than 0.1 s, up to 14.7, the estimate is 0.3 to 2.4 times the time, and 0.7 to 1.1 times for the 11 above one
second:

    u = x; repeat 15 { u = mean(sin(u))*x + cos(u)*std(u) }; u    2.4 s, estimated 2.4 (22,275 instructions, 1,470 pairs)
    u = x; repeat 24 { u = sin(u + 0.1*shift(u, 1)) }; u          3.7 s, estimated 3.5 (27,000 instructions, 8,400 pairs)
    20 parameters in a loop of 60                                 5.6 s, estimated 6.2 (7,920 instructions, 53,570 pairs)
    40 parameters in a loop of 40                                14.7 s, estimated 14.1 (6,880 instructions, 133,700 pairs)
    a sum of 399 sines                                            1.2 s, estimated 1.2 (35,908 instructions, 1,195 pairs)

Without means, shifts and parameters one kernel computes value and gradient, and they share most of their work.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final, cast

from codegen.graph import Node, mean_depth, topological
from codegen.operators import Operator
from codegen.outline import function_body

_INSTRUCTION: Final = 100e-6  # seconds
_SHARED_INSTRUCTION: Final = 30e-6  # where one kernel computes value and gradient
_PAIR: Final = 100e-6
_SMALL: Final = 40  # nodes; so few cannot take seconds


def compile_seconds(root: Node, enough: float) -> float:
    """The estimate, in seconds; anything above `enough` once it is clear that it is more."""
    order = topological([root])
    if len(order) <= _SMALL:
        return 0.0
    levels: dict[int, list[Node]] = {len(order): [root]}
    for mean, level in mean_depth([root]).items():
        levels.setdefault(level, []).append(mean.args[0])
    leaves = sum(node.operator in ("input", "mean") for node in order)
    instruction = _SHARED_INSTRUCTION if leaves <= 1 else _INSTRUCTION
    seconds = _PAIR * _pairs(order)
    for roots in levels.values():
        seconds += instruction * sum(map(_length, topological(roots, through_means=False)))
        if seconds > enough:
            break
    return seconds


def _pairs(order: Sequence[Node]) -> int:
    """How many leaves each operation depends on, of all operations together."""
    depends: dict[Node, int] = {}  # a set of leaves, as the bits of a number
    pairs = leaves = 0
    for node in order:
        if node.operator in ("input", "mean"):
            depends[node] = 1 << leaves
            leaves += 1
        else:
            depends[node] = functools.reduce(int.__or__, (depends[a] for a in node.args), 0)
            pairs += depends[node].bit_count()
    return pairs


def _length(node: Node) -> int:
    """How many instructions of a kernel an operation is."""
    if isinstance(node.operator, str) or node.constant:
        return 0
    if node.name == "ipow":
        return 2 * abs(cast(int, node.attribute)).bit_length()
    return 1 if any(node.operator.boolean_arguments) else _length_of(node.operator)


@functools.cache
def _length_of(operator: Operator) -> int:
    return len(function_body(operator.name).live()) - operator.arity
