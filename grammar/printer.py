"""Syntax tree to canonical text. `parse(format_program(p)) == p` for every program that satisfies the language's rules."""

from __future__ import annotations

from collections.abc import Sequence

from grammar.tree import Binding, Call, Definition, Expression, Name, Number, Parameter, Program, Repeat, Statement, Unary, walk

# How tightly a form binds; a part that binds less tightly than its place asks for is put in parentheses.
_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _SIGNED, _POWER, _ATOM = range(9)
_LEVEL = {"or": _OR, "and": _AND, "+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "^": _POWER}


def format_number(value: float) -> str:
    """The shortest decimal that reads back as the same float64."""
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def format_expression(node: Expression) -> str:
    """One line of canonical text."""
    written: dict[int, Written] = {}
    for part in reversed(list(walk(node))):  # what a part is made of before the part itself
        written[id(part)] = _format(part, [written[id(child)] for child in part.children])
    return written[id(node)][0]


Written = tuple[str, int]  # a text and how tightly it binds


def _format(node: Expression, parts: Sequence[Written]) -> Written:
    """The text of a node, of the texts of its children."""
    if isinstance(node, Number):
        return format_number(node.value), _ATOM
    if isinstance(node, Name):
        return node.name, _ATOM
    if isinstance(node, Call):
        arguments = [text for text, _ in parts] + [f"{name}={value}" for name, value in node.options]
        return f"{node.function}({', '.join(arguments)})", _ATOM
    if isinstance(node, Unary):
        level = _SIGNED if node.operator == "-" else _NOT
        inner = _within(parts[0], level)
        return (f"-{inner}" if node.operator == "-" else f"not {inner}"), level
    level = _LEVEL.get(node.operators[0], _COMPARISON)
    if level == _POWER:
        base, exponent = parts
        return f"{_within(base, _ATOM)}^{_within(exponent, _SIGNED)}", _POWER
    # A chain reads its operands at the next level, so that a nested chain of the same level keeps its parentheses.
    texts = [_within(parts[0], level + 1)]
    space = "" if level == _PRODUCT else " "
    for operator, operand in zip(node.operators, parts[1:], strict=True):
        texts += [space, operator, space, _within(operand, level + 1)]
    return "".join(texts), level


def _within(part: Written, least: int) -> str:
    text, level = part
    return text if level >= least else f"({text})"


def _format_statement(statement: Statement) -> str:
    parts: list[str] = []
    pending: list[Statement | str] = [statement]
    while pending:
        item = pending.pop()
        if isinstance(item, Repeat):
            inside = [part for step in item.body for part in ("; ", step)][1:]
            pending += [" }", *reversed(inside), f"repeat {item.count} {{ "]
        else:
            parts.append(item if isinstance(item, str) else _format_simple(item))
    return "".join(parts)


def _format_simple(statement: Parameter | Definition | Binding) -> str:
    if isinstance(statement, Parameter):
        axis = "[channel]" if statement.per_channel else ""
        return f"param {statement.name}{axis} = {format_expression(statement.initial)}"
    if isinstance(statement, Definition):
        return f"def {statement.name}({', '.join(statement.parameters)}) = {format_expression(statement.body)}"
    return f"{statement.name} = {format_expression(statement.value)}"


def format_program(program: Program, separator: str = "\n") -> str:
    """Canonical text: a statement a line (or joined by another separator, such as "; "), minimal parentheses."""
    return separator.join([*(_format_statement(s) for s in program.statements), format_expression(program.result)])
