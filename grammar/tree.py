"""The syntax tree: what a program says, as immutable values that compare by content. Positions are kept, and do not compare.

An expression and a repeat know their own depth, so that the bound on nesting is checked while parsing and building may recurse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from grammar.errors import Position

NOWHERE = Position(1, 1)


@dataclass(frozen=True, slots=True)
class Number:
    """A literal; never negative and never infinite, for neither can be written without an operator or a name."""

    value: float
    position: Position = field(default=NOWHERE, compare=False, repr=False)
    depth: int = field(default=1, init=False, compare=False, repr=False)

    @property
    def children(self) -> tuple[Expression, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Name:
    """A reference to x, a constant, a parameter, a binding or an argument."""

    name: str
    position: Position = field(default=NOWHERE, compare=False, repr=False)
    depth: int = field(default=1, init=False, compare=False, repr=False)

    @property
    def children(self) -> tuple[Expression, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Unary:
    """`-a` or `not a`."""

    operator: Literal["-", "not"]
    operand: Expression
    position: Position = field(default=NOWHERE, compare=False, repr=False)
    depth: int = field(default=0, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        _set_depth(self)

    @property
    def children(self) -> tuple[Expression, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Chain:
    """Operands joined by operators of one precedence, evaluated from left to right: `a - b + c` is one chain.

    The levels are `+ -`, `* /`, `and`, `or`, `^` (two operands) and the comparisons (two operands). A long sum is therefore not
    a deep tree.
    """

    operators: tuple[str, ...]
    operands: tuple[Expression, ...]
    position: Position = field(default=NOWHERE, compare=False, repr=False)
    depth: int = field(default=0, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.operands) != len(self.operators) + 1 or not self.operators:
            raise ValueError(f"a chain of {len(self.operators)} operators needs one operand more, not {len(self.operands)}")
        _set_depth(self)

    @property
    def children(self) -> tuple[Expression, ...]:
        return self.operands


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments, option=value)`; a conditional expression is the call of `where`."""

    function: str
    arguments: tuple[Expression, ...]
    options: tuple[tuple[str, str], ...] = ()
    position: Position = field(default=NOWHERE, compare=False, repr=False)
    depth: int = field(default=0, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        _set_depth(self)

    @property
    def children(self) -> tuple[Expression, ...]:
        return self.arguments


Expression = Number | Name | Unary | Chain | Call


def _set_depth(node: Unary | Chain | Call) -> None:
    object.__setattr__(node, "depth", 1 + max((child.depth for child in node.children), default=0))


@dataclass(frozen=True, slots=True)
class Parameter:
    """`param name = initial` or `param name[channel] = initial`; the initial value is a constant expression."""

    name: str
    per_channel: bool
    initial: Expression
    position: Position = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Definition:
    """`def name(parameters) = body`: a local function, inlined where it is called."""

    name: str
    parameters: tuple[str, ...]
    body: Expression
    position: Position = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Binding:
    """`name = value`."""

    name: str
    value: Expression
    position: Position = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Repeat:
    """`repeat count { body }`: the body's bindings are made `count` times over."""

    count: int
    body: tuple[Binding | Repeat, ...]
    position: Position = field(default=NOWHERE, compare=False, repr=False)
    depth: int = field(default=0, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", 1 + max((step.depth for step in self.body if isinstance(step, Repeat)), default=0))


Statement = Parameter | Definition | Binding | Repeat


@dataclass(frozen=True, slots=True)
class Program:
    """A whole program. `text` is what it was parsed from, for messages; it does not compare."""

    statements: tuple[Statement, ...]
    result: Expression
    text: str = field(default="", compare=False, repr=False)

    def __deepcopy__(self, memo: dict[int, object]) -> Program:
        return self  # immutable through and through


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and everything below it, parents first, left to right."""
    stack = [expression]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children))
