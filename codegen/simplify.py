"""Simplification: a constructor that folds constants and applies the rules of `codegen.rules`, and the pass that uses it.

What is kept: the value at every input where the unsimplified expression is finite, up to rounding; NaN in gives NaN out (0*a and
a - a therefore stay). Every node is made once, so the pass is linear in the size of the graph.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final, cast

import numpy as np

from codegen.build import build_expression, power
from codegen.graph import OVER_SPAN, Node, Reduction, apply, constant, mean, rebuild, source, truth, with_args
from codegen.instructions import Span
from codegen.operators import OPERATORS, Operator
from codegen.rules import RULES

_PLACEHOLDERS: Final = {
    **{name: source(f"?{name}", Span.ELEMENT) for name in "abckmuv"},
    **{name: source(f"?{name}", Span.ELEMENT, boolean=True) for name in "p"},
}
_NAMES: Final = {node: name for name, node in _PLACEHOLDERS.items()}
Captures = dict[str, Node]


def simplify(roots: Sequence[Node]) -> list[Node]:
    """The roots, simplified."""
    return rebuild(roots, _remake)


def _remake(node: Node, args: tuple[Node, ...]) -> Node:
    if isinstance(node.attribute, Reduction):
        return make_mean(args[0], node.attribute)
    if isinstance(node.operator, str):
        return node
    return make(node.operator, *args, attribute=cast("int | None", node.attribute))


def make_mean(argument: Node, reduction: Reduction) -> Node:
    """A mean, unless its argument does not vary over what is averaged."""
    if argument.span in (Span.SCALAR, OVER_SPAN[reduction.over]) and not reduction.shift:
        return argument
    return mean(argument, reduction.over, reduction.shift)


def make(operator: Operator | str, *args: Node, attribute: int | None = None) -> Node:
    """The simplified application of an operator (or of the one with that name) to simplified nodes."""
    op = OPERATORS[operator] if isinstance(operator, str) else operator
    node = power(*args) if op.name == "pow" else apply(op, *args, attribute=attribute)
    if isinstance(node.operator, str):
        return node
    folded = _fold(node)
    if folded is not None:
        return folded
    if node.name == "where" and node.args[0].operator == "constant":
        return node.args[1] if node.args[0].attribute else node.args[2]
    for pattern, replacement in _candidates(node.name, tuple([a.name for a in node.args])):
        captures: Captures = {}
        if _match(pattern, node, captures):
            result = instantiate(replacement, captures)
            if result is not node:
                return result
    return node


def instantiate(template: Node, captures: Captures) -> Node:
    """The template with placeholders (inputs named ?a, ?b, ...) replaced, made by `make`."""
    name = _NAMES.get(template)
    return captures[name] if name is not None else _remake(template, tuple(instantiate(a, captures) for a in template.args))


def _fold(node: Node) -> Node | None:
    """A constant, where all arguments are constants and the value is a number."""
    if not node.constant or any(a.operator != "constant" for a in node.args):
        return None
    operator = cast(Operator, node.operator)
    values = [np.float64(cast(float, a.attribute)) if not a.boolean else np.bool_(bool(a.attribute)) for a in node.args]
    extra = () if node.attribute is None else (node.attribute,)
    with np.errstate(all="ignore"):
        value = operator.reference(*values, *extra)
    if node.boolean:
        return truth(bool(value))
    return None if np.isnan(value) else constant(float(value))


def _folded(node: Node, args: tuple[Node, ...]) -> Node:
    new = with_args(node, args)
    return new if isinstance(new.operator, str) else _fold(new) or new


@functools.cache
def _rules_by_operator() -> dict[str, list[tuple[Node, Node]]]:
    table: dict[str, list[tuple[Node, Node]]] = {}
    for left, right in RULES:
        pattern = rebuild([build_expression(left, _PLACEHOLDERS)], _folded)[0]
        table.setdefault(pattern.name, []).append((pattern, build_expression(right, _PLACEHOLDERS)))
    return table


@functools.cache
def _candidates(operator: str, arguments: tuple[str, ...]) -> list[tuple[Node, Node]]:
    """The rules for an operator whose arguments are of these kinds (names of nodes). Few of the table's fit any one node."""
    orders = (arguments, arguments[::-1]) if OPERATORS[operator].commutative else (arguments,)

    def fits(pattern: Node) -> bool:
        return any(all(p in _NAMES or p.name == name for p, name in zip(pattern.args, names, strict=True)) for names in orders)

    return [rule for rule in _rules_by_operator().get(operator, []) if fits(rule[0])]


def _match(pattern: Node, node: Node, captures: Captures) -> bool:
    name = _NAMES.get(pattern)
    if name is not None:
        if name in captures:
            return captures[name] is node
        if pattern.boolean is not node.boolean or (name in "kmuv" and node.constant is not (name in "km")):
            return False
        captures[name] = node
        return True
    if pattern.operator != node.operator or pattern.attribute != node.attribute:
        return False
    if not pattern.args:
        return pattern is node
    orders = (node.args, node.args[::-1]) if cast(Operator, node.operator).commutative else (node.args,)
    for args in orders:
        trial = dict(captures)
        for part, argument in zip(pattern.args, args, strict=True):
            if not _match(part, argument, trial):
                break
        else:
            captures.update(trial)
            return True
    return False
