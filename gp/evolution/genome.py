"""A genome is a program that is parameters and one expression: how to read it, take it apart, change it and compare it.

Parameters are called p1, p2, ... in the order in which the expression uses them, so genomes that differ in names alone are equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from codegen.build import build
from codegen.function import Activation
from codegen.text import declarations, to_program
from grammar import DSLError, format_program, parse
from grammar.limits import MAX_DEPTH
from grammar.tree import Binding, Call, Chain, Definition, Expression, Name, Number, Parameter, Program, Repeat, Unary, walk
from kernels.programs import program

Path = tuple[int, ...]
MAX_SIZE: Final = 1_000  # nodes of a program that is read as a genome; bindings and loops can unfold to any number
_BOOLEAN_SIGNS: Final = frozenset({"<", "<=", ">", ">=", "==", "!=", "and", "or"})


@dataclass(frozen=True, slots=True)
class Place:
    """A node of an expression and how to reach it: the child numbers from the root."""

    path: Path
    node: Expression


def children(node: Expression) -> tuple[Expression, ...]:
    """The expressions that a node is made of. The number of places of a shift is part of the node itself."""
    return node.children[:1] if isinstance(node, Call) and node.function == "shift" else node.children


def with_children(node: Expression, new: tuple[Expression, ...]) -> Expression:
    """The same node over other children."""
    if isinstance(node, Unary):
        return Unary(node.operator, new[0])
    if isinstance(node, Chain):
        return Chain(node.operators, new)
    if isinstance(node, Call):
        return Call(node.function, (*new, *node.arguments[len(new) :]), node.options)
    return node


def places(expression: Expression) -> Iterator[Place]:
    """Every node with its path, parents first."""
    stack = [Place((), expression)]
    while stack:
        place = stack.pop()
        yield place
        stack.extend(Place((*place.path, k), child) for k, child in reversed(list(enumerate(children(place.node)))))


def is_boolean(node: Expression) -> bool:
    """Whether a node is a condition."""
    return (isinstance(node, Unary) and node.operator == "not") or (isinstance(node, Chain) and node.operators[0] in _BOOLEAN_SIGNS)


def kinds(node: Expression) -> tuple[bool, ...]:
    """Which children of a node are conditions."""
    return tuple(is_boolean(child) for child in children(node))


def size(tree: Program | Expression) -> int:
    """The number of nodes, in a program those of its result; a chain of n operands counts n - 1 for its operators."""
    stack: list[Expression] = [tree.result if isinstance(tree, Program) else tree]
    count = 0
    while stack:
        node = stack.pop()
        count += len(node.operators) if isinstance(node, Chain) else 1
        stack.extend(children(node))
    return count


def number(value: float) -> Expression:
    """A constant; a negative one is the negation of a literal."""
    return Unary("-", Number(-value)) if value < 0 else Number(value)


def replace(expression: Expression, path: Path, new: Expression) -> Expression:
    """The expression with the node at `path` replaced."""
    if not path:
        return new
    parts = list(children(expression))
    parts[path[0]] = replace(parts[path[0]], path[1:], new)
    return with_children(expression, tuple(parts))


def substitute(
    node: Expression,
    values: Mapping[str, Expression],
    functions: Mapping[str, Definition] | None = None,
    outside: Mapping[str, Expression] | None = None,
) -> Expression:
    """The expression with values for names, and with the bodies of local functions for their calls.

    `outside`: what such a body sees besides its arguments, if not `values`.
    """
    if isinstance(node, Name):
        return values.get(node.name, node)
    parts = tuple(substitute(child, values, functions, outside) for child in children(node))
    if functions and isinstance(node, Call) and node.function in functions:
        called = functions[node.function]
        seen = values if outside is None else outside
        return substitute(called.body, {**seen, **dict(zip(called.parameters, parts, strict=True))}, functions, seen)
    return with_children(node, parts) if parts else node


def make_genome(parameters: Iterable[Parameter], result: Expression) -> Program:
    """The genome of an expression in the parameters. Those that it does not use are left out, the others get their names."""
    declared = {p.name: p for p in parameters}
    used = dict.fromkeys(n.name for n in walk(result) if isinstance(n, Name) and n.name in declared) if declared else {}
    names = {old: f"p{k}" for k, old in enumerate(used, 1)}
    if any(old != new for old, new in names.items()):
        result = substitute(result, {old: Name(new) for old, new in names.items()})
    return Program(tuple(Parameter(new, declared[old].per_channel, declared[old].initial) for old, new in names.items()), result)


def genome(text: str) -> Program:
    """The genome of a program text: bindings and local functions are written out, loops unrolled.

    Raises DSLError for a mistake in the text, and where all of that is too much for one expression.
    """
    return to_genome(parse(text))


def to_genome(source: Program) -> Program:
    """The genome of a program, as `genome`."""
    parameters = declarations(build(source).parameters)
    values: dict[str, Expression] = {}
    functions: dict[str, Definition] = {}
    for statement in source.statements:
        if isinstance(statement, Definition):
            functions[statement.name] = statement
        elif not isinstance(statement, Parameter):
            _run(statement, values, functions)
    result = substitute(source.result, values, functions)
    if result.depth > MAX_DEPTH or len(list(itertools.islice(places(result), MAX_SIZE + 1))) > MAX_SIZE:
        reason = f"written as one expression the program is deeper than {MAX_DEPTH} levels or has more than {MAX_SIZE:,} nodes"
        raise DSLError(reason, source.text, source.result.position, "repeat less often, or bind less to names")
    return make_genome(parameters, result)


def _run(step: Binding | Repeat, values: dict[str, Expression], functions: Mapping[str, Definition]) -> None:
    """Bind what a statement binds."""
    if isinstance(step, Binding):
        values[step.name] = substitute(step.value, values, functions)
        return
    for _ in range(step.count):
        for inner in step.body:
            _run(inner, values, functions)


def text_of(tree: Program) -> str:
    """The canonical text on one line, which is what gets compiled."""
    return format_program(tree, separator="; ")


def key_of(function: Activation) -> str:
    """Equal for programs that simplify to the same graph with the same constants and initial values."""
    return f"{function.key}|{function.constants}|{tuple(p.initial for p in function.parameters)}"


def canonical_key(text: str) -> str:
    """The `key_of` a program text."""
    return key_of(program(text))


def short_text(text: str) -> str:
    """The text, or that of the simplified program where it is shorter."""
    function = program(text)
    return min(text, format_program(to_program(function.graph, declarations(function.parameters)), separator="; "), key=len)
