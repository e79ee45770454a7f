"""Lines of LLVM intermediate representation: how each instruction, load, store and conversion is spelled at a given width.

Every value is a vector of `lanes` numbers. Constants are operands, written with all their bits. There are no fast-math flags and
no contraction: what the instruction list says is what is computed.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

from codegen.instructions import Instruction, Type

NAMES: Final[dict[Type, str]] = {"f32": "float", "f64": "double", "i32": "i32", "i64": "i64", "b": "i1"}
BYTES: Final[dict[str, int]] = {"float": 4, "double": 8, "i16": 2, "half": 2}
_SUFFIX: Final[dict[str, str]] = {"float": "f32", "double": "f64"}
_BINARY: Final[dict[str, str]] = {
    "add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv",
    "lt": "fcmp olt", "le": "fcmp ole", "gt": "fcmp ogt", "ge": "fcmp oge", "eq": "fcmp oeq", "ne": "fcmp une",
    "and": "and", "or": "or",
    "iadd": "add", "isub": "sub", "imul": "mul", "iand": "and", "ior": "or", "ixor": "xor",
    "shl": "shl", "shr": "lshr", "sar": "ashr", "ilt": "icmp slt", "ieq": "icmp eq",
}  # fmt: skip
_INTRINSICS: Final[dict[str, str]] = {"fma": "fma", "abs": "fabs", "sqrt": "sqrt", "floor": "floor"}
_CONVERSIONS: Final[dict[tuple[str, Type], str]] = {
    ("to_float", "i32"): "sitofp", ("to_float", "i64"): "sitofp",
    ("bits", "f32"): "bitcast", ("bits", "f64"): "bitcast", ("from_bits", "i32"): "bitcast", ("from_bits", "i64"): "bitcast",
    ("widen", "f32"): "fpext", ("widen", "i32"): "zext", ("narrow", "f64"): "fptrunc", ("narrow", "i64"): "trunc",
}  # fmt: skip


def literal(value: float, type: Type) -> str:
    """A number with all its bits; a float32 is written as the float64 of the same value, as LLVM wants it."""
    if type[0] == "i":
        return str(int(value))
    exact = ctypes.c_float(value).value if type == "f32" else value
    return f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"


class Lines:
    """A growing list of lines, and the declarations of the functions that they call."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.lines: list[str] = []
        self.declarations: set[str] = set()

    def put(self, text: str) -> None:
        """One or more lines; the common indentation does not matter."""
        if "\n" in text:
            self.lines.extend([line.strip() for line in text.strip().split("\n")])
        else:
            self.lines.append(text)

    def vector(self, name: str) -> str:
        """The vector type of an LLVM type."""
        return f"<{self.lanes} x {name}>"

    def splat(self, result: str, kind: str, scalar: str) -> None:
        """A vector that holds the same number in every lane."""
        vector = self.vector(kind)
        self.put(f"{result}.one = insertelement {vector} poison, {kind} {scalar}, i64 0")
        self.put(f"{result} = shufflevector {vector} {result}.one, {vector} poison, <{self.lanes} x i32> zeroinitializer")

    def operand(self, code: list[Instruction], index: int) -> str:
        """The value of instruction `index` as an operand."""
        instruction = code[index]
        if instruction.opcode != "constant":
            return f"%v{index}"
        assert isinstance(instruction.attribute, int | float)
        return f"splat ({NAMES[instruction.type]} {literal(instruction.attribute, instruction.type)})"

    def instruction(self, code: list[Instruction], index: int) -> None:
        """Instruction `index`, which is not an input or a constant, as `%v<index>`."""
        instruction, result = code[index], f"%v{index}"
        opcode, operands = instruction.opcode, [self.operand(code, a) for a in instruction.args]
        type = code[instruction.args[0]].type
        vector, target = self.vector(NAMES[type]), self.vector(NAMES[instruction.type])
        if opcode in _BINARY:
            self.put(f"{result} = {_BINARY[opcode]} {vector} {operands[0]}, {operands[1]}")
        elif opcode in _INTRINSICS:
            self._intrinsic(result, _INTRINSICS[opcode], NAMES[type], operands)
        elif opcode == "neg":
            self.put(f"{result} = fneg {vector} {operands[0]}")
        elif opcode == "not":
            self.put(f"{result} = xor {vector} {operands[0]}, splat (i1 true)")
        elif opcode in ("select", "rare"):
            self.put(f"{result} = select {vector} {operands[0]}, {target} {operands[1]}, {target} {operands[2]}")
        elif opcode == "call":
            self._call(result, str(instruction.attribute), operands)
        else:
            self.put(f"{result} = {_CONVERSIONS[opcode, type]} {vector} {operands[0]} to {target}")

    def _intrinsic(self, result: str, name: str, kind: str, operands: list[str]) -> None:
        vector = self.vector(kind)
        function = f"@llvm.{name}.v{self.lanes}{_SUFFIX[kind]}"
        self.declarations.add(f"declare {vector} {function}({', '.join([vector] * len(operands))})")
        self.put(f"{result} = call {vector} {function}({', '.join(f'{vector} {o}' for o in operands)})")

    def _call(self, result: str, function: str, operands: list[str]) -> None:
        """A scalar call for each lane."""
        self.declarations.add(f"declare double @{function}({', '.join(['double'] * len(operands))})")
        vector, so_far = self.vector("double"), "poison"
        for lane in range(self.lanes):
            arguments = [f"{result}.a{lane}.{k}" for k in range(len(operands))]
            for argument, operand in zip(arguments, operands, strict=True):
                self.put(f"{argument} = extractelement {vector} {operand}, i64 {lane}")
            self.put(f"{result}.r{lane} = call double @{function}({', '.join(f'double {a}' for a in arguments)})")
            name = result if lane == self.lanes - 1 else f"{result}.{lane}"
            self.put(f"{name} = insertelement {vector} {so_far}, double {result}.r{lane}, i64 {lane}")
            so_far = name

    def load(self, result: str, kind: str, pointer: str, index: str) -> None:
        """A vector from memory of type `kind`, as float when that is a 16-bit type."""
        self.put(f"{result}.p = getelementptr {kind}, ptr {pointer}, i64 {index}")
        raw = result if kind in _SUFFIX else f"{result}.m"
        self.put(f"{raw} = load {self.vector(kind)}, ptr {result}.p, align {BYTES[kind]}")
        if kind == "half":
            self.put(f"{result} = fpext {self.vector('half')} {raw} to {self.vector('float')}")
        elif kind == "i16":  # bfloat16 is the upper half of a float32
            word = self.vector("i32")
            self.put(f"""
                {result}.w = zext {self.vector("i16")} {raw} to {word}
                {result}.s = shl {word} {result}.w, splat (i32 16)
                {result} = bitcast {word} {result}.s to {self.vector("float")}""")

    def stored(self, stem: str, kind: str, value: str, pointer: str, index: str) -> str:
        """The vector as memory of type `kind` holds it, rounded to nearest when that is a 16-bit type, and its address, `<stem>.p`."""
        self.put(f"{stem}.p = getelementptr {kind}, ptr {pointer}, i64 {index}")
        if kind == "half":
            self.put(f"{stem}.h = fptrunc {self.vector('float')} {value} to {self.vector('half')}")
            return f"{stem}.h"
        return self._to_bfloat16(stem, value) if kind == "i16" else value

    def store(self, stem: str, kind: str, value: str, past_cache: bool = False) -> None:
        """What `stored` gave to its address; past the cache, the address is a multiple of the vector's size."""
        how = f"align {self.lanes * BYTES[kind]}, !nontemporal !0" if past_cache else f"align {BYTES[kind]}"
        self.put(f"store {self.vector(kind)} {value}, ptr {stem}.p, {how}")

    def _to_bfloat16(self, stem: str, value: str) -> str:
        """Ties to even: add half a unit less one, plus the last bit that stays. A NaN is cut off and made quiet.

        Written out because vcvtneps2bf16, to which an fptrunc would turn, flushes subnormal numbers to zero.
        """
        word, vector = self.vector("i32"), self.vector("float")
        self.put(f"""
            {stem}.bits = bitcast {vector} {value} to {word}
            {stem}.top = lshr {word} {stem}.bits, splat (i32 16)
            {stem}.last = and {word} {stem}.top, splat (i32 1)
            {stem}.half = add {word} {stem}.last, splat (i32 32767)
            {stem}.up = add {word} {stem}.bits, {stem}.half
            {stem}.rounded = lshr {word} {stem}.up, splat (i32 16)
            {stem}.quiet = or {word} {stem}.top, splat (i32 64)
            {stem}.nan = fcmp uno {vector} {value}, {value}
            {stem}.word = select {self.vector("i1")} {stem}.nan, {word} {stem}.quiet, {word} {stem}.rounded
            {stem}.short = trunc {word} {stem}.word to {self.vector("i16")}""")
        return f"{stem}.short"

    def total(self, stem: str, vector: str) -> str:
        """The sum of the lanes of a vector of doubles, by halves."""
        width = self.lanes
        while width > 1:
            half, old = width // 2, f"<{width} x double>"
            for side, start in (("low", 0), ("high", half)):
                mask = ", ".join(f"i32 {k}" for k in range(start, start + half))
                self.put(f"{stem}.{side}{half} = shufflevector {old} {vector}, {old} poison, <{half} x i32> <{mask}>")
            self.put(f"{stem}.sum{half} = fadd <{half} x double> {stem}.low{half}, {stem}.high{half}")
            width, vector = half, f"{stem}.sum{half}"
        self.put(f"{stem}.total = extractelement <1 x double> {vector}, i64 0")
        return f"{stem}.total"

    def copy(self, target: str, source: str, size: str) -> None:
        """Copy `size` bytes."""
        self.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        self.put(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")
