"""The language of activation functions: text, syntax tree, errors and the catalogue of named activations."""

from grammar.errors import DSLError, Position, nearest
from grammar.parser import parse
from grammar.printer import format_expression, format_number, format_program

__all__ = ["DSLError", "Position", "format_expression", "format_number", "format_program", "nearest", "parse"]
