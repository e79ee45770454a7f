"""The way of a launch on a GPU, up to the card: how arguments are bound, what is compiled for them, and what is found compiled."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fake_card import TARGET, Card, card
from lab_programs import PROGRAMS
from test_population import Stack

from codegen.kernel import Storage
from kernels import population, triton_launch
from kernels.ahead import Compilers, kernel_job
from kernels.compiled import launch_jobs
from kernels.dtypes import DTYPES
from kernels.group_launch import StageKernel
from kernels.module import Activation
from kernels.programs import make_plan, program
from kernels.recent import Recent
from kernels.triton_launch import GpuKernel

__all__ = ["card"]
SINGLE = [*PROGRAMS.values(), "sign(x)", "mean(x)", "param p[channel] = 0.5; x + p - p", "sin(100*x) + 0.1*exp(x)/(1 + abs(x))"]

# In float64 functions are NVIDIA's, which only a card runs.
PLAIN = [text for text in SINGLE if not any(name in text for name in ("exp", "sin", "tanh", "silu", "gelu", "sigmoid"))]


def gradients(text: str, backend: str, x: torch.Tensor) -> list[torch.Tensor]:
    """The value, and the gradients with respect to x and the parameters."""
    module = Activation(text, backend=backend).to(x.dtype)
    x = x.clone().requires_grad_()
    y = module(x)
    y.backward(torch.arange(1.0, 1 + y.numel()).reshape(y.shape).to(y.dtype))
    return [t for t in (y.detach(), x.grad, *(p.grad for p in module.parameters())) if t is not None]


@pytest.mark.parametrize(
    ("text", "dtype"), [*((text, torch.float32) for text in SINGLE), *((text, torch.float64) for text in PLAIN)], ids=str
)
def test_a_module_gives_what_the_interpreter_gives(text: str, dtype: torch.dtype, card: Card) -> None:
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(2), dtype=dtype)
    found, expected = gradients(text, "triton", x), gradients(text, "interpret", x)
    assert card.launches
    assert len(found) == len(expected)
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_a_wrong_kernel_shows(card: Card) -> None:
    """Negative control."""
    x = torch.randn(9, 6)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(gradients("tanh(x)", "triton", x), gradients("tanh(1.0001*x)", "interpret", x), rtol=0, atol=0)


@pytest.mark.parametrize(("size", "pieces"), [(0, []), (1, [()]), (15, [(15,)]), (16, [(16,)]), (53, [(48,), (5,)]), (4096, [(4096,)])])
def test_the_last_elements_are_a_launch_of_their_own(size: int, pieces: list[tuple[int, ...]], card: Card) -> None:
    """What 16 divides is read and written in 128 bits. A size of 1 is compiled in, and no argument."""
    x = torch.randn(size)
    assert torch.equal(Activation("relu(x)", backend="triton")(x), x.relu())
    assert [numbers for _, numbers in card.launches] == pieces


def cubins(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*.cubin")}


@pytest.mark.parametrize(
    ("text", "storage", "shape"),
    [
        ("x*tanh(1.3*x)", "f32", (64, 32)),
        ("x*tanh(1.3*x)", "bf16", (5, 7)),
        ("param b = 0.5; x*sigmoid(b*x)", "f16", (64, 32)),
        ("x^2 + abs(x)", "f64", (1, 21)),
        (PROGRAMS["everything"], "f32", (16, 32)),
        (PROGRAMS["everything"], "bf16", (5, 6)),
    ],
)
def test_launches_find_what_was_compiled_ahead(
    text: str, storage: Storage, shape: tuple[int, int], card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another process."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    card.launcher_cls = lambda *_: lambda *_: None  # what it computes does not matter, nor is it known for 16 bits
    function = program(text)
    with Compilers(1) as compilers:
        compilers.compile([job for order in (0, 1) for job in launch_jobs(function, order, storage, *shape)])
    ahead = cubins(tmp_path)
    assert ahead
    x = torch.randn(shape).to(DTYPES[storage]).requires_grad_()
    Activation(text, backend="triton")(x).sum().backward()
    assert cubins(tmp_path) == ahead
    Activation(text, backend="triton")(torch.randn(1, 1).to(DTYPES[storage]))
    assert cubins(tmp_path) > ahead, "negative control: a size of 1 is compiled in"


def test_large_tensors_have_every_tile_compiled_ahead(card: Card) -> None:
    kernel = GpuKernel(make_plan(program("x*tanh(1.3*x)"), 0, "f32").stages[-1].kernel)
    assert len(kernel.jobs(1, 1 << 12)) == 1
    assert {job.num_warps for job in kernel.jobs(1, 1 << 20)} == {2, 4, 8}
    assert len(kernel.jobs(1, (1 << 20) + 3)) == 2 * len(kernel.jobs(1, 1 << 20))
    one, other = (kernel_job(kernel.kernel, kernel._static(1), TARGET, 1, n) for n in (1 << 31, 1 << 30))
    assert one != other, "a size of more than 31 bits is another type"


@pytest.mark.parametrize(
    "names", [("pointwise", "kink", "linear"), ("scalar and channel", "shift of a parameter"), ("over tensor", "over batch")]
)
def test_a_population_gives_what_the_interpreter_gives(names: tuple[str, ...], card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [PROGRAMS[name] for name in names]
    expected = Stack(texts).run()
    monkeypatch.setattr(population, "_memory", Recent())
    monkeypatch.setattr(population, "StageKernel", lambda stage, interpret: StageKernel(stage))
    found = Stack(texts).run()
    assert card.launches
    for got, wanted in zip(found, expected, strict=True):
        assert (got is None) == (wanted is None)
        if got is not None and wanted is not None:
            torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)


def test_constants_in_a_captured_graph_are_never_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph reads them at each replay. They must be on the device before it is captured, for nothing can be sent meanwhile."""
    monkeypatch.setattr(triton_launch, "_sent", {})
    monkeypatch.setattr(triton_launch, "_captured", {})

    def pack(k: float, capturing: bool = False) -> torch.Tensor:
        monkeypatch.setattr(triton_launch, "_capturing", lambda _: capturing)
        return triton_launch._pack([k, 0.5], torch.float32, torch.device("cpu"))

    with pytest.raises(RuntimeError, match="call the activation once before"):
        pack(7.0, capturing=True)
    first = pack(7.0)
    assert pack(7.0, capturing=True) is first
    for k in range(1000):
        pack(float(k + 10))
    assert pack(7.0) is first
    assert len(triton_launch._sent) <= triton_launch._MOST_SENT
    assert pack(-0.0).signbit().tolist() == [True, False]
    mixed = triton_launch._pack([torch.tensor(2.0, dtype=torch.float64), 7.0, torch.tensor(3.0)], torch.float32, torch.device("cpu"))
    assert mixed.tolist() == [2.0, 7.0, 3.0]
    assert mixed.dtype == torch.float32
