"""A machine that runs the compiled form of a Triton kernel, its TTIR or TTGIR, on NumPy arrays.

Triton's interpreter runs a kernel's Python text. What a GPU runs is what Triton's front end makes of that text, and the front end has
rules of its own for the names that branches and loops assign. This machine runs the text of a compiled kernel's stage "ttir", after
inlining, folding and the merging of equal values, so that a front end that took a kernel for another shows in its numbers; or of its stage
"ttgir", where tensors have got layouts, which say where elements are and do not matter here.

One program after another. A value is an array of its tensor's shape, or a scalar. The body of `tt.map_elementwise` is run once for all
elements of a program: scalars are vectors there, and where they disagree on a branch it is taken both ways and the results are chosen.

Only operations that round in one known way are known: float32 `arith.divf` and `math.sqrt` are approximate on a GPU, and are refused as
any unknown operation is. Elements that a load masks are NaN or the smallest integer, for nothing may depend on them. Accesses must be
within their arrays. The order of a sum is the machine's to choose: it is NumPy's, as in the interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kernels.triton_interpreter import _fma32, _fma64

Array = npt.NDArray[Any]

_DTYPES: Final[dict[str, Any]] = {"f32": np.float32, "f64": np.float64, "i1": np.bool_, "i32": np.int32, "i64": np.int64}
_LAYOUT: Final = re.compile(r", #(?:\w+|ttg\.slice<\{[^}]*\}>)(?=>)")
_LOCATION: Final = re.compile(r"\s*\bloc\((?:[^()]|\([^()]*\))*\)")
_OPERATION: Final = re.compile(r'(?:(%[\w$.-]+)(?::(\d+))? = )?"?(arith\.cmp[fi] \w+|[a-z_]+(?:\.[a-z_0-9]+)+)"?(.*)')
_VALUE: Final = re.compile(r"%[\w$.-]+(?:#\d+)?")
_TYPE: Final = re.compile(r"tensor<((?:\d+x)*)(?:!tt\.ptr<)?(\w+)>|\b([a-z]+\d+)\b")
_SYMBOL: Final = re.compile(r"@([^(]+)\(")
_CONSTANT: Final = re.compile(r" (?:dense<)?(true|false|0x[0-9A-F]+|-?\d+(?:\.\d+)?(?:E[+-]?\d+)?)(?:>| :|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pointer:
    """Places in an array of one dimension."""

    array: Array
    offset: Array


Value = Array | Pointer
Scope = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Region:
    """Operations in order, the last of which may give values to what is around."""

    arguments: list[str]
    operations: list[Operation]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `text`: what stands behind its name; `shape` and `element`: of the last type there, which is that of a result."""

    line: str
    name: str
    results: list[str]
    operands: list[str]
    text: str
    symbol: str
    shape: tuple[int, ...]
    element: str
    regions: list[Region]

    @property
    def dtype(self) -> np.dtype[Any]:
        if self.element not in _DTYPES:
            raise NotImplementedError(f"a type: {self.line}")
        dtype: np.dtype[Any] = np.dtype(_DTYPES[self.element])
        return dtype

    def number(self, attribute: str) -> int:
        found = re.search(rf"\b{attribute} = (-?\d+)", self.text)
        if found is None:
            raise NotImplementedError(f"no {attribute}: {self.line}")
        return int(found[1])


def _operation(line: str, lines: Iterator[str]) -> Operation:
    """The operation that begins with a line, and its regions in those behind it."""
    found = _OPERATION.fullmatch(line)
    if found is None:
        raise NotImplementedError(f"cannot read: {line}")
    result, count, name, text = found.groups()
    results = [] if result is None else [result] if count is None else [f"{result}#{k}" for k in range(int(count))]
    operands, symbol, regions, end = _VALUE.findall(text), _SYMBOL.search(text), [], line
    while end.endswith("{"):
        region, end = _region(lines)
        regions.append(region)
    dimensions, inner, scalar = (_TYPE.findall(text + end if regions else text) or [("", "", "i1")])[-1]
    shape = tuple(int(n) for n in dimensions.split("x") if n)
    return Operation(line, name, results, operands, text, symbol[1] if symbol else "", shape, inner or scalar, regions)


def _region(lines: Iterator[str]) -> tuple[Region, str]:
    """The region that the lines go on with, and the line that ends it."""
    region = Region([], [])
    for line in lines:
        if line.startswith("}"):
            return region, line
        if line.startswith("^bb0(") and not region.operations:
            region.arguments.extend(_VALUE.findall(line))
        else:
            region.operations.append(_operation(line, lines))
    raise ValueError("a region does not end")


def _constant(op: Operation) -> Array:
    found = _CONSTANT.match(op.text)
    if found is None:
        raise NotImplementedError(f"a constant: {op.line}")
    text, dtype = found[1], op.dtype
    if dtype.kind == "f":
        bits = text.startswith("0x")
        value = np.array(int(text, 16), f"u{dtype.itemsize}").view(dtype) if bits else dtype.type(text)
    else:
        value = dtype.type(text == "true" if dtype.kind == "b" else int(text))
    return np.broadcast_to(value, op.shape)


def _natural(a: Array) -> Array:
    """An integer without a sign."""
    return a if a.dtype == np.bool_ else a.view(f"u{a.dtype.itemsize}")


def _signed(op: Operation, a: Array) -> Array:
    """An integer to a wider one or to a float; a true i1 is -1."""
    return (-a.astype(np.int8) if a.dtype == np.bool_ else a).astype(op.dtype)


def _truncated(op: Operation, a: Array) -> Array:
    return (a & 1 if op.element == "i1" else a).astype(op.dtype)


def _float64_only(function: Callable[..., Array]) -> Callable[..., Array]:
    def checked(op: Operation, *operands: Array) -> Array:
        if op.element != "f64":
            raise NotImplementedError(f"approximate on a GPU: {op.line}")
        return function(*operands)

    return checked


def _moved(function: Callable[[Operation, Array], Array]) -> Callable[[Operation, Value], Value]:
    """Another shape, for values and for places."""
    return lambda op, a: Pointer(a.array, function(op, a.offset)) if isinstance(a, Pointer) else function(op, a)


def _touched(op: Operation, pointer: Pointer, mask: Array | None) -> tuple[Array, Array]:
    """Which elements an access touches, and their places."""
    chosen = np.broadcast_to(np.bool_(True) if mask is None else mask, np.shape(pointer.offset))
    places = np.asarray(pointer.offset)[chosen]
    if places.size and not 0 <= places.min() <= places.max() < len(pointer.array):
        raise IndexError(f"outside of an array of {len(pointer.array)}: {op.line}")
    return chosen, places


def _load(op: Operation, pointer: Pointer, mask: Array | None = None, other: Array | None = None) -> Array:
    chosen, places = _touched(op, pointer, mask)
    if other is None:
        other = np.array(np.nan if op.dtype.kind == "f" else np.iinfo(op.dtype).min, op.dtype)
    result = np.broadcast_to(other, chosen.shape).copy()
    result[chosen] = pointer.array[places]
    return result


def _store(op: Operation, pointer: Pointer, value: Array, mask: Array | None = None) -> None:
    chosen, places = _touched(op, pointer, mask)
    pointer.array[places] = np.asarray(value)[chosen]


# What is computed from the values alone.
_PLAIN: Final[dict[str, Callable[..., Array]]] = {
    "arith.addf": np.add, "arith.subf": np.subtract, "arith.mulf": np.multiply, "arith.negf": np.negative,
    "tt.precise_divf": np.divide, "tt.precise_sqrt": np.sqrt, "math.absf": np.abs, "math.floor": np.floor,
    "math.fma": lambda a, b, c: (_fma32 if c.dtype == np.float32 else _fma64)(a, b, c),
    "arith.addi": np.add, "arith.subi": np.subtract, "arith.muli": np.multiply, "arith.maxsi": np.maximum, "arith.minsi": np.minimum,
    "arith.divsi": lambda a, b: (a - np.fmod(a, b)) // b, "arith.remsi": np.fmod,  # both as in C: the quotient is rounded to zero
    "arith.andi": np.bitwise_and, "arith.ori": np.bitwise_or, "arith.xori": np.bitwise_xor,
    "arith.shli": np.left_shift, "arith.shrsi": np.right_shift,
    "arith.shrui": lambda a, b: np.right_shift(_natural(a), _natural(b)).view(a.dtype),
    "arith.select": np.where,
    "arith.cmpf oeq": np.equal, "arith.cmpf olt": np.less, "arith.cmpf ole": np.less_equal,
    "arith.cmpf une": np.not_equal, "arith.cmpf ogt": np.greater, "arith.cmpf oge": np.greater_equal,
    "arith.cmpi eq": np.equal, "arith.cmpi slt": np.less, "arith.cmpi sle": np.less_equal,
    "arith.cmpi ne": np.not_equal, "arith.cmpi sgt": np.greater, "arith.cmpi sge": np.greater_equal,
}  # fmt: skip

# What depends on the operation's type or attributes as well, or accesses memory.
_TYPED: Final[dict[str, Callable[..., Value | None]]] = {
    "arith.constant": _constant, "tt.make_range": lambda op: np.arange(op.number("start"), op.number("end"), dtype=op.dtype),
    "arith.divf": _float64_only(np.divide), "math.sqrt": _float64_only(np.sqrt),
    "arith.extf": lambda op, a: a.astype(op.dtype), "arith.truncf": lambda op, a: a.astype(op.dtype),
    "arith.extsi": _signed, "arith.sitofp": _signed, "arith.extui": lambda op, a: _natural(a).astype(op.dtype),
    "arith.trunci": _truncated, "tt.bitcast": lambda op, a: a.view(op.dtype), "arith.bitcast": lambda op, a: a.view(op.dtype),
    "tt.splat": _moved(lambda op, a: np.broadcast_to(a, op.shape)), "tt.broadcast": _moved(lambda op, a: np.broadcast_to(a, op.shape)),
    "tt.reshape": _moved(lambda op, a: a.reshape(op.shape)),
    "tt.expand_dims": _moved(lambda op, a: np.expand_dims(a, op.number("axis"))),
    "tt.addptr": lambda op, pointer, by: Pointer(pointer.array, pointer.offset + by.astype(np.int64)),
    "tt.load": _load, "tt.store": _store, "ttg.convert_layout": _moved(lambda _, a: a),
}  # fmt: skip

# Instructions of NVIDIA's.
_ASSEMBLY: Final[dict[str, Callable[[Array], Array]]] = {"cvt.rmi.f32.f32 $0, $1;": np.floor, "sqrt.rn.f64 $0, $1;": np.sqrt}
_ENDS: Final = ("tt.return", "scf.yield", "tt.map_elementwise.return", "tt.reduce.return")


class Machine:
    """A compiled kernel."""

    def __init__(self, ttir: str) -> None:
        text = _LAYOUT.sub("", _LOCATION.sub("", ttir))
        lines = (line.strip() for line in text.splitlines() if line and not line.startswith(("#", "module", "}")))
        functions = [_operation(line, lines) for line in lines]
        (self._kernel,) = (op for op in functions if op.text.startswith(" public "))
        self._functions = {op.symbol: op for op in functions}
        self._program: Mapping[str, int] = {}
        self._grid: Mapping[str, int] = {}
        self._control: Mapping[str, Callable[[Operation, Scope], Sequence[Any]]] = {
            "tt.get_program_id": lambda op, _: [np.array(self._program[op.text.split()[0]], np.int32)],
            "tt.get_num_programs": lambda op, _: [np.array(self._grid[op.text.split()[0]], np.int32)],
            "tt.elementwise_inline_asm": self._assembly,
            "tt.call": self._call, "tt.map_elementwise": self._map, "tt.reduce": self._reduce, "scf.for": self._for, "scf.if": self._if,
        }  # fmt: skip

    def launch(self, grid: tuple[int, ...], arguments: Sequence[Array | int]) -> None:
        """Run every program. Arguments: arrays of one dimension, which are written to, and int32 numbers, as the kernel lists them."""
        values = [Pointer(a, np.array(0)) if isinstance(a, np.ndarray) else np.array(a, np.int32) for a in arguments]
        self._grid = dict(zip("xyz", (*grid, 1, 1), strict=False))
        with np.errstate(all="ignore"):
            for program in np.ndindex(*self._grid.values()):
                self._program = dict(zip("xyz", program, strict=True))
                self._enter(self._kernel, values)

    def _enter(self, function: Operation, values: Sequence[Value]) -> Sequence[Any]:
        return self._run(function.regions[0], dict(zip(function.operands, values, strict=True)))

    def _run(self, region: Region, scope: Scope) -> Sequence[Any]:
        """Names are unique within a function, but for regions side by side, so that one scope will do."""
        for op in region.operations:
            if op.name in _ENDS:
                return [scope[name] for name in op.operands]
            scope.update(zip(op.results, self._results(op, scope), strict=True))
        return []

    def _results(self, op: Operation, scope: Scope) -> Sequence[Any]:
        if op.name in self._control:
            return self._control[op.name](op, scope)
        operands = [scope[name] for name in op.operands]
        if op.name in _PLAIN:
            value: Value | None = _PLAIN[op.name](*operands)
        elif op.name in _TYPED:
            value = _TYPED[op.name](op, *operands)
        else:
            raise NotImplementedError(f"unknown: {op.line}")
        if value is None or isinstance(value, Pointer):
            return [] if value is None else [value]
        if value.dtype != (np.bool_ if op.name.startswith("arith.cmp") else op.dtype):
            raise TypeError(f"gave {value.dtype}: {op.line}")
        return [value]

    @staticmethod
    def _assembly(op: Operation, scope: Scope) -> Sequence[Any]:
        """Of an instruction that is none, such as the placeholder of a group's body, nobody may use the results."""
        text = re.search(r'"([^"]*)"', op.text)
        assert text is not None
        known = _ASSEMBLY.get(text[1])
        return [None] * len(op.results) if known is None else [known(scope[op.operands[0]])]

    def _call(self, op: Operation, scope: Scope) -> Sequence[Any]:
        return self._enter(self._functions[op.symbol], [scope[name] for name in op.operands])

    def _if(self, op: Operation, scope: Scope) -> Sequence[Any]:
        condition = np.asarray(scope[op.operands[0]])
        if condition.all():
            return self._run(op.regions[0], scope)
        if not condition.any():
            return self._run(op.regions[1], scope) if len(op.regions) > 1 else []
        if not op.results:
            raise NotImplementedError(f"an effect on some elements: {op.line}")
        one, other = (self._run(region, scope) for region in op.regions)
        return [np.where(condition, a, b) for a, b in zip(one, other, strict=True)]

    def _for(self, op: Operation, scope: Scope) -> Sequence[Any]:
        counter, *bounds = op.operands[:4]
        found = [np.unique(scope[name]) for name in bounds]
        if max(map(len, found)) > 1:
            raise NotImplementedError(f"as often as elements say: {op.line}")
        names, values = op.operands[4::2], [scope[name] for name in op.operands[5::2]]
        for k in np.arange(*(bound[0] for bound in found), dtype=op.dtype):
            scope.update({counter: k, **dict(zip(names, values, strict=True))})
            values = list(self._run(op.regions[0], scope))
        return values

    def _map(self, op: Operation, scope: Scope) -> Sequence[Any]:
        """Each operand is `pack` arguments of the body: its elements 0, pack, 2*pack, ..., then 1, pack + 1, ..., and so on."""
        pack, body = op.number("pack"), op.regions[0]
        operands = [np.asarray(scope[name]) for name in op.operands]
        arguments = [column for a in operands for column in a.reshape(-1, pack).T]
        found = self._run(body, {**scope, **dict(zip(body.arguments, arguments, strict=True))})
        columns = [np.broadcast_to(np.asarray(a), operands[0].size // pack) for a in found]
        return [np.stack(columns[k : k + pack], axis=-1).reshape(operands[0].shape) for k in range(0, len(columns), pack)]

    def _reduce(self, op: Operation, scope: Scope) -> Sequence[Any]:
        if [inner.name for inner in op.regions[0].operations] != ["arith.addf", "tt.reduce.return"]:
            raise NotImplementedError(f"not a sum: {op.line}")
        return [np.sum(np.asarray(scope[op.operands[0]]), axis=op.number("axis"))]
