"""Machine code lives as long as somebody may call it, and no longer: whatever a process does one after another, it does not grow."""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lab_tasks import made

import gp
from bench.memory import SETTLED, Usage, activate, marks_up_to, score, use
from gp.lab.trainer import Trainer
from gp.lab.training import Training
from kernels import compiled as compiled_module
from kernels import llvm_compiler, llvm_launch, native, population, tensors, triton_compiler
from kernels.compiled import compiled
from kernels.llvm_compiler import compile_ir, load_object
from kernels.programs import SLOPE, make_plan, program
from kernels.recent import Recent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

TEXTS = [f"x*tanh({name}(x))" for name in ("abs", "floor", "atan", "sign")]
POINTWISE = "x*sigmoid(1.5*x) + 0.1*sin(x)"
STRUCTURED = "param slope = 0.25\nslope*x*sigmoid(x) - mean(x, over=features)"
Keep = Callable[[int], None]


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch) -> Keep:
    """Sets how many functions are remembered, and forgets those that are."""

    def set_(most: int) -> None:
        monkeypatch.setattr(native, "_memory", Recent(most))
        monkeypatch.setattr(compiled_module, "_memory", Recent(most))
        monkeypatch.setattr(tensors, "_prepared", functools.lru_cache(maxsize=most)(tensors._prepared.__wrapped__))
        gc.collect()

    return set_


def evict() -> None:
    """Use other functions, with a gradient each."""
    for text in TEXTS:
        activate(text)


def is_mapped(address: int) -> bool:
    """Whether there is anything at an address."""
    spans = (line.split(maxsplit=1)[0].split("-") for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines())
    return any(int(begin, 16) <= address < int(end, 16) for begin, end in spans)


@pytest.mark.parametrize(("run", "most"), [(activate, 8), (score, 8), (activate, 10**6)])
def test_a_process_that_uses_many_structures(run: Callable[[str], object], most: int, keep: Keep) -> None:
    """Negative control: with room for all of them, each takes two maps or more."""
    keep(most)
    found: list[Usage] = []
    use(run, [12, 36], lambda _, usage: found.append(usage))
    maps = found[1].maps - found[0].maps
    assert maps <= 12 if most == 8 else maps >= 48


def test_what_counts_as_growth() -> None:
    before = Usage(300_000_000, 1000, 6)
    assert not Usage(302_000_000, 1010, 6).grew(before)
    assert all(usage.grew(before) for usage in (Usage(330_000_000, 1000, 6), Usage(300_000_000, 1200, 6), Usage(300_000_000, 1000, 7)))
    assert marks_up_to(20_000) == [1000, SETTLED, 4000, 8000, 16_000, 20_000]


@pytest.mark.parametrize("together", [32, 10**9])
def test_an_unloaded_library_leaves_nothing(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: one linker for all of them keeps some 10 kB of each."""
    monkeypatch.setattr(llvm_compiler, "_LIBRARIES", together)
    monkeypatch.setattr(llvm_compiler, "_loader", functools.cache(llvm_compiler._Loader))
    payload = compile_ir("define i64 @one() {\n  ret i64 1\n}\n", ["one"])
    load_object(payload, "one")
    before, count = allocated(), 320
    for _ in range(count):
        load_object(payload, "one")
    each = (allocated() - before) / count
    assert each < 1000 if together == 32 else each > 3000


def allocated() -> int:
    """Bytes that this process has from malloc."""

    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"

    class Info(ctypes.Structure):
        _fields_ = tuple((name, ctypes.c_size_t) for name in names.split())

    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Info
    return int(mallinfo().uordblks)


@pytest.mark.parametrize("text", [POINTWISE, STRUCTURED], ids=["pointwise", "structured"])
def test_code_goes_with_the_last_who_holds_it(text: str, keep: Keep) -> None:
    keep(1)
    held = compiled(program(text), 0, "f32", "llvm")
    addresses = [stage.launch._code.address for stage in held.stages]  # type: ignore[attr-defined]
    x = torch.linspace(-3, 3, 40)
    inputs = {"x": x, "slope": torch.tensor(0.25)}
    first = held.run(inputs, program(text).constants, 4, 10)[0]
    evict()
    assert all(map(is_mapped, addresses))
    torch.testing.assert_close(held.run(inputs, program(text).constants, 4, 10)[0], first, rtol=0, atol=0)
    del held
    gc.collect()
    assert not any(map(is_mapped, addresses))


@pytest.mark.parametrize("text", [POINTWISE, STRUCTURED], ids=["pointwise", "structured"])
def test_a_module_whose_functions_were_forgotten(text: str, keep: Keep) -> None:
    """Before the call, before the gradient, and before the gradient of that."""
    act, plain = gp.activation(text), gp.activation(text, backend="eager")
    x = torch.linspace(-3, 3, 40).reshape(4, 10).requires_grad_()
    keep(1)
    act(x)
    evict()
    y = act(x)
    evict()
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    evict()
    (second,) = torch.autograd.grad(slope.square().sum(), x)
    expected = plain(x)
    (expected_slope,) = torch.autograd.grad(expected.sum(), x, create_graph=True)
    (expected_second,) = torch.autograd.grad(expected_slope.square().sum(), x)
    for found, wanted in ((y, expected), (slope, expected_slope), (second, expected_second)):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [400, 200_000], ids=["one thread", "a team"])
@pytest.mark.parametrize("team", [True, False], ids=["OpenMP", "threads of our own"])
def test_threads_that_call_while_others_forget(size: int, team: bool, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    """One function is remembered, and each thread uses one after another, so that all are unloaded all the time."""
    if not team:
        monkeypatch.setattr(llvm_launch, "_openmp", lambda: None)
    x = torch.linspace(-3, 3, size)
    modules = [gp.activation(text) for text in TEXTS]
    expected = [module(x) for module in modules]
    keep(1)
    wrong: list[str] = []

    def call(first: int) -> None:
        for k in range(16):
            n = (first + k) % len(modules)
            if not torch.equal(modules[n](x), expected[n]):
                wrong.append(TEXTS[n])

    threads = [threading.Thread(target=call, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(native._memory) == 1


@pytest.mark.parametrize("text", [POINTWISE, STRUCTURED], ids=["pointwise", "structured"])
def test_a_trainer_holds_what_it_calls(text: str, keep: Keep) -> None:
    """It has addresses alone in its instructions."""
    keep(1)
    trainer = Trainer(program(text), made(), Training(3, 1e-2))
    forward = trainer._assembler.forward.stages[0].code.address
    first = trainer.train()
    evict()
    second = trainer.train()
    np.testing.assert_array_equal(second.outside, first.outside)
    assert is_mapped(forward)
    del trainer
    evict()
    assert not is_mapped(forward)


@pytest.mark.parametrize("forgets", [True, False])
def test_a_kernel_for_a_gpu_goes_with_its_holder(forgets: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: Triton has a table of all that it has seen."""
    if not forgets:
        monkeypatch.setattr(triton_compiler, "_forget", lambda *_: None)
    functions = [program(f"x*tanh({2 + forgets}*x + sin(x)*exp(x))")]
    made_ = population.Direction(functions, SLOPE, interpret=False)
    kernel = weakref.ref(made_.kernels[0]._group.function)
    del made_
    gc.collect()
    assert (kernel() is None) == forgets


def test_what_was_used_last_is_remembered() -> None:
    recent: Recent[str, int] = Recent(2)
    assert [recent.put(key, n) for n, key in enumerate("ab")] == [0, 1]
    assert recent.get("a") == 0
    recent.put("c", 2)
    assert [recent.get(key) for key in "abc"] == [0, None, 2]
    recent.put("a", 3)
    assert (recent.get("a"), len(recent)) == (3, 2)


def test_all_stages_are_held(keep: Keep) -> None:
    """Of a function with statistics there is code for each stage."""
    keep(1)
    function = program("x/(1e-3 + rms(x, over=features))")
    held = native.native(function, 0, "f32")
    assert len(held.stages) == len(make_plan(function, 0, "f32").stages) > 1
    evict()
    assert all(is_mapped(stage.code.address) for stage in held.stages)
