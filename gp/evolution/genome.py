"""A genome is an expression of the language (`grammar.tree.Expression`): how to take it apart, change it and compare it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codegen.text import to_program
from grammar import format_program
from grammar.printer import format_expression
from grammar.tree import Call, Chain, Expression, Number, Unary, walk
from kernels.programs import program

Path = tuple[int, ...]
_BOOLEAN_SIGNS = frozenset({"<", "<=", ">", ">=", "==", "!=", "and", "or"})


@dataclass(frozen=True, slots=True)
class Place:
    """A node of an expression and how to reach it: the child numbers from the root."""

    path: Path
    node: Expression


def places(expression: Expression) -> Iterator[Place]:
    """Every node with its path, parents first."""
    stack = [Place((), expression)]
    while stack:
        place = stack.pop()
        yield place
        stack.extend(Place((*place.path, k), child) for k, child in reversed(list(enumerate(place.node.children))))


def is_boolean(node: Expression) -> bool:
    """Whether a node is a condition."""
    return (isinstance(node, Unary) and node.operator == "not") or (isinstance(node, Chain) and node.operators[0] in _BOOLEAN_SIGNS)


def size(expression: Expression) -> int:
    """The number of nodes; a chain of n operands counts n - 1 for its operators."""
    return sum(len(node.operators) if isinstance(node, Chain) else 1 for node in walk(expression))


def number(value: float) -> Expression:
    """A constant; a negative one is the negation of a literal."""
    return Unary("-", Number(-value)) if value < 0 else Number(value)


def with_children(node: Expression, children: tuple[Expression, ...]) -> Expression:
    """The same node over other children."""
    if isinstance(node, Unary):
        return Unary(node.operator, children[0])
    if isinstance(node, Chain):
        return Chain(node.operators, children)
    if isinstance(node, Call):
        return Call(node.function, children, node.options)
    return node


def replace(expression: Expression, path: Path, new: Expression) -> Expression:
    """The expression with the node at `path` replaced."""
    if not path:
        return new
    children = list(expression.children)
    children[path[0]] = replace(children[path[0]], path[1:], new)
    return with_children(expression, tuple(children))


def kinds(node: Expression) -> tuple[bool, ...]:
    """Which children of a node are conditions."""
    return tuple(is_boolean(child) for child in node.children)


def text_of(expression: Expression) -> str:
    """The canonical text, which is what gets compiled."""
    return format_expression(expression)


def canonical_key(text: str) -> str:
    """Equal for programs that simplify to the same graph with the same constants."""
    function = program(text)
    return f"{function.key}|{function.constants}"


def structure(text: str) -> str:
    """Equal for programs that differ in the values of their constants alone."""
    return program(text).key


def short_text(text: str) -> str:
    """The text, or that of the simplified program where it is shorter."""
    simplified = format_program(to_program(program(text).graph), separator="; ")
    return min(text, simplified, key=len)
