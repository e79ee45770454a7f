"""Triton kernels: numbers in the interpreter, machine code for four targets, neither of which needs a GPU."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codegen.instructions import ARITY, Block, Span, Value
from codegen.kernel import COMPUTE, Input, Kernel, Output, Storage
from codegen.triton import print_kernel
from kernels import triton_launch
from kernels.dtypes import DTYPES
from kernels.report import Report, static_report
from kernels.triton_compiler import TARGETS, choose_tile, load
from kernels.triton_interpreter import _fma32
from kernels.triton_launch import GpuKernel

STORAGES: tuple[Storage, ...] = ("f32", "f64", "bf16", "f16")
FLOAT: dict[str, Any] = {"f32": np.float32, "f64": np.float64}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GP_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "gp"))


def flat(storage: Storage, body: Callable[..., Value | tuple[Value, ...]], inputs: str = "x", name: str = "test") -> Kernel:
    """A kernel of element inputs, one letter each, and `s`, `t` for scalars; outputs are element-wise."""
    block = Block(COMPUTE[storage])
    items = tuple(Input(n, Span.SCALAR if n in "st" else Span.ELEMENT, n) for n in inputs)
    values = body(block, *(block.input(i.name, i.span) for i in items))
    outputs = values if isinstance(values, tuple) else (values,)
    return Kernel(name, storage, block, items, tuple(Output(f"y{i}", Span.ELEMENT, v.index) for i, v in enumerate(outputs)))


def softsign_and_polynomial(b: Block, x: Value, s: Value) -> Value:
    return b.horner(x / (abs(x) + 1.0), (0.3, -0.7, 0.2)) * s


def run(kernel: Kernel, *inputs: Any, rows: int = 1, channels: int) -> list[torch.Tensor]:
    return GpuKernel(kernel, interpret=True)(inputs, rows, channels)


def unsigned(value: Any) -> Any:
    return value.view(f"u{value.itemsize}")


def exact_fma(x: Any, y: Any, z: Any) -> Any:
    """x*y + z in rational arithmetic, rounded once; what is not finite, or zero, does not round."""
    result = x * y + z
    for index in np.flatnonzero(np.isfinite(result)):
        exact = Fraction(float(x[index])) * Fraction(float(y[index])) + Fraction(float(z[index]))
        if exact:
            result[index] = nearest(exact, x.dtype.type)
    return result


def nearest(exact: Fraction, dtype: Any) -> Any:
    """The number of that dtype next to a fraction, the even one on a tie. It is its float64 value or a neighbour."""
    start = dtype(float(exact))
    candidates = [start, np.nextafter(start, dtype(-np.inf)), np.nextafter(start, dtype(np.inf))]
    return min((c for c in candidates if np.isfinite(c)), key=lambda c: (abs(Fraction(float(c)) - exact), int(unsigned(c)) & 1))


# What every opcode does, in NumPy: on floats x, y, z; on integers i, j; on truth values p, q, r.
OPCODES: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "div": lambda x, y: x / y,
    "neg": lambda x: -x, "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "fma": exact_fma,
    "lt": lambda x, y: x < y, "le": lambda x, y: x <= y, "gt": lambda x, y: x > y, "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y, "ne": lambda x, y: x != y,
    "and": lambda p, q: p & q, "or": lambda p, q: p | q, "not": lambda p: ~p, "select": np.where, "rare": np.where,
    "iadd": lambda i, j: i + j, "isub": lambda i, j: i - j, "imul": lambda i, j: i * j, "iand": lambda i, j: i & j,
    "ior": lambda i, j: i | j, "ixor": lambda i, j: i ^ j, "ilt": lambda i, j: i < j, "ieq": lambda i, j: i == j,
    "shl": lambda i, j: i << j, "sar": lambda i, j: i >> j, "shr": lambda i, j: (unsigned(i) >> unsigned(j)).view(i.dtype),
    "to_float": lambda i: i.astype(f"f{i.itemsize}"), "bits": lambda x: x.view(f"i{x.itemsize}"),
    "from_bits": lambda i: i.view(f"f{i.itemsize}"),
}  # fmt: skip
ELSEWHERE = {"input", "constant", "call", "apply", "widen", "narrow"}
SPECIAL = [0.0, -0.0, 1.0, -1.5, 2.5, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3.0e38, 16777217.0]


def operands(kind: str) -> tuple[Any, Any, Any]:
    """Every pair of special values, and random ones whose x*y + z cancels all but the rounding of the product."""
    rng = np.random.default_rng(7)
    x, y = (a.ravel() for a in np.meshgrid(*[np.array(SPECIAL, FLOAT[kind])] * 2))
    z = np.resize(x[:: len(SPECIAL)][::-1], x.size)
    a, b = rng.standard_normal((2, 300)).astype(FLOAT[kind])
    return np.concatenate([x, a]), np.concatenate([y, b]), np.concatenate([z, -a * b])


def test_every_opcode_is_in_the_table() -> None:
    assert set(OPCODES) | ELSEWHERE == set(ARITY)


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("opcode", OPCODES)
def test_opcode(opcode: str, kind: Storage) -> None:
    largest_shift = 31 if kind == "f32" else 63

    def arguments(x: Any, y: Any, z: Any, i: Any, j: Any) -> tuple[Any, ...]:
        if opcode in ("and", "or", "not"):
            return (x < y, y < z)[: ARITY[opcode]]
        if opcode in ("shl", "shr", "sar"):
            return i, j & largest_shift
        if opcode in ("to_float", "from_bits") or opcode.startswith("i"):
            return (i, j)[: ARITY[opcode]]
        return (x < y, y, z) if opcode in ("select", "rare") else (x, y, z)[: ARITY[opcode]]

    def body(b: Block, x: Value, y: Value, z: Value) -> Value:
        value = b.emit(opcode, *arguments(x, y, z, b.emit("bits", x), b.emit("bits", y)))
        if value.type == "b":
            return b.select(value, 1, 0)
        return b.emit("from_bits", value) if value.type[0] == "i" else value

    x, y, z = operands(kind)
    i, j = x.view(f"i{x.itemsize}"), y.view(f"i{y.itemsize}")
    with np.errstate(all="ignore"):
        expected = OPCODES[opcode](*arguments(x, y, z, i, j))
    (got,) = run(flat(kind, body, "xyz"), *map(torch.from_numpy, (x, y, z)), channels=x.size)
    same(got, expected.view(x.dtype) if expected.dtype.kind == "i" else expected.astype(x.dtype))


def test_widen_and_narrow() -> None:
    x, y, z = operands("f32")
    xyz = [torch.from_numpy(a) for a in (x, y, z)]

    def bits(b: Block, v: Value) -> Value:
        return b.emit("bits", v)

    def wide(b: Block, v: Value) -> Value:
        return b.emit("widen", v)

    (got,) = run(flat("f32", lambda b, x, y, z: b.emit("narrow", wide(b, x) * wide(b, y) * 0.1), "xyz"), *xyz, channels=x.size)
    with np.errstate(all="ignore"):
        same(got, (x.astype(np.float64) * y.astype(np.float64) * 0.1).astype(np.float32))
    kernel = flat("f32", lambda b, x, y, z: b.emit("from_bits", b.emit("narrow", wide(b, bits(b, x)) >> 3)), "xyz")
    (got,) = run(kernel, *xyz, channels=x.size)
    same(got, (x.view(np.uint32).astype(np.int64) >> 3).astype(np.int32).view(np.float32))


def same(got: torch.Tensor, expected: Any) -> None:
    """Bit for bit, but for NaNs, which are all alike."""
    np.testing.assert_array_equal(np.isnan(got.numpy()), np.isnan(expected))
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(got.numpy()[number].view(f"i{expected.itemsize}"), expected[number].view(f"i{expected.itemsize}"))


def test_constants_keep_their_bits() -> None:
    for kind in ("f32", "f64"):
        values = (0.1, -0.0, 0.0, float("inf"), float("-inf"), float("nan"), 1e-45, 1e300 if kind == "f64" else 3e38)
        kernel = flat(kind, lambda b, x, v=values: tuple(b.constant(c) for c in v))
        for got, value in zip(run(kernel, torch.zeros(3, dtype=DTYPES[kind]), channels=3), values, strict=True):
            same(got, np.full(3, value, FLOAT[kind]))


def test_interpreted_fma_rounds_once() -> None:
    """Through float64 alone this would round twice: the sum is a hair above the middle of two float32 numbers."""
    x, y, z = (np.array([v], np.float32) for v in (1 + 2**-12, 1 + 2**-12, 2**-60))
    assert _fma32(x, y, z) == np.float32(1 + 2**-11 + 2**-23)
    assert _fma32(x, y, -z) == np.float32(1 + 2**-11)


@pytest.mark.parametrize(
    "name", ["exp", "log", "sin", "tan", "atan", "sinh", "asinh", "expm1", "log1p", "erf", "erfc", "cbrt", "pow", "atan2"]
)
def test_library_calls(name: str) -> None:
    x = torch.linspace(0.1, 3, 50, dtype=torch.float64)
    operands = ("x", "y") if name in ("pow", "atan2") else ("x",)
    kernel = flat("f64", lambda b, *values: b.call(name, *values), "".join(operands))
    (got,) = run(kernel, *[x] * len(operands), channels=50)
    reference = np.cbrt(x.numpy()) if name == "cbrt" else getattr(torch, name)(*[x] * len(operands)).numpy()
    np.testing.assert_allclose(got.numpy(), reference, rtol=1e-15)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 1024, 5003])
@pytest.mark.parametrize("storage", STORAGES)
def test_flat(storage: Storage, size: int) -> None:
    x = torch.linspace(-4, 4, size).to(DTYPES[storage])
    (y,) = run(flat(storage, softsign_and_polynomial, "xs"), x, 1.7, channels=size)
    t = x.double() / (x.double().abs() + 1)
    expected = ((0.3 * t - 0.7) * t + 0.2) * 1.7
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    torch.testing.assert_close(y, expected.to(x.dtype), rtol=0, atol={"f32": 3e-7, "f64": 1e-15, "bf16": 4e-3, "f16": 5e-4}[storage])


def test_bfloat16_rounds_to_nearest_even() -> None:
    x = torch.arange(0x3F80, 0x4080, dtype=torch.int16).view(torch.bfloat16)
    (y,) = run(flat("bf16", lambda b, x: x * (1 + 2**-8)), x, channels=256)
    assert torch.equal(y, (x.float() * (1 + 2**-8)).bfloat16())


def test_scalars_may_be_tensors_and_outputs_scalar() -> None:
    kernel = flat("f32", lambda b, x, s, t: (s * t, s + x), "xst")
    x = torch.arange(6.0).reshape(2, 3)
    product, total = run(kernel, x, torch.tensor(3.0, dtype=torch.float64), 0.5, rows=2, channels=3)
    assert torch.equal(product, torch.full((2, 3), 1.5))
    assert torch.equal(total, x + 3)


def structured(storage: Storage, spans: tuple[Span, ...]) -> Kernel:
    """All kinds of inputs, shifts either way, and sums over `spans`."""
    b = Block(COMPUTE[storage])
    items = (
        Input("x", Span.ELEMENT, "x"), Input("g", Span.ELEMENT, "g"), Input("slope", Span.CHANNEL, "slope"),
        Input("mean", Span.ROW, "mean"), Input("back", Span.ELEMENT, "x", 1), Input("ahead", Span.ELEMENT, "x", -7),
        Input("scale", Span.SCALAR, "scale"),
    )  # fmt: skip
    x, g, slope, mean, back, ahead, scale = (b.input(i.name, i.span) for i in items)
    y = b.select(x > 0, x, slope * x) - mean * scale + back * ahead
    sums = {Span.ROW: slope * scale, Span.CHANNEL: g * b.select(x > 0, 0, x), Span.SCALAR: g * mean}
    outputs = (Output("y", Span.ELEMENT, y.index), *(Output(s.name, s, sums[s].index) for s in spans))
    return Kernel("structured", storage, b, items, outputs)


@pytest.mark.parametrize("spans", [(), (Span.ROW, Span.SCALAR), (Span.SCALAR, Span.CHANNEL, Span.ROW)])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("rows", "channels"), [(37, 300), (300, 1), (1, 5), (0, 4), (4, 0)])
def test_structured(storage: Storage, spans: tuple[Span, ...], rows: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_launch, "PROGRAMS", 5)  # so that small tensors, too, give a program several tiles
    rng = torch.Generator().manual_seed(3)
    compute = torch.float64 if storage == "f64" else torch.float32
    x, g = (torch.randn(rows, channels, generator=rng).to(DTYPES[storage]) for _ in "xg")
    slope, mean = torch.randn(channels, generator=rng, dtype=compute), torch.randn(rows, generator=rng, dtype=compute)
    y, *sums = run(structured(storage, spans), x, g, slope, mean, x, x, 0.7, rows=rows, channels=channels)
    wide, column = x.double(), mean.double()[:, None]
    expected = torch.where(wide > 0, wide, slope * wide) - column * 0.7 + torch.roll(wide, 1, -1) * torch.roll(wide, -7, -1)
    tolerance = {"f32": 3e-6, "f64": 1e-14, "bf16": 0.07, "f16": 8e-3}[storage]
    torch.testing.assert_close(y, expected.to(y.dtype), rtol=0, atol=tolerance)
    terms = {Span.ROW: slope * 0.7 + 0 * wide, Span.CHANNEL: g.double() * wide.clamp(max=0), Span.SCALAR: g.double() * column}
    axes = {Span.ROW: (1,), Span.CHANNEL: (0,), Span.SCALAR: (0, 1)}
    for span, total in zip(spans, sums, strict=True):
        torch.testing.assert_close(total, terms[span].sum(axes[span]), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("size", [0, 3, 4096, 5003])
def test_flat_sum(size: int) -> None:
    b = Block("f32")
    x = b.input("x", Span.ELEMENT)
    outputs = (Output("sum", Span.SCALAR, (x * x).index), Output("count", Span.SCALAR, b.constant(1.0).index))
    kernel = Kernel("sum", "f32", b, (Input("x", Span.ELEMENT, "x"),), outputs)
    data = torch.linspace(-1, 1, size)
    total, count = run(kernel, data, channels=size)
    assert count.item() == size
    torch.testing.assert_close(total, (data * data).double().sum(), rtol=1e-14, atol=0)


def test_wrong_inputs_are_refused() -> None:
    kernel = GpuKernel(flat("f32", lambda b, x: x + 1.0), interpret=True)
    x = torch.zeros(4, 6)
    for bad in ([x, x], [x.double()], [x.t()], [x[0]], [2.0]):
        with pytest.raises(ValueError, match="input"):
            kernel(bad, 4, 6)
    with pytest.raises(ValueError, match="GPU"):
        GpuKernel(kernel.kernel)([x], 4, 6)


def test_source_is_deterministic_and_a_damaged_file_is_written_again() -> None:
    kernel = structured("bf16", (Span.CHANNEL,))
    source = print_kernel(kernel)
    assert source == print_kernel(structured("bf16", (Span.CHANNEL,)))
    path = Path(str(load(source).__file__))
    path.write_text("raise SystemExit")
    load(source)
    assert path.read_text() == source
    assert not list(path.parent.glob("*.tmp"))


def arithmetic(b: Block, x: Value, y: Value) -> Value:
    scaled = b.emit("from_bits", (b.emit("bits", x) & 0x007FFFFF) | 0x3F800000)
    return b.emit("sqrt", abs(b.horner(scaled, (0.1, -0.2, 0.3, -0.4)))) * y


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("storage", ["f32", "bf16", "f16"])
def test_machine_code_of_pointwise_kernels(storage: Storage, target: str) -> None:
    for kernel in (flat(storage, softsign_and_polynomial, "x" + "s"), flat(storage, arithmetic, "xy")):
        report = static_report(kernel, target)
        assert_lean(report)
        assert report.store_bits == (128,)
        assert set(report.load_bits) - {32} == {128}, "all but the scalars in 128 bits"
        assert report.registers <= 64
        assert report.instructions_per_element < 80


@pytest.mark.parametrize("target", TARGETS)
def test_machine_code_of_structured_kernels(target: str) -> None:
    for storage in ("f32", "bf16"):
        report = static_report(structured(storage, (Span.SCALAR, Span.CHANNEL, Span.ROW)), target)
        assert_lean(report)
        assert max(report.load_bits) == max(report.store_bits) == 128
    assert_lean(static_report(flat("f64", lambda b, x: b.call("exp", x)), target))


def assert_lean(report: Report) -> None:
    assert (report.spills, report.local_bytes) == (0, 0)


@pytest.mark.parametrize("target", [t for t in TARGETS if t.startswith("sm")])
def test_rounding_of_the_machine_code(target: str) -> None:
    """IEEE division and square root, no contraction of x*y + 1, and no flushing of subnormals."""
    kernel = flat("f32", lambda b, x, y: (x / y, b.emit("sqrt", x), b.emit("floor", x), x * y + 1.0), "xy")
    report = static_report(kernel, target)
    assert {"div.rn.f32", "sqrt.rn.f32", "mul.rn.f32", "add.rn.f32"} <= set(report.asm["ptx"].split())
    assert ".ftz" not in report.asm["ptx"]
    assert "fma" not in report.asm["ptx"]


def test_tiles() -> None:
    assert (choose_tile(flat("bf16", softsign_and_polynomial, "xs"), 64).channels) == 2048
    narrow = choose_tile(structured("f32", ()), 32, channels=3)
    assert (narrow.rows, narrow.channels) == (256, 4)
