"""Which programs are accepted: what can be built, is compiled in seconds, and has a derivative that can be written and read again."""

from __future__ import annotations

from typing import Final

from codegen.build import build
from codegen.effort import compile_seconds
from codegen.function import Activation, activation
from codegen.graph import topological
from codegen.text import declarations, to_program
from grammar import DSLError, format_program, parse
from grammar.limits import MAX_COMPILE, MAX_LENGTH
from grammar.tree import Program

_WRITTEN: Final = 200  # characters that the derivative of one operation takes when it is printed, at the very most; 30 is usual


def accepted(program: Program) -> Activation:
    """The simplified graph of a program. Raises DSLError for a mistake, and for what is past a bound, which the message names."""
    function = activation(program)
    if compile_seconds(function.graph, MAX_COMPILE) > MAX_COMPILE:
        reason = f"compiling the program would take more than {MAX_COMPILE} seconds (MAX_COMPILE)"
        hint = "repeat less often, or use fewer parameters, shifts and statistics of statistics"
        raise DSLError(reason, program.text, program.result.position, hint)
    longest = max((len(p.name) for p in function.parameters), default=0)
    if len(topological([function.graph])) * (_WRITTEN + longest) > MAX_LENGTH:
        _check_derivative(function)
    return function


def _check_derivative(function: Activation) -> None:
    """Read the printed derivative, as whoever copies it does. What a program's own text is bounded by bounds it too."""
    text = format_program(to_program(function.slope, declarations(function.parameters)))
    try:
        build(parse(text))
    except DSLError as error:
        program = function.function.program
        reason = f"the derivative is too long to be written: {error.reason}"
        limit = f"; {error.hint}" if "MAX_LENGTH" in error.hint else ""
        raise DSLError(reason, program.text, program.result.position, f"shorten the program, or repeat less often{limit}") from error
