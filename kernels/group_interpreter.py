"""A group's kernel with its body, for Triton's interpreter.

There the body is put together where the kernel calls it, with numbers in hand: a value is an array with an element of each thread, a loop
is run, and a branch on which threads disagree is taken both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import triton.language as tl
from triton.runtime import interpreter

from codegen.group import GroupStage
from codegen.group_body import body_name, put_body
from codegen.group_triton import function_name, print_group
from codegen.instructions import Type
from codegen.kernel import Kernel
from codegen.scalar_triton import Handle, put_function
from kernels.triton_interpreter import gpu_rounding, interpreted


class InterpretedGroup:
    """A stage's kernel: `function` is to be launched, on CPU tensors, within `running()`."""

    def __init__(self, stage: GroupStage) -> None:
        self._stage = stage
        name = body_name(stage)
        self.function = interpreted(print_group(stage, name), function_name(stage), {name: self._body})

    def _body(self, *arguments: Any) -> tuple[Any, ...]:
        handles = put_body(_InterpreterFlow(), self._stage, [a.handle for a in arguments])
        return tuple(tl.tensor(h, tl.block_type(tl.float32, list(h.data.shape))) for h in handles)

    def running(self) -> AbstractContextManager[None]:
        """A context in which the interpreter rounds as a GPU does."""
        return gpu_rounding()


class _InterpreterFlow:
    """Control flow of the interpreter, which has numbers in its hands."""

    def __init__(self) -> None:
        self.builder: Any = interpreter.interpreter_builder

    def call(self, function: Kernel, arguments: Sequence[Handle]) -> Handle:
        return put_function(self, function, arguments)

    def branch(
        self, condition: Handle, types: Sequence[Type], one: Callable[[], Sequence[Handle]], other: Callable[[], Sequence[Handle]]
    ) -> list[Handle]:
        if condition.data.all():
            return list(one())
        if not condition.data.any():
            return list(other())
        return [self.builder.create_select(condition, a, b) for a, b in zip(one(), other(), strict=True)]

    def repeat(self, count: Handle, values: Sequence[Handle], body: Callable[[list[Handle]], Sequence[Handle]]) -> list[Handle]:
        current = list(values)
        for _ in range(int(count.data.item())):
            current = list(body(current))
        return current

    def floor(self, x: Handle) -> Handle:
        return self.builder.create_floor(x)

    def wide_sqrt(self, x: Handle) -> Handle:
        return self.builder.create_sqrt(x)
