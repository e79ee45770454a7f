"""Simplification: a constructor that folds constants and applies the rules of `codegen.rules`, and the pass that uses it.

What is kept: the value at every input where the unsimplified expression is finite, up to rounding; NaN in gives NaN out (0*a and
a - a therefore stay). Every node is made once, so the pass is linear in the size of the graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final, cast

import numpy as np

from codegen.build import build_expression, power
from codegen.graph import (
    OVER_SPAN,
    Attribute,
    Node,
    Reduction,
    apply,
    constant,
    is_structural,
    mean,
    rebuild,
    source,
    truth,
    with_args,
)
from codegen.growth import is_bounded
from codegen.instructions import Span
from codegen.operators import OPERATORS, Operator
from codegen.rules import RULES

_PLACEHOLDERS: Final = {
    **{name: source(f"?{name}", Span.ELEMENT) for name in "abckmuv"},
    **{name: source(f"?{name}", Span.ELEMENT, boolean=True) for name in "p"},
}
_NAMES: Final = {node: name for name, node in _PLACEHOLDERS.items()}
Captures = dict[Node, Node]
Guard = Callable[[Captures], bool]
Kind = Node | tuple[Operator | str, bool]


def simplify(roots: Sequence[Node]) -> list[Node]:
    """The roots, simplified."""
    return rebuild(roots, _remake)


def _remake(node: Node, args: tuple[Node, ...]) -> Node:
    if isinstance(node.attribute, Reduction):
        return make_mean(args[0], node.attribute)
    if isinstance(node.operator, str):
        return node
    return _make(node.operator, args, node.attribute)


def make_mean(argument: Node, reduction: Reduction) -> Node:
    """A mean, unless its argument does not vary over what is averaged."""
    if argument.span in (Span.SCALAR, OVER_SPAN[reduction.over]) and not reduction.shift:
        return argument
    return mean(argument, reduction.over, reduction.shift)


def make(operator: Operator | str, *args: Node, attribute: int | None = None) -> Node:
    """The simplified application of an operator (or of the one with that name) to simplified nodes."""
    return _make(OPERATORS[operator] if isinstance(operator, str) else operator, args, attribute)


@functools.lru_cache(maxsize=4096)  # a quarter of what a search asks for was made for its earlier candidates
def _make(operator: Operator, args: tuple[Node, ...], attribute: Attribute) -> Node:
    return _run(_making(operator, args, attribute))


def instantiate(template: Node, captures: Captures) -> Node:
    """The template with placeholders (inputs whose names start with ?) replaced, made by `make`."""
    return _run(_instantiating(template, captures))


# A replacement may match a rule in turn, at any depth of the graph (a product moves into one branch after another). So what makes a node
# does not call itself: it yields what it waits for, and is sent the result.
Task = Generator["Task", Node, Node]


def _run(task: Task) -> Node:
    stack = [task]
    result: Node | None = None
    while stack:
        try:
            stack.append(stack[-1].send(cast(Node, result)))
            result = None
        except StopIteration as done:
            stack.pop()
            result = done.value
    return cast(Node, result)


def _making(operator: Operator, args: tuple[Node, ...], attribute: Attribute) -> Task:
    node = power(*args) if operator.name == "pow" else apply(operator, *args, attribute=cast("int | None", attribute))
    if isinstance(node.operator, str):
        return node
    folded = _fold(node)
    if folded is not None:
        return folded
    if node.name == "where" and node.args[0].operator == "constant":
        return node.args[1] if node.args[0].attribute else node.args[2]
    kinds = tuple([_kind(a) for a in node.args])
    for pattern, replacement, guard in _candidates(node.operator, kinds, len(set(node.args)) < len(node.args)):
        captures: Captures = {}
        if _match_all(pattern, node.args, captures) and (guard is None or guard(captures)):
            result = yield _instantiating(replacement, captures)
            if result is not node:
                return result
    return node


def make_slope(partial: Node, slope: Node) -> Node:
    """The product of a chain rule, partial (of what is outside) times slope (of what is inside).

    It moves into the branches of a choice, and a zero there wins: what is not chosen has no part in a derivative, even where it is
    infinite. (In a program 0*inf is NaN, as everywhere.) What is divided by goes last: 1/a may overflow where slope/a does not.
    """
    for factor, other in ((partial, slope), (slope, partial)):
        if _chooses_a_number(factor):
            return _into_branches(factor, other)
    if _divides(partial):
        return make("div", slope if partial.args[0] is constant(1.0) else make("mul", partial.args[0], slope), partial.args[1])
    if partial.name == "mul":
        for divided, beside in (partial.args, partial.args[::-1]):
            if _divides(divided):
                return make("mul", make_slope(divided, slope), beside)
    return make("mul", partial, slope)


def _divides(node: Node) -> bool:
    """Whether it is a constant divided by something."""
    return node.name == "div" and _is_number(node.args[0]) and node.span is Span.ELEMENT


def _into_branches(choice: Node, other: Node) -> Node:
    """The product of nested choices and another factor, each branch by itself."""
    nested, inner = [], choice
    while _chooses_a_number(inner):
        nested.append(inner)
        _, yes, no = inner.args
        inner = no if _is_number(yes) else yes
    made = inner if _is_zero(inner) else make_slope(inner, other)
    for node in reversed(nested):
        condition, yes, no = node.args
        number = yes if _is_number(yes) else no
        beside = number if _is_zero(number) else make_slope(number, other)
        made = make("where", condition, *((beside, made) if number is yes else (made, beside)))
    return made


def _chooses_a_number(node: Node) -> bool:
    return node.name == "where" and any(map(_is_number, node.args[1:]))


def _is_number(node: Node) -> bool:
    return node.operator == "constant"


def _is_zero(node: Node) -> bool:
    return _is_number(node) and node.attribute == 0.0


def _instantiating(template: Node, captures: Captures) -> Task:
    if isinstance(template.operator, str):
        return captures.get(template, template)
    args = []
    for a in template.args:
        args.append(captures.get(a, a) if isinstance(a.operator, str) else (yield _instantiating(a, captures)))
    return (yield _making(template.operator, tuple(args), template.attribute))


def read_template(text: str, placeholders: Mapping[str, Node]) -> Node:
    """A side of a rule as a graph over placeholders, with its constants folded."""
    return rebuild([build_expression(text, placeholders)], _folded)[0]


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
def _rules() -> list[tuple[Node, Node, Guard | None]]:
    return [(read_template(left, _PLACEHOLDERS), read_template(right, _PLACEHOLDERS), _GUARDS.get(left)) for left, right in RULES]


def _keep_the_range(captures: Captures) -> bool:
    """Whether constants k and m may be put together: neither is near an edge of the range of numbers, nor is what comes of them."""
    k, m = captures[_PLACEHOLDERS["k"]], captures[_PLACEHOLDERS["m"]]
    return (_is_moderate(k) and _is_moderate(m)) or is_structural(k) or is_structural(m)


def _may_move_out(captures: Captures) -> bool:
    """Whether (k*u)*v may become k*(u*v), which overflows where the other does not if k is small and u*v is larger than either."""
    k, u, v = (captures[_PLACEHOLDERS[name]] for name in "kuv")
    return _is_moderate(k) and (abs(cast(float, k.attribute)) >= 1 or is_bounded(u) or is_bounded(v))


def _is_moderate(node: Node) -> bool:
    return node.operator == "constant" and (node.attribute == 0 or _SMALL <= abs(cast(float, node.attribute)) <= 1 / _SMALL)


_SMALL: Final = 1e-4
_GUARDS: Final[dict[str, Guard]] = {
    "k*(m*u)": _keep_the_range,
    "(k*u)/m": _keep_the_range,
    "k + (m + u)": _keep_the_range,
    "(k*u)*v": _may_move_out,
}


@functools.cache
def _literals() -> frozenset[Node]:
    """The constants that stand in patterns as arguments of the outermost operator."""
    return frozenset(a for pattern, _, _ in _rules() for a in pattern.args if a.operator == "constant")


def _kind(node: Node) -> Kind:
    """What rules are chosen by: a literal itself; of anything else the operator, and whether it is made of constants."""
    return node if node in _literals() else (node.operator, node.constant)


@functools.lru_cache(maxsize=4096)
def _candidates(operator: Operator, kinds: tuple[Kind, ...], repeated: bool) -> list[tuple[tuple[Node, ...], Node, Guard | None]]:
    """The rules that an operator's arguments of these kinds may match (`repeated`: one of them occurs twice), each as the arguments
    of its pattern, in the order or orders that fit, and its replacement. One in three of these then does match."""
    found = []
    for pattern, replacement, guard in _rules():
        if pattern.operator is operator and (repeated or len(set(pattern.args)) == len(pattern.args)):
            found += [(parts, replacement, guard) for parts in _orders(pattern) if all(map(_admits, parts, kinds))]
    return found


def _orders(pattern: Node) -> tuple[tuple[Node, ...], ...]:
    """The arguments of a pattern, and swapped where the operator commutes."""
    swapped = pattern.args[::-1]
    return (pattern.args, swapped) if cast(Operator, pattern.operator).commutative and swapped != pattern.args else (pattern.args,)


def _admits(part: Node, kind: Kind) -> bool:
    if isinstance(kind, Node):
        return part is kind or (part in _NAMES and _NAMES[part] not in "uv")
    operator, is_constant = kind
    name = _NAMES.get(part)
    return part.operator == operator if name is None else name not in ("uv" if is_constant else "km")


def _match_all(parts: tuple[Node, ...], args: tuple[Node, ...], captures: Captures) -> bool:
    return all(_match(part, argument, captures) for part, argument in zip(parts, args, strict=True))


def _match(pattern: Node, node: Node, captures: Captures) -> bool:
    """Whether the node fits; `captures` then says what the placeholders stand for, and is of no use otherwise."""
    if not pattern.args:
        name = _NAMES.get(pattern)
        if name is None:
            return pattern is node
        if pattern.boolean is not node.boolean or name in ("uv" if node.constant else "km"):
            return False
        return captures.setdefault(pattern, node) is node
    if pattern.operator is not node.operator or pattern.attribute != node.attribute:
        return False
    orders = _orders(pattern)
    if len(orders) == 1:
        return _match_all(pattern.args, node.args, captures)
    for parts in orders:
        trial = dict(captures)
        if _match_all(parts, node.args, trial):
            captures.update(trial)
            return True
    return False
