"""A function as a sequence of kernels: one per level of means, then one for the results.

Everything but a mean is point by point. So a function with statistics runs in stages: the first averages what needs no
statistic, each next one reads the means of those before, and the last computes the results. A function without statistics is
one stage. A stage's body is printed for a backend from the same instructions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from codegen.asymptotics import guard_products
from codegen.derivative import Result
from codegen.graph import OVER_SPAN, Node, Reduction, Source, mean, mean_depth
from codegen.instructions import Block, Span, Value
from codegen.kernel import COMPUTE, Input, Kernel, Output, Storage
from codegen.operators import Operator
from codegen.outline import is_outlined
from codegen.structure import Tape, tape


@dataclass(frozen=True, slots=True)
class Stage:
    """One kernel of a plan, and the expressions of constants that it reads as scalars `constant.0`, `constant.1`, ...

    A name with a point cannot be a parameter's.
    """

    kernel: Kernel
    tape: Tape
    tape_roots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The stages in order. A stage's outputs named `mean.0`, `mean.1`, ... are sums, still to be divided by the number of values."""

    stages: tuple[Stage, ...]


_LARGE: Final = 500  # nodes


def plan(name: str, results: Sequence[Result], storage: Storage, outlined: bool = False) -> Plan:
    """The kernels that compute `results`, in storage type `storage`; the last one's outputs are the results, in order.

    `outlined`: long operators are not spelled out but applied by name (`codegen.outline`).
    """
    guarded = guard_products([r.node for r in results])
    depths = mean_depth(guarded)
    levels = {_plain(node): depth for node, depth in depths.items()}
    names = {node: f"mean.{k}" for k, node in enumerate(levels)}
    stages = []
    for level in range(1, max(levels.values(), default=0) + 1):
        here = [node for node in levels if levels[node] == level]
        outputs = [(names[node], Result(node.args[0], OVER_SPAN[cast(Reduction, node.attribute).over])) for node in here]
        stages.append(_stage(f"{name}_level{level}", outputs, names, storage, outlined))
    final = [(f"result{k}", Result(node, r.span)) for k, (node, r) in enumerate(zip(guarded, results, strict=True))]
    stages.append(_stage(name, final, names, storage, outlined))
    return Plan(tuple(stages))


def _plain(node: Node) -> Node:
    return mean(node.args[0], cast(Reduction, node.attribute).over)


def _stage(name: str, outputs: Sequence[tuple[str, Result]], means: dict[Node, str], storage: Storage, outlined: bool) -> Stage:
    block = Block(COMPUTE[storage])
    inputs: dict[str, Input] = {}
    values: dict[Node, Value] = {}
    constants: list[Node] = []

    def read(source: str, span: Span, shift: int) -> Value:
        label = f"{source}.{shift}" if shift else source
        inputs.setdefault(label, Input(label, span, source, shift))
        return block.input(label, span)

    roots = [result.node for _, result in outputs]
    for node in _needed(roots):
        if isinstance(node.attribute, Source):
            values[node] = read(node.attribute.name, node.attribute.span, node.attribute.shift)
        elif isinstance(node.attribute, Reduction):
            values[node] = read(means[_plain(node)], node.span, node.attribute.shift)
        elif node.operator == "constant":
            value = cast(float, node.attribute)
            zero = block.constant(0.0)
            values[node] = block.emit("eq", zero, 0.0 if value else 1.0) if node.boolean else block.constant(value)
        elif node.constant and not node.boolean:
            values[node] = read(f"constant.{len(constants)}", Span.SCALAR, 0)
            constants.append(node)
        else:
            operator, args = cast(Operator, node.operator), [values[a] for a in node.args]
            if outlined and is_outlined(operator):
                values[node] = block.apply(operator.name, *args)
            else:
                extra = () if node.attribute is None else (node.attribute,)
                values[node] = operator.kernel(block, *args, *extra)
    kernel_outputs = tuple(Output(label, result.span, values[result.node].index) for label, result in outputs)
    lines, tape_roots = tape(constants)
    return Stage(Kernel(name, storage, block, tuple(inputs.values()), kernel_outputs), lines, tape_roots)


def _needed(roots: Sequence[Node]) -> list[Node]:
    """What a kernel evaluates: means are leaves, and so is an expression of constants (the host evaluates it).

    The order is by height above the leaves, so that what belongs together (the value and the slope of each step of a loop) is
    computed together and few values are alive at once: 122 spills instead of 3,621 for the longest of the catalogue on sm_90. Of large ones
    it is that or by distance from the results, whichever keeps fewer alive: none instead of 62.
    """
    height: dict[Node, int] = {}
    seen: set[Node] = set()
    order: list[Node] = []
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
            height[node] = 1 + max((height.get(a, 0) for a in node.args), default=0)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(_operands(node)) if a not in seen)
    by_height = sorted(order, key=height.__getitem__)
    if len(order) < _LARGE:
        return by_height
    return min(by_height, _as_late_as_possible(order, roots), key=_most_alive)


def _as_late_as_possible(order: Sequence[Node], roots: Sequence[Node]) -> list[Node]:
    """By distance from the results: each node just before what uses it."""
    distance = dict.fromkeys(roots, 0)
    for node in reversed(order):
        for argument in _operands(node):
            distance[argument] = max(distance.get(argument, 0), distance[node] + 1)
    return sorted(order, key=lambda node: -distance[node])


def _operands(node: Node) -> tuple[Node, ...]:
    """What a kernel evaluates for a node: nothing where that is handed over."""
    return () if node.operator == "mean" or (node.constant and not node.boolean) else node.args


def _most_alive(order: Sequence[Node]) -> int:
    """The most values that are needed at a time, in that order."""
    last = {argument: at for at, node in enumerate(order) for argument in _operands(node)}
    ends = Counter(last.values())
    alive = most = 0
    for at, node in enumerate(order):
        alive += node in last
        most = max(most, alive)
        alive -= ends[at]
    return most
