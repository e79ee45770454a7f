"""The instruction list that every kernel backend prints.

A kernel body is a list of elementary instructions in static single assignment form: arithmetic, comparisons, selects, bit
operations. The operators of the language are spelled once in these instructions (`codegen/elementary.py`), so the CPU kernel
(LLVM) and the GPU kernel (Triton) compute with the same numbers, and a new backend is one more table of spellings.

Equal instructions are one instruction (value numbering), so `sin(t)` and `cos(t)` share their range reduction without any pass.
Each value also knows how far it varies (`Span`), which is how loop-invariant work ends up outside of the loops.

Types: `f32`, `f64`, `i32`, `i64`, `b` (a truth value). Integer arithmetic wraps around, in two's complement.
"""

from __future__ import annotations

import enum
import functools
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Type = Literal["f32", "f64", "i32", "i64", "b"]


class Span(enum.IntEnum):
    """How far a value varies: over the whole launch, along rows, along channels, or from element to element.

    A tensor is seen as rows x channels. `ROW` and `CHANNEL` join to `ELEMENT`.
    """

    SCALAR = 0
    ROW = 1
    CHANNEL = 2
    ELEMENT = 3

    def join(self, other: Span) -> Span:
        """The smallest span that contains both (the values are bit sets)."""
        return _SPANS[self | other]


_SPANS: Final = tuple(Span)  # a look-up is ten times as fast as Span(...)

# opcode -> number of arguments. `x` stands for the arguments' common type.
ARITY: Final[dict[str, int]] = {
    "input": 0,  # attribute: name of the input
    "constant": 0,  # attribute: float (f32, f64), int (i32, i64)
    # f32, f64
    "add": 2, "sub": 2, "mul": 2, "div": 2, "fma": 3, "neg": 1, "abs": 1, "sqrt": 1, "floor": 1,
    # f32, f64 -> b; false when an argument is NaN, except `ne`, which is then true
    "lt": 2, "le": 2, "gt": 2, "ge": 2, "eq": 2, "ne": 2,
    # b
    "and": 2, "or": 2, "not": 1,
    # (b, x, x) -> x for every type
    "select": 3,
    "rare": 3,  # select, with the promise that the condition seldom holds and the first branch is expensive (`codegen.rare`)
    # i32, i64; the shift count is an integer of the same type, `shr` fills with zeros, `sar` with the sign
    "iadd": 2, "isub": 2, "imul": 2, "iand": 2, "ior": 2, "ixor": 2, "shl": 2, "shr": 2, "sar": 2,
    # i32, i64 -> b, signed
    "ilt": 2, "ieq": 2,
    "to_float": 1,  # signed i32 -> f32, i64 -> f64
    "bits": 1,  # f32 -> i32, f64 -> i64, the same bits
    "from_bits": 1,  # i32 -> f32, i64 -> f64, the same bits
    "widen": 1,  # f32 -> f64; i32 -> i64 with zeros above
    "narrow": 1,  # f64 -> f32, rounded to nearest; i64 -> i32, the low half
    "call": -1,  # a function of the backend's mathematics library, named by the attribute; arguments and result f64
    "apply": -1,  # an operator of the language by name, which is called as a function (`codegen.outline`)
}  # fmt: skip

COMPARISONS: Final = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "ilt", "ieq"})
_FLOAT_TO_INT: Final[dict[Type, Type]] = {"f32": "i32", "f64": "i64"}
_INT_TO_FLOAT: Final[dict[Type, Type]] = {"i32": "f32", "i64": "f64"}
_WIDEN: Final[dict[Type, Type]] = {"f32": "f64", "i32": "i64"}
_NARROW: Final[dict[Type, Type]] = {"f64": "f32", "i64": "i32"}


class Instruction(NamedTuple):
    """One line of a kernel: `opcode(args)` of type `type`; `args` are positions in the list, all smaller than its own."""

    opcode: str
    args: tuple[int, ...]
    type: Type
    attribute: str | int | float | None
    span: Span


@dataclass(slots=True, eq=False)  # not frozen, which would triple the time that it takes to make one
class Value:
    """A reference to an instruction, with the usual arithmetic signs. Python numbers become constants of the same type."""

    block: Block
    index: int

    @property
    def type(self) -> Type:
        return self.block.instructions[self.index].type

    @property
    def span(self) -> Span:
        return self.block.instructions[self.index].span

    def __add__(self, other: Value | float) -> Value:
        return self.block.emit("iadd" if self.type[0] == "i" else "add", self, other)

    def __radd__(self, other: float) -> Value:
        return self.block.like(self, other) + self

    def __sub__(self, other: Value | float) -> Value:
        return self.block.emit("isub" if self.type[0] == "i" else "sub", self, other)

    def __rsub__(self, other: float) -> Value:
        return self.block.like(self, other) - self

    def __mul__(self, other: Value | float) -> Value:
        return self.block.emit("imul" if self.type[0] == "i" else "mul", self, other)

    def __rmul__(self, other: float) -> Value:
        return self.block.like(self, other) * self

    def __truediv__(self, other: Value | float) -> Value:
        return self.block.emit("div", self, other)

    def __rtruediv__(self, other: float) -> Value:
        return self.block.like(self, other) / self

    def __neg__(self) -> Value:
        return self.block.emit("neg", self)

    def __abs__(self) -> Value:
        return self.block.emit("abs", self)

    def __lt__(self, other: Value | float) -> Value:
        return self.block.emit("ilt" if self.type[0] == "i" else "lt", self, other)

    def __le__(self, other: Value | float) -> Value:
        return self.block.emit("le", self, other)

    def __gt__(self, other: Value | float) -> Value:
        return self.block.emit("gt", self, other)

    def __ge__(self, other: Value | float) -> Value:
        return self.block.emit("ge", self, other)

    def __and__(self, other: Value | int) -> Value:
        return self.block.emit("and" if self.type == "b" else "iand", self, other)

    def __or__(self, other: Value | int) -> Value:
        return self.block.emit("or" if self.type == "b" else "ior", self, other)

    def __xor__(self, other: Value | int) -> Value:
        return self.block.emit("ixor", self, other)

    def __invert__(self) -> Value:
        return self.block.emit("not", self)

    def __lshift__(self, other: Value | int) -> Value:
        return self.block.emit("shl", self, other)

    def __rshift__(self, other: Value | int) -> Value:
        """Logical: zeros come in from above. For the arithmetic shift see `Block.emit("sar", ...)`."""
        return self.block.emit("shr", self, other)


class Block:
    """A growing list of instructions. `float_type` is the type that the kernel computes in."""

    def __init__(self, float_type: Type) -> None:
        self.float_type = float_type
        self.instructions: list[Instruction] = []
        self._numbering: dict[tuple[str, tuple[int, ...], Type, str | int | float | bytes | None], int] = {}

    def input(self, name: str, span: Span, type: Type | None = None) -> Value:
        """The value of the kernel's input `name` at this place; equal names are one instruction."""
        return self._append("input", (), type or self.float_type, name, span)

    def constant(self, value: float, type: Type | None = None) -> Value:
        """A literal. Floats keep their bits: 0.0 and -0.0 are different constants, NaN equals itself."""
        kind = type or self.float_type
        return self._append("constant", (), kind, int(value) if kind[0] == "i" else float(value), Span.SCALAR)

    def like(self, pattern: Value, value: Value | float) -> Value:
        """`value` itself, or the number as a constant of `pattern`'s type."""
        return value if isinstance(value, Value) else self.constant(value, pattern.type)

    def emit(self, opcode: str, *operands: Value | float) -> Value:
        """Append `opcode(operands)` unless it is already there. Numbers take the type of the first operand that is a value.

        Raises TypeError when the operands' types do not fit the opcode, with both named.
        """
        if {type(o) for o in operands} != {Value}:
            # In a choice the pattern is a branch, not the condition.
            pattern = next(o for o in (operands[1:] if opcode in ("select", "rare") else operands) if isinstance(o, Value))
            operands = tuple([self.like(pattern, o) for o in operands])
        args = tuple([o.index for o in operands])  # type: ignore[union-attr]
        arguments = [self.instructions[index] for index in args]
        span = 0
        for argument in arguments:
            span |= argument.span
        return self._append(opcode, args, _result_type(opcode, tuple([a.type for a in arguments])), None, _SPANS[span])

    def fma(self, a: Value, b: Value | float, c: Value | float) -> Value:
        """a*b + c, rounded once."""
        return self.emit("fma", a, b, c)

    def select(self, condition: Value, a: Value | float, b: Value | float) -> Value:
        """`a` where the condition holds, else `b`. When both are numbers they have the type the block computes in."""
        if not isinstance(a, Value) and not isinstance(b, Value):
            a = self.constant(a)
        return self.emit("select", condition, a, b)

    def call(self, name: str, *operands: Value) -> Value:
        """A call of the mathematics library (float64 only: there libm is good enough, and its calls are scalar)."""
        if any(o.type != "f64" for o in operands):
            raise TypeError(f"call {name}: every argument must be f64, not {[o.type for o in operands]}")
        return self._append("call", tuple(o.index for o in operands), "f64", name, _joined(operands))

    def apply(self, name: str, *operands: Value) -> Value:
        """An operator that is not spelled out here but called; arguments and result have the type that the block computes in."""
        return self._append("apply", tuple(o.index for o in operands), self.float_type, name, _joined(operands))

    def horner(self, x: Value, coefficients: tuple[float, ...]) -> Value:
        """The polynomial with the given coefficients, highest power first, by fused multiply-add."""
        result: Value | float = coefficients[0]
        for coefficient in coefficients[1:]:
            result = self.emit("fma", x, result, coefficient)
        return self.like(x, result)

    def _append(self, opcode: str, args: tuple[int, ...], type: Type, attribute: str | int | float | None, span: Span) -> Value:
        # Floats are numbered by their bits, for 0.0 == -0.0 and NaN != NaN would both merge or split wrongly.
        token = struct.pack("<d", attribute) if isinstance(attribute, float) else attribute
        key = (opcode, args, type, token)
        index = self._numbering.get(key)
        if index is None:
            index = len(self.instructions)
            self._numbering[key] = index
            self.instructions.append(Instruction(opcode, args, type, attribute, span))
        return Value(self, index)


def _joined(operands: Iterable[Value]) -> Span:
    """How far a function of these values varies."""
    return functools.reduce(Span.join, (o.span for o in operands), Span.SCALAR)


@functools.cache
def _result_type(opcode: str, types: tuple[Type, ...]) -> Type:
    expected = ARITY.get(opcode)
    first = types[0]
    rest = set(types)
    ok = expected == len(types)
    if opcode in ("select", "rare"):
        ok = ok and first == "b" and types[1] == types[2]
        result: Type = types[1]
    elif opcode in ("and", "or", "not"):
        ok, result = ok and rest == {"b"}, "b"
    elif opcode in ("bits", "to_float", "from_bits", "widen", "narrow"):
        table = {"bits": _FLOAT_TO_INT, "to_float": _INT_TO_FLOAT, "from_bits": _INT_TO_FLOAT, "widen": _WIDEN, "narrow": _NARROW}[opcode]
        ok, result = ok and first in table, table.get(first, first)
    elif opcode in ("iadd", "isub", "imul", "iand", "ior", "ixor", "shl", "shr", "sar", "ilt", "ieq"):
        ok, result = ok and len(rest) == 1 and first in ("i32", "i64"), "b" if opcode in COMPARISONS else first
    else:
        ok, result = ok and len(rest) == 1 and first in ("f32", "f64"), "b" if opcode in COMPARISONS else first
    if not ok:
        raise TypeError(f"{opcode}: the operand types {list(types)} do not fit")
    return result
