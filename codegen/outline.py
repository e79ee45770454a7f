"""Operators as functions of a kernel: long ones are spelled once and called, where a kernel holds many expressions.

Sixteen expressions of a search's population have some 160 elementary functions of 20 to 60 instructions in their derivatives, but only
about twelve different ones. Spelled out each time they make up nine tenths of a kernel, and its time of compilation with it.
"""

from __future__ import annotations

import functools
from typing import Final

from codegen.instructions import Block, Span
from codegen.kernel import Input, Kernel, Output
from codegen.operators import OPERATORS, Operator

# Instructions above which an operator is called: a call of a GPU function costs three or four (moves, call, return).
_SHORT: Final = 8
# What one instruction becomes on a GPU, where division and square root that round correctly are some code of their own. With divisions
# spelled out, ptxas took 128 ms instead of 83 for sixteen expressions of a search with 39 of them.
_LENGTHS: Final = {"div": 10, "sqrt": 10}


@functools.cache
def function_body(name: str) -> Kernel:
    """The operator as a kernel of its arguments `a0`, `a1`, ... in float32 with one result."""
    operator = OPERATORS[name]
    block = Block("f32")
    inputs = tuple(Input(f"a{k}", Span.ELEMENT, f"a{k}") for k in range(operator.arity))
    value = operator.kernel(block, *(block.input(i.name, i.span) for i in inputs))
    return Kernel(name, "f32", block, inputs, (Output("result", Span.ELEMENT, value.index),))


@functools.cache
def is_outlined(operator: Operator) -> bool:
    """Whether an operator is called rather than spelled out: real numbers in and out, no integer
    attribute, and long enough to pay."""
    if operator.name == "ipow" or operator.boolean_result or any(operator.boolean_arguments):
        return False
    body = function_body(operator.name)
    return sum(_LENGTHS.get(body.block.instructions[i].opcode, 1) for i in body.live()) - operator.arity > _SHORT
