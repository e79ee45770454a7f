"""The Triton spelling of scalar code: a kernel's instructions as calls of the builder that Triton's front end makes code with.

A group's expressions are thousands of scalar operations. Written as text they would go through Triton's front end, which takes 40 to 100
microseconds for each; a call of its builder takes 2. The interpreter has a builder of the same methods, and runs the same code.

Scalar code may branch and call functions, which a kernel of tensors cannot: what is seldom needed stands behind an `if`
(`codegen.rare`), and operators that many expressions apply are functions (`codegen.outline`). How to do so is the `Flow`'s to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from codegen.instructions import Instruction, Type
from codegen.kernel import Kernel
from codegen.outline import function_body
from codegen.rare import Group, long_groups

# A value in the builder's hands.
Handle = Any

# opcode -> the builder's method for operands of that type and a result of the same, or a truth value
_METHODS: Final[dict[str, str]] = {
    "add": "create_fadd", "sub": "create_fsub", "mul": "create_fmul", "fma": "create_fma", "abs": "create_fabs",
    "lt": "create_fcmpOLT", "le": "create_fcmpOLE", "gt": "create_fcmpOGT", "ge": "create_fcmpOGE",
    "eq": "create_fcmpOEQ", "ne": "create_fcmpUNE",
    "and": "create_and", "or": "create_or", "select": "create_select", "rare": "create_select",
    "iadd": "create_add", "isub": "create_sub", "imul": "create_mul", "iand": "create_and", "ior": "create_or", "ixor": "create_xor",
    "shl": "create_shl", "shr": "create_lshr", "sar": "create_ashr", "ilt": "create_icmpSLT", "ieq": "create_icmpEQ",
}  # fmt: skip
# `/` and `sqrt` of float32 are approximate in Triton if nothing else is asked for.
_ROUNDED: Final[dict[tuple[str, Type], str]] = {
    ("div", "f32"): "create_precise_divf", ("div", "f64"): "create_fdiv",
    ("sqrt", "f32"): "create_precise_sqrt", ("floor", "f64"): "create_floor",
}  # fmt: skip
_CONVERSIONS: Final[dict[str, str]] = {
    "to_float": "create_si_to_fp", "bits": "create_bitcast", "from_bits": "create_bitcast",
}  # fmt: skip
_TYPES: Final[dict[Type, str]] = {
    "f32": "get_float_ty", "f64": "get_double_ty", "i32": "get_int32_ty", "i64": "get_int64_ty", "b": "get_int1_ty",
}  # fmt: skip
_CONSTANTS: Final[dict[Type, str]] = {"f32": "get_fp32", "f64": "get_fp64", "i32": "get_int32", "i64": "get_int64"}


class Flow(Protocol):
    """How control flows where code is put: see `kernels.group_flow` and `kernels.group_interpreter`."""

    builder: Any

    def call(self, function: Kernel, arguments: Sequence[Handle]) -> Handle:
        """The result of a function of scalars, which is made where there is none of its name."""

    def branch(
        self, condition: Handle, types: Sequence[Type], one: Callable[[], Sequence[Handle]], other: Callable[[], Sequence[Handle]]
    ) -> list[Handle]:
        """What one of two pieces of code gives."""

    def repeat(self, count: Handle, values: Sequence[Handle], body: Callable[[list[Handle]], Sequence[Handle]]) -> list[Handle]:
        """Values that a piece of code replaces so many times, once at least."""

    def floor(self, x: Handle) -> Handle:
        """Of float32, with subnormal numbers."""

    def wide_sqrt(self, x: Handle) -> Handle:
        """Of float64, correctly rounded."""


def builder_type(builder: Any, type: Type) -> Any:
    """A type as the builder knows it."""
    return getattr(builder, _TYPES[type])()


def constant(builder: Any, value: float, type: Type = "f32") -> Handle:
    """A number, with all its bits."""
    return getattr(builder, _CONSTANTS[type])(value)


class ScalarCode:
    """A kernel's instructions, to be put where a flow is. `given`: the handles of its inputs by name.

    Constants have no place of their own. They are made where they are needed first, and a compiler merges them.
    """

    def __init__(self, flow: Flow, kernel: Kernel, given: Mapping[str, Handle]) -> None:
        self.code = kernel.block.instructions
        self._flow, self._kernel, self._given = flow, kernel, given
        self._values: dict[int, Handle] = {}

    def put(self, indices: Sequence[int]) -> None:
        """Put some instructions in order."""
        branches = long_groups(self._kernel, indices)
        behind = {i for group in branches.values() for i in (*group.body, *group.members)}
        for index in indices:
            if index in branches:
                self._branch(branches[index])
            elif index not in behind:
                self._values[index] = self._instruction(index)

    def give(self, values: Mapping[int, Handle]) -> None:
        """What some instructions give, which then need not be put."""
        self._values.update(values)

    def value(self, index: int) -> Handle:
        """What an instruction that was put, an input or a constant gives."""
        if index not in self._values:
            op = self.code[index]
            if op.opcode == "input":
                return self._given[str(op.attribute)]
            if not isinstance(op.attribute, float | int):
                raise KeyError(f"instruction {index}, {op.opcode}, is read before it is there")
            self._values[index] = constant(self._flow.builder, op.attribute, op.type)
        return self._values[index]

    def outputs(self) -> list[Handle]:
        """What the kernel's outputs are made of."""
        return [self.value(output.index) for output in self._kernel.outputs]

    def _branch(self, group: Group) -> None:
        """Choices whose first branch is seldom taken. What is made within a branch is not known behind it."""
        outside = self._values

        def way(body: Sequence[int], number: int) -> list[Handle]:
            self._values = dict(outside)
            for index in body:
                self._values[index] = self._instruction(index)
            found = [self.value(self.code[m].args[number]) for m in group.members]
            self._values = outside
            return found

        types = [self.code[m].type for m in group.members]
        found = self._flow.branch(self.value(group.condition), types, lambda: way(group.body, 1), lambda: way((), 2))
        self._values.update(zip(group.members, found, strict=True))

    def _instruction(self, index: int) -> Handle:
        op = self.code[index]
        operands = [self.value(a) for a in op.args]
        if op.opcode == "apply":
            return self._flow.call(function_body(str(op.attribute)), operands)
        type = self.code[op.args[0]].type
        if (op.opcode, type) == ("floor", "f32"):
            return self._flow.floor(*operands)
        if (op.opcode, type) == ("sqrt", "f64"):
            return self._flow.wide_sqrt(*operands)
        return _computed(self._flow.builder, op, operands, type)


def put_function(flow: Flow, function: Kernel, arguments: Sequence[Handle]) -> Handle:
    """Put the body of a function with one result where the flow is."""
    body = ScalarCode(flow, function, dict(zip((i.name for i in function.inputs), arguments, strict=True)))
    body.put([i for i in function.live() if body.code[i].opcode not in ("input", "constant")])
    (result,) = body.outputs()
    return result


def _computed(builder: Any, op: Instruction, operands: Sequence[Handle], type: Type) -> Handle:
    """An instruction on operands of which the first has that type. KeyError for what is no computation of scalars."""
    if (op.opcode, type) in _ROUNDED:
        return getattr(builder, _ROUNDED[op.opcode, type])(*operands)
    if op.opcode in _CONVERSIONS:
        return getattr(builder, _CONVERSIONS[op.opcode])(*operands, builder_type(builder, op.type))
    match op.opcode:
        case "neg":
            return builder.create_fmul(*operands, constant(builder, -1.0, type))
        case "not":
            return builder.create_xor(*operands, builder.get_int1(True))
        case "widen" if type == "f32":
            return builder.create_fp_ext(*operands, builder_type(builder, "f64"))
        case "narrow" if type == "f64":
            return builder.create_fp_trunc(*operands, builder_type(builder, "f32"))
        case "widen" | "narrow":
            return builder.create_int_cast(*operands, builder_type(builder, op.type), False)  # zeros above
        case _:
            return getattr(builder, _METHODS[op.opcode])(*operands)
