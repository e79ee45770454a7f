"""The graph of a function: immutable nodes, interned so that equal expressions are one object, real or boolean.

Leaves are constants, slots (constants whose value a kernel receives when it is launched), inputs, means and limits. Everything
else is an operator of the table, applied point by point. A mean or a limit closes over an expression of its own; whoever looks at
a graph point by point sees it as a leaf.
"""

from __future__ import annotations

import math
import struct
import weakref
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from codegen.instructions import Span

if TYPE_CHECKING:
    from codegen.operators import Operator

Over = Literal["tensor", "features", "batch"]
OVER_SPAN: Final[dict[Over, Span]] = {"tensor": Span.SCALAR, "features": Span.ROW, "batch": Span.CHANNEL}
STRUCTURAL: Final = frozenset({0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5})  # constants that stay in a kernel's code


@dataclass(frozen=True, slots=True)
class Source:
    """Attribute of an input: which tensor it reads, how far it varies, and how many channels away it looks."""

    name: str
    span: Span
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Reduction:
    """Attribute of a mean: what it averages over, and how many channels away its result is read (`batch` only)."""

    over: Over
    shift: int = 0


Attribute = float | int | Source | Reduction | None


class Node:
    """One operation. Compared by identity: interning makes equal nodes the same object. Made by the functions below only.

    The name is the operator's, or "constant", "slot", "input", "mean" or "limit".
    """

    __slots__ = ("__weakref__", "args", "attribute", "boolean", "constant", "name", "operator", "order", "span")

    def __init__(
        self, operator: Operator | str, args: tuple[Node, ...], attribute: Attribute, boolean: bool, span: Span, constant: bool
    ) -> None:
        self.operator: Final = operator  # an Operator, or the name of a leaf
        self.name: Final = operator if isinstance(operator, str) else operator.name
        self.args: Final = args
        self.attribute: Final = attribute
        self.boolean: Final = boolean
        self.span: Final = span
        self.constant: Final = constant  # made of constants and slots alone
        # A key for the order of commutative operands. The values of constants that are not structural stay out of it: programs
        # that differ in them alone must have the same structure.
        shown = "" if self.name in ("constant", "slot") and not is_structural(self) else repr(attribute)
        orders = ", ".join([str(a.order) for a in args])
        self.order: Final[int] = zlib.crc32(f"{self.name} {shown} [{orders}]".encode())

    def __repr__(self) -> str:
        attribute = "" if self.attribute is None else f"[{self.attribute}]"
        return f"{self.name}{attribute}({', '.join(a.name for a in self.args)})"


_interned: weakref.WeakValueDictionary[tuple[object, ...], Node] = weakref.WeakValueDictionary()


def _intern(
    key: tuple[object, ...], operator: str, args: tuple[Node, ...], attribute: Attribute, boolean: bool, span: Span, constant: bool
) -> Node:
    found = _interned.get(key)
    if found is None:
        found = _interned[key] = Node(operator, args, attribute, boolean, span, constant)
    return found


def is_structural(node: Node) -> bool:
    """Whether this is a constant that a kernel keeps in its code."""
    value = node.attribute
    return node.operator == "constant" and (value in STRUCTURAL or not math.isfinite(value))  # type: ignore[arg-type]


def constant(value: float) -> Node:
    """A real constant, at float64 precision."""
    number = float(value)
    return _intern(("constant", struct.pack("<d", number)), "constant", (), number, False, Span.SCALAR, True)


def truth(value: bool) -> Node:
    """A boolean constant."""
    return _intern(("truth", value), "constant", (), float(value), True, Span.SCALAR, True)


def slot(index: int) -> Node:
    """A real constant that is known only when the kernel is launched: the `index`-th of the launch's constants."""
    return _intern(("slot", index), "slot", (), index, False, Span.SCALAR, True)


def source(name: str, span: Span, shift: int = 0, boolean: bool = False) -> Node:
    """An input: a tensor (`ELEMENT`), one number per channel (`CHANNEL`) or one number (`SCALAR`)."""
    attribute = Source(name, span, shift if span in (Span.CHANNEL, Span.ELEMENT) else 0)
    return _intern(("input", attribute, boolean), "input", (), attribute, boolean, span, False)


def mean(argument: Node, over: Over, shift: int = 0) -> Node:
    """The arithmetic mean of an expression over the tensor, over each row's channels, or over each channel's rows."""
    span = OVER_SPAN[over]
    attribute = Reduction(over, shift if span is Span.CHANNEL else 0)
    return _intern(("mean", attribute, argument), "mean", (argument,), attribute, False, span, False)


def limit(argument: Node, end: float) -> Node:
    """The limit of an expression of x and constants as x goes to `end`, -inf or inf: a constant that is found at launch."""
    return _intern(("limit", end, argument), "limit", (argument,), end, False, Span.SCALAR, True)


def apply(operator: Operator, *args: Node, attribute: int | None = None) -> Node:
    """The operator applied to as many nodes as it takes, as it stands: no folding, no rules (`codegen.simplify` has those).

    Raises TypeError when a boolean stands where a real number belongs, or the reverse.
    """
    if operator.commutative:
        left, right = args
        if (not right.constant, right.order) < (not left.constant, left.order):
            args = (right, left)
    key = (operator, args, attribute)
    found = _interned.get(key)
    if found is None:
        if tuple([a.boolean for a in args]) != operator.boolean_arguments:
            raise TypeError(f"{operator.name} does not take {list(args)}")
        span, constant = Span.SCALAR, True
        for a in args:
            span = span.join(a.span)
            constant = constant and a.constant
        found = _interned[key] = Node(operator, args, attribute, operator.boolean_result, span, constant)
    return found


def topological(roots: Iterable[Node], through_means: bool = True) -> list[Node]:
    """Every node that the roots depend on, arguments before users, each once. Without `through_means` a mean is a leaf."""
    order: dict[Node, None] = {}
    stack = list(roots)
    stack.reverse()
    while stack:
        node = stack.pop()
        if node in order:
            continue
        for a in node.args if through_means or node.operator != "mean" else ():
            if a not in order:  # come back when the arguments are there
                stack.append(node)
                stack += node.args[::-1]
                break
        else:
            order[node] = None
    return list(order)


def rebuild(roots: Sequence[Node], visit: Callable[[Node, tuple[Node, ...]], Node], through_means: bool = True) -> list[Node]:
    """The roots with every node replaced by `visit(node, new arguments)`, bottom up; linear in the size of the graph."""
    new: dict[Node, Node] = {}
    for node in topological(roots, through_means):
        args = tuple(map(new.__getitem__, node.args)) if through_means or node.operator != "mean" else node.args
        new[node] = visit(node, args)
    return [new[root] for root in roots]


def with_args(node: Node, args: tuple[Node, ...]) -> Node:
    """The same operation on other arguments."""
    if args == node.args:
        return node
    if node.operator == "mean":
        assert isinstance(node.attribute, Reduction)
        return mean(args[0], node.attribute.over, node.attribute.shift)
    if node.operator == "limit":
        assert isinstance(node.attribute, float)
        return limit(args[0], node.attribute)
    assert not isinstance(node.operator, str)
    return apply(node.operator, *args, attribute=node.attribute if isinstance(node.attribute, int) else None)


def shifted(node: Node, places: int) -> Node:
    """The node as seen `places` away along the channel axis: every leaf that varies along it is read there instead."""
    if places == 0:
        return node

    def visit(old: Node, args: tuple[Node, ...]) -> Node:
        if isinstance(old.attribute, Source):
            return source(old.attribute.name, old.attribute.span, old.attribute.shift + places)
        if isinstance(old.attribute, Reduction):
            return mean(old.args[0], old.attribute.over, old.attribute.shift + places)
        return with_args(old, args)

    return rebuild([node], visit, through_means=False)[0]


def mean_depth(roots: Iterable[Node]) -> dict[Node, int]:
    """For every mean that the roots depend on, how many levels of means it stands on, itself included (from 1)."""
    depth: dict[Node, int] = {}
    below: dict[Node, int] = {}
    for node in topological(roots):
        below[node] = max((below[a] for a in node.args), default=0)
        if node.operator == "mean":
            below[node] += 1
            depth[node] = below[node]
    return depth
