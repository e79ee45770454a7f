"""Syntax tree to canonical text. `parse(format_program(p)) == p` for every program that satisfies the language's rules."""

from __future__ import annotations

from grammar.tree import Binding, Call, Definition, Expression, Name, Number, Parameter, Program, Statement, Unary

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
    return _format(node)[0]


def _format(node: Expression) -> tuple[str, int]:
    if isinstance(node, Number):
        return format_number(node.value), _ATOM
    if isinstance(node, Name):
        return node.name, _ATOM
    if isinstance(node, Call):
        parts = [format_expression(a) for a in node.arguments] + [f"{name}={value}" for name, value in node.options]
        return f"{node.function}({', '.join(parts)})", _ATOM
    if isinstance(node, Unary):
        level = _SIGNED if node.operator == "-" else _NOT
        inner = _within(node.operand, level)
        return (f"-{inner}" if node.operator == "-" else f"not {inner}"), level
    level = _LEVEL.get(node.operators[0], _COMPARISON)
    if level == _POWER:
        base, exponent = node.operands
        return f"{_within(base, _ATOM)}^{_within(exponent, _SIGNED)}", _POWER
    # A chain reads its operands at the next level, so that a nested chain of the same level keeps its parentheses.
    text = _within(node.operands[0], level + 1)
    for operator, operand in zip(node.operators, node.operands[1:], strict=True):
        space = "" if level == _PRODUCT else " "
        text += f"{space}{operator}{space}{_within(operand, level + 1)}"
    return text, level


def _within(node: Expression, least: int) -> str:
    text, level = _format(node)
    return text if level >= least else f"({text})"


def _format_statement(statement: Statement) -> str:
    if isinstance(statement, Parameter):
        axis = "[channel]" if statement.per_channel else ""
        return f"param {statement.name}{axis} = {format_expression(statement.initial)}"
    if isinstance(statement, Definition):
        return f"def {statement.name}({', '.join(statement.parameters)}) = {format_expression(statement.body)}"
    if isinstance(statement, Binding):
        return f"{statement.name} = {format_expression(statement.value)}"
    return f"repeat {statement.count} {{ {'; '.join(_format_statement(s) for s in statement.body)} }}"


def format_program(program: Program, separator: str = "\n") -> str:
    """Canonical text: a statement a line (or joined by another separator, such as "; "), minimal parentheses."""
    return separator.join([*(_format_statement(s) for s in program.statements), format_expression(program.result)])
