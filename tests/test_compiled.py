"""How a compiled function changes while it is used: tiers of code, results past the cache, what is found on disk."""

import numpy as np
import pytest
import torch

import kernels.compiled as compiled_module
import kernels.native as native_module
from codegen.instructions import Span
from kernels import llvm_launch
from kernels.cache import DiskCache
from kernels.compiled import CompiledFunction, compiled
from kernels.llvm_compiler import FAST, THOROUGH
from kernels.native import counters, known, native
from kernels.programs import BOTH, SLOPE, make_plan, program
from kernels.recent import Recent

POINTWISE = ["gelusine(x)", "x*tanh(exp(x))", "x + sin(2.5*x)", "sqrt(x*x + 1.7)/(1 + abs(x))"]
OTHERS = [
    "turbulent(x)",
    "param slope[channel] = 0.25\nwhere(x > 0, x, slope*x)",
    "param b = 1.5\nx*sigmoid(b*x) + shift(x, 1)",
    "x/(1e-3 + rms(x, over=features))",
]
ROWS, CHANNELS = 40, 48


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Nothing in memory, nothing on disk."""
    cache = DiskCache(tmp_path)
    monkeypatch.setattr(native_module, "default_cache", lambda: cache)
    monkeypatch.setattr(native_module, "_memory", Recent())
    monkeypatch.setattr(compiled_module, "_memory", Recent())
    return cache


def inputs(text, order):
    generator = torch.Generator().manual_seed(1)
    x, cotangent = torch.randn(2, ROWS, CHANNELS, generator=generator)
    if text in POINTWISE:  # elsewhere they would spread
        x[0, :4] = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e30])
    parameters = {
        p.name: torch.full((CHANNELS,), p.initial) if p.per_channel else torch.tensor(p.initial) for p in program(text).parameters
    }
    return {"x": x, **parameters, **({"cotangent1.0": cotangent} if order else {})}


def run(kernel: CompiledFunction, text: str, order: int) -> list[torch.Tensor]:
    return kernel.run(inputs(text, order), program(text).constants, ROWS, CHANNELS)


def same_bits(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(torch.nan_to_num(p, 7.0), torch.nan_to_num(q, 7.0)) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("text", [*POINTWISE, *OTHERS])
def test_the_thorough_tier_computes_the_same_bits(fresh, monkeypatch, text, order):
    kernel = compiled(program(text), order, "f32", "llvm")
    quick = run(kernel, text, order)
    assert kernel.improve is not None
    monkeypatch.setattr(compiled_module, "WORTHWHILE", 0)
    before = counters.compiled
    thorough = run(kernel, text, order)
    assert kernel.improve is None
    assert counters.compiled == before + 1
    assert same_bits(quick, thorough)
    assert not same_bits(quick, [q * 1.0000002 for q in thorough])


def test_improves_once_it_has_paid(fresh):
    kernel = compiled(program("gelusine(x)"), 0, "f32", "llvm")
    x = torch.zeros(compiled_module.WORTHWHILE // 2 + 1)
    kernel.run({"x": x}, program("gelusine(x)").constants, 1, x.numel())
    assert kernel.improve is not None
    kernel.run({"x": x}, program("gelusine(x)").constants, 1, x.numel())
    assert kernel.improve is None


@pytest.mark.parametrize("text", POINTWISE)
def test_value_and_gradient_begin_as_one_kernel(fresh, text):
    before = counters.compiled
    forward, backward = (compiled(program(text), order, "f32", "llvm") for order in (0, 1))
    assert counters.compiled == before + 1
    assert len(run(forward, text, 0)) == len(run(backward, text, 1)) == 1


def test_what_is_on_disk_is_not_compiled_again(fresh, monkeypatch):
    function = program("x*tanh(exp(1.25*x))")
    native(function, 1, "f32", THOROUGH)
    monkeypatch.setattr(native_module, "_memory", Recent())
    before = counters.compiled, counters.disk
    found = known(function, 1, "f32", FAST)
    assert found is not None
    assert found.tier == THOROUGH
    assert (counters.compiled, counters.disk) == (before[0], before[1] + 1)
    assert known(function, 0, "f32", FAST) is None


def test_a_lower_tier_on_disk_is_replaced(fresh, monkeypatch):
    function = program("x*tanh(exp(1.5*x))")
    assert native(function, 0, "f32", FAST).tier == FAST
    assert native(function, 0, "f32", THOROUGH).tier == THOROUGH
    monkeypatch.setattr(native_module, "_memory", Recent())
    found = known(function, 0, "f32", THOROUGH)
    assert found is not None


@pytest.mark.parametrize("text", [*POINTWISE, *OTHERS])
@pytest.mark.parametrize("order", [0, 1])
def test_results_past_the_cache_are_the_same_bits(fresh, monkeypatch, text, order):
    kernel = compiled(program(text), order, "f32", "llvm")
    kept = run(kernel, text, order)
    streamed = []
    original = llvm_launch.CpuKernel._streams

    def remembered(self, raw, length):
        streamed.append(original(self, raw, length))
        return streamed[-1]

    monkeypatch.setattr(llvm_launch.CpuKernel, "_streams", remembered)
    monkeypatch.setattr(llvm_launch, "_last_level_cache", lambda: 0)
    assert same_bits(kept, run(kernel, text, order))
    assert any(streamed)


@pytest.mark.parametrize("size", [1 << 20, (1 << 21) + 5])
def test_long_tiles(size):
    x = torch.linspace(-6, 6, size)
    kernel = compiled(program("gelusine(x)"), 0, "f32", "llvm")
    whole = kernel.run({"x": x}, program("gelusine(x)").constants, 1, size)[0]
    for part in (slice(0, 1000), slice(size // 2 - 7, size // 2 + 1000), slice(size - 33, size)):
        piece = kernel.run({"x": x[part].contiguous()}, program("gelusine(x)").constants, 1, x[part].numel())[0]
        assert torch.equal(whole[part], piece)


def test_value_and_slope_against_the_derivative():
    for text in POINTWISE:
        (stage,) = make_plan(program(text), SLOPE, "f32").stages
        assert [o.span for o in stage.kernel.outputs] == [Span.ELEMENT] * 2
        assert [i.source for i in stage.kernel.inputs if i.span is Span.ELEMENT] == ["x"]
        (both,) = make_plan(program(text), BOTH, "f32").stages
        assert {i.source for i in both.kernel.inputs if i.span is Span.ELEMENT} == {"x", "cotangent1.0"}


def test_more_vectors_in_a_loop_only_where_no_order_of_sums_depends_on_it():
    (pointwise,) = make_plan(program("x*sigmoid(x)"), 0, "f32").stages
    assert native_module._unrolled(pointwise.kernel) == 4
    first, _ = make_plan(program("x - mean(x)"), 0, "f32").stages
    assert native_module._unrolled(first.kernel) == 1
    long = "+".join(f"sin({k}.5*x)*exp(x/{k + 1})" for k in range(1, 12))
    (stage,) = make_plan(program(long), 0, "f32").stages
    assert native_module._unrolled(stage.kernel) == 1
    assert np.log2(native_module._MOST_LANES).is_integer()
