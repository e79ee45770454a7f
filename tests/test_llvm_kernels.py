"""CPU kernels from hand-made blocks: what is computed, at every length, storage type, span of sums and number of threads."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codegen.instructions import Block, Span, Value
from codegen.kernel import COMPUTE, Input, Kernel, Output, Storage
from codegen.llvm import print_kernel
from kernels import llvm_compiler, llvm_launch
from kernels.cache import DiskCache
from kernels.dtypes import DTYPES
from kernels.host import Host, host
from kernels.llvm_compiler import assembly, compile_ir, load_ir, load_object
from kernels.llvm_launch import load_kernel

STORAGES: tuple[Storage, ...] = ("f32", "f64", "bf16", "f16")
LENGTHS = (0, 1, host().lanes - 1, host().lanes, host().lanes + 1, 16384 + 3, 100003)
TARGETS = {
    "sse2": Host("x86_64-unknown-linux-gnu", "x86-64", ""),
    "avx2": Host("x86_64-unknown-linux-gnu", "haswell", "+avx,+avx2,+fma,+f16c"),
    "avx512": Host("x86_64-unknown-linux-gnu", "skylake-avx512", "+avx512f,+avx512dq,+f16c"),
    "neon": Host("aarch64-unknown-linux-gnu", "generic", "+neon"),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llvm_launch, "default_cache", lambda: DiskCache(tmp_path))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def element_kernel(body: Callable[[Block, Value], Value], storage: Storage = "f32", *sums: Span) -> Kernel:
    """y = body(x), and sums of y."""
    block = Block(COMPUTE[storage])
    index = body(block, block.input("x", Span.ELEMENT)).index
    outputs = (Output("y", Span.ELEMENT, index), *(Output(f"sum{s}", s, index) for s in sums))
    return Kernel("test", storage, block, (Input("x", Span.ELEMENT, "x"),), outputs)


def square_plus_one(block: Block, x: Value) -> Value:
    return x * x + 1.0


def spans_kernel(storage: Storage = "f32", *sums: Span) -> Kernel:
    """y = (scale*x + slope[channel]) * row[row] + scale2, where scale2 = scale*scale, and sums of y."""
    block = Block(COMPUTE[storage])
    x, scale = block.input("x", Span.ELEMENT), block.input("scale", Span.SCALAR)
    slope, row = block.input("slope", Span.CHANNEL), block.input("row", Span.ROW)
    y = (scale * x + abs(slope)) * (row + 1.0) + scale * scale
    inputs = (
        Input("row", Span.ROW, "row"),
        Input("unused", Span.SCALAR, "unused"),
        Input("x", Span.ELEMENT, "x"),
        Input("scale", Span.SCALAR, "scale"),
        Input("unread", Span.ELEMENT, "unread"),
        Input("slope", Span.CHANNEL, "slope"),
    )
    outputs = (Output("y", Span.ELEMENT, y.index), *(Output(f"sum{s}", s, y.index) for s in sums))
    return Kernel("spans", storage, block, inputs, outputs)


def sample(shape: tuple[int, ...], storage: Storage = "f32", seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(DTYPES[storage])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_and_storages(length: int, storage: Storage) -> None:
    """Each result is that of the compute type, rounded once; nothing is contracted, so bits agree."""
    x = sample((length,), storage)
    y, total = load_kernel(element_kernel(square_plus_one, storage, Span.SCALAR))([x], 1, length)
    wide = x if storage == "f64" else x.float()
    expected = wide * wide + 1.0
    assert torch.equal(y, expected.to(DTYPES[storage]))
    assert y.dtype == x.dtype
    assert (total.shape, total.dtype) == ((), torch.float64)
    assert total.item() == pytest.approx(expected.double().sum().item(), rel=1e-14)


@pytest.mark.parametrize("storage", ["bf16", "f16"])
def test_every_16_bit_number_survives(storage: Storage) -> None:
    x = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16).view(DTYPES[storage])
    y = load_kernel(element_kernel(lambda block, v: v * 1.0, storage))([x], 1, x.numel())[0]
    same = (y.view(torch.int16) == x.view(torch.int16)) | (x.isnan() & y.isnan())
    assert bool(same.all())


@pytest.mark.parametrize("storage", ["bf16", "f16"])
def test_rounding_of_16_bit_stores(storage: Storage) -> None:
    """The sum of two 16-bit numbers falls between 16-bit numbers, on ties as well, and overflows at the end."""
    x = sample((100_000,), storage) * torch.logspace(-40, 38, 100_000, 2).to(DTYPES[storage])
    x[:4] = torch.tensor([torch.inf, -torch.inf, torch.nan, -0.0])
    y = load_kernel(element_kernel(lambda block, v: v * 1.00390625 + v, storage))([x], 1, x.numel())[0]
    wide = x.float()
    torch.testing.assert_close(y, (wide * 1.00390625 + wide).to(x.dtype), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("channels", [1, 3, 10, 33, 64, 300, 5000])
@pytest.mark.parametrize("rows", [1, 7, 40])
@pytest.mark.parametrize("storage", ["f32", "f64", "bf16"])
def test_spans_and_sums(rows: int, channels: int, storage: Storage) -> None:
    kernel = load_kernel(spans_kernel(storage, Span.SCALAR, Span.ROW, Span.CHANNEL))
    compute = DTYPES["f64" if storage == "f64" else "f32"]
    x, slope, row = sample((rows, channels), storage), sample((channels,)).to(compute), sample((rows,), seed=1).to(compute)
    y, total, by_row, by_channel = kernel([row, 5.0, x, torch.tensor(0.375), x, slope], rows, channels)
    expected = (0.375 * x.to(compute) + slope.abs()) * (row + 1.0)[:, None] + 0.140625
    assert torch.equal(y, expected.to(x.dtype))
    wide = expected.double()
    for found, true in ((total, wide.sum()), (by_row, wide.sum(1)), (by_channel, wide.sum(0))):
        torch.testing.assert_close(found, true, rtol=1e-13, atol=1e-9)


@pytest.mark.parametrize("channels", [1, 3, 10, 33, 255, 256, 5000])
@pytest.mark.parametrize("rows", [1, 5, 3000])
def test_joined_rows(rows: int, channels: int) -> None:
    """Without ROW inputs or outputs, short rows are run as one."""
    block = Block("f32")
    y = block.input("x", Span.ELEMENT) * block.input("slope", Span.CHANNEL)
    inputs = (Input("x", Span.ELEMENT, "x"), Input("slope", Span.CHANNEL, "slope"))
    outputs = (Output("y", Span.ELEMENT, y.index), Output("s", Span.CHANNEL, y.index), Output("t", Span.SCALAR, y.index))
    kernel = load_kernel(Kernel("joined", "f32", block, inputs, outputs))
    rows = min(rows, 2_000_000 // channels)
    x, slope = sample((rows, channels)), sample((channels,), seed=1)
    y_, by_channel, total = kernel([x, slope], rows, channels)
    assert torch.equal(y_, x * slope)
    torch.testing.assert_close(by_channel, (x * slope).double().sum(0), rtol=1e-13, atol=1e-9)
    torch.testing.assert_close(total, (x * slope).double().sum(), rtol=1e-13, atol=1e-9)


@pytest.mark.parametrize(("rows", "channels"), [(0, 5), (5, 0), (0, 0)])
def test_empty(rows: int, channels: int) -> None:
    kernel = load_kernel(spans_kernel("f32", Span.SCALAR, Span.ROW, Span.CHANNEL))
    x = torch.empty(rows, channels)
    y, total, by_row, by_channel = kernel([torch.ones(rows), 0.0, x, 1.0, x, torch.ones(channels)], rows, channels)
    assert y.shape == x.shape
    assert total.item() == 0
    assert torch.equal(by_row, torch.zeros(rows, dtype=torch.float64))
    assert torch.equal(by_channel, torch.zeros(channels, dtype=torch.float64))


def test_shift_is_roll() -> None:
    block = Block("f32")
    difference = block.input("left", Span.ELEMENT) - block.input("x", Span.ELEMENT)
    inputs = (Input("x", Span.ELEMENT, "x"), Input("left", Span.ELEMENT, "x", 2))
    kernel = load_kernel(Kernel("shifted", "f32", block, inputs, (Output("y", Span.ELEMENT, difference.index),)))
    x = sample((4, 9, 10))
    assert torch.equal(kernel([x, x], 36, 10)[0], torch.roll(x, 2, -1) - x)


def test_no_element_input_and_output_of_a_constant() -> None:
    block = Block("f32")
    one = block.constant(1.5)
    slope = block.input("slope", Span.CHANNEL)
    outputs = (Output("y", Span.ELEMENT, slope.index), Output("n", Span.SCALAR, one.index))
    kernel = load_kernel(Kernel('odd "name"\\', "f32", block, (Input("slope", Span.CHANNEL, "slope"),), outputs))
    y, total = kernel([torch.arange(5.0)], 7, 5)
    assert torch.equal(y, torch.arange(5.0).expand(7, 5))
    assert total.item() == 1.5 * 35


def test_same_bits_on_any_number_of_threads(threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    flat = load_kernel(element_kernel(square_plus_one, "f32", Span.SCALAR))
    structured = load_kernel(spans_kernel("f32", Span.SCALAR, Span.ROW, Span.CHANNEL))
    x = sample((1001, 333))
    arguments: list[torch.Tensor | float] = [sample((1001,), seed=1), 0.0, x, 0.3, x, sample((333,), seed=2)]

    def results() -> list[torch.Tensor]:
        return [*flat([x], 1, x.numel()), *structured(arguments, 1001, 333)]

    threads(1)
    alone = results()
    threads(2)
    assert all(map(torch.equal, alone, results()))
    monkeypatch.setattr(llvm_launch, "_openmp", lambda: None)  # Python's threads
    assert all(map(torch.equal, alone, results()))


FLOAT_BODIES: dict[str, tuple[Callable[[Block, Value], Value], Callable[[torch.Tensor], torch.Tensor]]] = {
    "sub, div": (lambda b, x: (1.0 - x) / (x - 3.0), lambda x: (1.0 - x) / (x - 3.0)),
    "neg": (lambda b, x: -x, lambda x: -x),
    # torch.sqrt may go to MKL, which does not round correctly
    "sqrt, abs": (lambda b, x: b.emit("sqrt", abs(x)), lambda x: torch.from_numpy(np.sqrt(np.abs(x.numpy())))),
    "floor": (lambda b, x: b.emit("floor", x * 7.0), lambda x: (x * 7.0).floor()),
    "fma": (lambda b, x: b.fma(x, x, -1.0), lambda x: (x.double() * x.double() - 1.0).to(x.dtype)),
    "select, and, not": (
        lambda b, x: b.select((x > 0.0) & ~(x >= 1.0), x, 0.25),
        lambda x: torch.where((x > 0) & ~(x >= 1), x, 0.25),
    ),
    "or, lt, le, eq": (
        lambda b, x: b.select((x < -1.0) | (x <= -2.0) | b.emit("eq", x, 0.0), 1.0, x),
        lambda x: torch.where((x < -1) | (x == 0), 1.0, x),
    ),
    "ne is true for NaN": (lambda b, x: b.select(b.emit("ne", x, x), 7.0, x), lambda x: torch.where(x.isnan(), 7.0, x)),
    "select of booleans": (
        lambda b, x: b.select(b.select(x > 0.0, x > 1.0, x < -1.0), 1.0, 0.0),
        lambda x: (x.abs() > 1.0).to(x.dtype),
    ),
    "constants": (
        lambda b, x: b.select(x > 0.0, b.constant(float("inf")), b.constant(-0.0)),
        lambda x: torch.where(x > 0, torch.inf, -0.0).to(x.dtype),
    ),
}


@pytest.mark.parametrize("storage", ["f32", "f64"])
@pytest.mark.parametrize("name", FLOAT_BODIES)
def test_float_instructions(name: str, storage: Storage) -> None:
    body, reference = FLOAT_BODIES[name]
    x = sample((1000,), storage)
    x[:6] = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1.0])
    if name == "fma" and storage == "f64":
        x = x.float().double()  # exact products
    y = load_kernel(element_kernel(body, storage))([x], 1, 1000)[0]
    torch.testing.assert_close(y, reference(x), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(torch.signbit(y[:4]), torch.signbit(reference(x)[:4]))


def _mix(block: Block, x: Value) -> Value:
    """Every integer instruction once, on the bits of x."""
    n = block.emit("bits", x)
    n = (n + 12345) * 3 - (n & 0xFFFF)
    n = (n ^ 0x5A5A5A) | 5
    n = block.emit("ixor", n << 3, n >> 5)
    n = block.emit("iadd", n, block.emit("sar", n, 7))
    n = block.select(n < 0, block.emit("isub", 17, n), n)
    n = block.select(block.emit("ieq", n & 7, 3), n + 100, n)
    return block.emit("to_float", n)


@pytest.mark.parametrize("storage", ["f32", "f64"])
def test_integer_instructions(storage: Storage) -> None:
    x = sample((1000,), storage)
    signed, unsigned = (np.int32, np.uint32) if storage == "f32" else (np.int64, np.uint64)
    with np.errstate(over="ignore"):
        n: Any = x.numpy().view(signed)
        n = (n + signed(12345)) * signed(3) - (n & signed(0xFFFF))
        n = (n ^ signed(0x5A5A5A)) | signed(5)
        n = (n << signed(3)) ^ (n.view(unsigned) >> unsigned(5)).view(signed)
        n = n + (n >> signed(7))
        n = np.where(n < 0, signed(17) - n, n)
        n = np.where((n & signed(7)) == 3, n + signed(100), n)
    y = load_kernel(element_kernel(_mix, storage))([x], 1, 1000)[0]
    assert np.array_equal(y.numpy(), n.astype(x.numpy().dtype))


def test_widths() -> None:
    """float32 -> float64 -> float32, bits -> int64 -> int32, and back."""

    def body(block: Block, x: Value) -> Value:
        product = block.emit("narrow", block.emit("widen", x) * block.emit("widen", x + 1.0))
        wide = block.emit("widen", block.emit("bits", product))
        return block.emit("from_bits", block.emit("narrow", (wide << 9) >> 9))

    x = sample((1000,))
    y = load_kernel(element_kernel(body))([x], 1, 1000)[0]
    assert torch.equal(y, (x.double() * (x + 1.0).double()).float())


def test_calls_of_the_mathematics_library() -> None:
    def body(block: Block, x: Value) -> Value:
        return block.call("pow", block.call("exp", x), x * 0.5)

    x = sample((1003,), "f64")
    y, total = load_kernel(element_kernel(body, "f64", Span.SCALAR))([x], 1, 1003)
    torch.testing.assert_close(y, x.exp() ** (0.5 * x), rtol=1e-14, atol=0)
    assert total.item() == pytest.approx(y.sum().item(), rel=1e-14)


def test_wrong_tensors_are_refused() -> None:
    kernel = load_kernel(element_kernel(square_plus_one))
    x = torch.ones(4, 6)
    wrongs: list[torch.Tensor | float] = [x[:, :3], x.double(), x.t(), 1.0]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="'x' must be a contiguous"):
            kernel([wrong], 4, 6)


def test_float16_by_way_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    old = Host(host().triple, host().cpu, "+avx")
    assert TARGETS["sse2"].storage("f16") == "f32"
    assert TARGETS["neon"].storage("f16") == "f16"
    monkeypatch.setattr(llvm_launch, "host", lambda: Host("x86_64-unknown-linux-gnu", old.cpu, "+avx"))
    kernel = load_kernel(element_kernel(square_plus_one, "f16"))
    x = sample((1000,), "f16")
    assert torch.equal(kernel([x], 1, 1000)[0], (x.float() * x.float() + 1.0).half())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("storage", STORAGES)
def test_every_target_gives_vector_code(target: str, storage: Storage) -> None:
    machine = TARGETS[target]
    kernel = spans_kernel(machine.storage(storage), Span.SCALAR, Span.ROW, Span.CHANNEL)
    text = assembly(print_kernel(kernel, machine.lanes, machine.triple), machine)
    register = {"sse2": "%xmm", "avx2": "%ymm", "avx512": "%zmm", "neon": "v0."}[target]
    assert register in text


def test_dead_instructions_are_not_printed() -> None:
    block = Block("f32")
    x = block.input("x", Span.ELEMENT)
    block.emit("sqrt", x)
    kernel = Kernel("dead", "f32", block, (Input("x", Span.ELEMENT, "x"),), (Output("y", Span.ELEMENT, (x + 1.0).index),))
    assert "sqrt" not in print_kernel(kernel, 8, host().triple)


def test_invariant_work_is_outside_of_the_loops() -> None:
    text = print_kernel(spans_kernel(), 8, host().triple)
    entry, rest = text.split("row.begin:")
    row, rest = rest.split("pass.begin:")
    loop = rest.split("loop:")[1].split("pass.end:")[0]
    assert [part.count("fmul <8 x float>") for part in (entry, row, loop)] == [1, 0, 2]
    assert [part.count("fadd <8 x float>") for part in (entry, row, loop)] == [0, 1, 2]


def test_compiler_errors_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError):
        compile_ir("this is no text of LLVM", [])
    ir = print_kernel(element_kernel(square_plus_one), 4, host().triple)
    with pytest.raises(ValueError, match="missing"):
        compile_ir(ir, ["missing"])
    cache = DiskCache(tmp_path)
    load_ir(ir, "test", cache)
    monkeypatch.setattr(llvm_compiler, "compile_ir", None)  # from here on it must come from the cache
    assert load_ir(ir, "test", cache).address != 0
    assert (cache.hits, cache.misses) == (1, 1)


def test_one_object_may_hold_several_functions() -> None:
    ir = "define i64 @one() {\n  ret i64 1\n}\ndefine i64 @two() {\n  ret i64 2\n}\n"
    payload = compile_ir(ir, ["one", "two"])
    found = [load_object(payload, name) for name in ("one", "two")]
    assert [ctypes.CFUNCTYPE(ctypes.c_int64)(code.address)() for code in found] == [1, 2]
