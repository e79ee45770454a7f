"""The Triton spelling of scalar code: a kernel's instructions as lines that are run for one element, and operators as functions.

Scalar code may branch, which a kernel of tensors cannot: what is seldom needed stands behind an `if` (`codegen.rare`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final

from codegen.instructions import Instruction, Span
from codegen.kernel import Kernel
from codegen.outline import function_body
from codegen.rare import Group, rare_groups
from codegen.triton import spell, spell_constant

# Instructions from which on a branch that is seldom taken is one: the exact reduction of a large angle has 29, half of a sine.
_RARE: Final = 8
_NESTED: Final = 8  # levels of expressions within a line, so that it can still be read


class ScalarLines:
    """Lines for a kernel's instructions, whose inputs are called `names`.

    Finite float constants, and values that one instruction alone uses, stand within the line that uses them: Triton takes 40 us for each
    assignment, a third of what an operation costs it.
    """

    def __init__(self, kernel: Kernel, names: Mapping[str, str]) -> None:
        self.code = kernel.block.instructions
        self.live = kernel.live()
        self._kernel = kernel
        self._names = names

    def name(self, index: int) -> str:
        """What the value of an instruction is called."""
        op = self.code[index]
        return self._names[str(op.attribute)] if op.opcode == "input" else f"v{index}"

    def lines(self, indices: Sequence[int], results: Sequence[int]) -> list[str]:
        """The lines of some instructions, and of the constants that they or `results` need by name."""
        branches = {at: group for at, group in rare_groups(self._kernel, indices).items() if len(group.body) >= _RARE}
        behind = {i for group in branches.values() for i in (*group.body, *group.members)}
        uses = Counter(a for i in indices for a in self.code[i].args)
        for group in branches.values():  # what is written twice
            uses.update([group.condition, *(self.code[m].args[2] for m in group.members)])
        kept = set(results) | {i for i in indices if self.code[i].span is Span.SCALAR}
        text = _Text(self, uses, kept)
        for index in indices:
            if index in branches:
                text.branch(branches[index])
            elif index not in behind:
                text.put(index)
        for index in results:
            text.need(index)
        return text.lines

    def varying(self) -> list[int]:
        """The instructions that are computed for each element."""
        return [i for i in self.live if self.code[i].span is not Span.SCALAR and self.code[i].opcode != "input"]

    def fixed(self) -> list[int]:
        """Those that are the same for a whole slice."""
        return [i for i in self.live if self.code[i].span is Span.SCALAR and self.code[i].opcode not in ("input", "constant")]


class _Text:
    """Lines as they grow. `uses`: how often each value is written; `kept`: what must have a name."""

    def __init__(self, source: ScalarLines, uses: Mapping[int, int], kept: Set[int]) -> None:
        self.lines: list[str] = []
        self._source, self._uses, self._kept = source, uses, kept
        self._named: set[int] = set()
        self._within: dict[int, tuple[str, int]] = {}  # a value that stands within another: its text, and how deep it is nested

    def need(self, index: int) -> None:
        """See to it that a constant has a name."""
        op = self._source.code[index]
        if op.opcode == "constant" and index not in self._named:
            self._named.add(index)
            self.lines.append(f"v{index} = {spell_constant(op)}")

    def put(self, index: int) -> None:
        """An instruction: a line, or text for the line that uses it."""
        text, depth = self._spelled(index)
        if self._uses[index] == 1 and index not in self._kept and depth < _NESTED:
            self._within[index] = (f"({text})", depth + 1)
        else:
            self.lines.append(f"v{index} = {text}")

    def branch(self, group: Group) -> None:
        """Choices whose first branch is seldom taken. It chooses once more within: the interpreter takes every branch with all elements."""
        code, condition = self._source.code, self._source.name(group.condition)
        for member in group.members:
            self.need(code[member].args[2])
            self.lines.append(f"v{member} = {self._source.name(code[member].args[2])}")
        outside, named, self.lines = self.lines, set(self._named), []
        for index in group.body:
            self.put(index)
        for member in group.members:
            self.lines.append(f"v{member} = {self._spelled(member)[0]}")
        self.lines = [*outside, f"if {condition}:", *indented(self.lines)]
        self._named = named  # a name from within a branch is not known behind it

    def _spelled(self, index: int) -> tuple[str, int]:
        code = self._source.code
        op = code[index]
        literal = [op.opcode != "apply" and _is_literal(code[a]) for a in op.args]
        if all(literal[:2]):  # Python would compute it
            literal = [False] * len(literal)
        args, depth = [], 0
        for a, written in zip(op.args, literal, strict=True):
            if a in self._within:
                text, deep = self._within.pop(a)
                depth = max(depth, deep)
            elif written:
                text = repr(code[a].attribute)
            else:
                text = self._source.name(a)
                self.need(a)
            args.append(text)
        return _spelled(op, args, [code[a] for a in op.args]), depth


def _is_literal(op: Instruction) -> bool:
    """Whether a constant may stand as a Python number, which Triton takes for a float32."""
    value = op.attribute
    if op.opcode != "constant" or op.type != "f32" or not isinstance(value, float) or not math.isfinite(value):
        return False
    return value > 0 or (value == 0 and math.copysign(1, value) > 0)


def _spelled(op: Instruction, args: list[str], operands: list[Instruction]) -> str:
    if op.opcode == "apply":
        return f"{op.attribute}_({', '.join(args)})"
    return spell(op, args, [o.type for o in operands])


def print_function(name: str) -> list[str]:
    """An operator as a function that is called."""
    kernel = function_body(name)
    body = ScalarLines(kernel, {i.name: i.name for i in kernel.inputs})
    result = kernel.outputs[0].index
    lines = [*body.lines(body.varying(), [result]), f"return {body.name(result)}"]
    head = f"def {name}_({', '.join(i.name for i in kernel.inputs)}):"
    return ["@triton.jit(noinline=True)", head, *indented(lines)]


def indented(lines: Iterable[str], by: int = 1) -> list[str]:
    """Lines, further to the right."""
    return ["    " * by + line for line in lines]
