"""Formulas as text, evaluated on arrays: arithmetic and a handful of functions, and nothing else that Python can do."""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from gp.lab.data.dataset import Array, DataError

_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "arcsin": np.arcsin,
    "cos": np.cos,
    "exp": np.exp,
    "ln": np.log,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}
_CONSTANTS: Final[dict[str, float]] = {"pi": math.pi}


def evaluate(text: str, variables: Mapping[str, Array]) -> Array:
    """The value of a formula, with the precedence of Python and ^ written **. Raises DataError for anything but arithmetic."""
    result: Array = _value(_tree(text), _CONSTANTS | dict(variables), text)
    return result


@functools.cache
def _tree(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise DataError(f"the formula {text!r} cannot be read: {error.msg} at character {error.offset}") from error


def _value(node: ast.expr, names: Mapping[str, Any], text: str) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names, text)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
            return _ARITHMETIC[type(sign)](_value(left, names, text), _value(right, names, text))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](_value(argument, names, text))
    raise DataError(
        f"the formula {text!r} may not hold {ast.unparse(node)!r}: allowed are numbers, + - * / **, "
        f"the names {', '.join(names)} and the functions {', '.join(_FUNCTIONS)}"
    )
