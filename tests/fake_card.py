"""In place of a GPU: the whole way of a launch, but for the last step.

Triton binds the arguments, compiles for sm_90 and calls its launcher. What would be launched is run on tensors of the CPU, from its TTIR or
TTGIR (`ttir_machine`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from triton import knobs
from triton.runtime import driver
from triton.runtime.cache import get_cache_manager
from ttir_machine import Machine

from kernels import compiled, group_launch, tensors, triton_launch
from kernels.group_flow import CompiledGroup
from kernels.recent import Recent
from kernels.triton_compiler import TARGETS
from kernels.triton_launch import GpuKernel

TARGET: Final = TARGETS["sm_90"]


class Card:
    """Triton's driver for a card that does not exist. `launches`: the names of kernels, and their arguments other than tensors."""

    def __init__(self) -> None:
        self.launches: list[tuple[str, tuple[int, ...]]] = []
        self.compiled: list[str] = []
        self.utils = self
        self.launcher_cls = self._launcher

    def get_current_target(self) -> Any:
        return TARGET

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 227 << 10}

    def load_binary(self, name: str, binary: bytes, shared: int, device: int) -> tuple[Any, ...]:
        assert binary[:4] == b"\x7fELF", "machine code"
        return None, name, 0, 0, 1024

    def _launcher(self, source: Any, metadata: Any) -> Any:
        group = get_cache_manager(metadata.hash).get_group(f"{metadata.name}.json")
        stage = "ttgir" if "body_" in Path(group[f"{metadata.name}.ttir"]).read_text() else "ttir"
        machine = Machine(Path(group[f"{metadata.name}.{stage}"]).read_text())
        types = list(source.signature.values())

        def launch(x: int, y: int, z: int, stream: int, function: Any, *rest: Any) -> None:
            arguments = [a for a, type in zip(rest[4:], types, strict=True) if type != "constexpr"]
            self.launches.append((metadata.name, tuple(a for a in arguments if isinstance(a, int))))
            machine.launch((x, y, z), [_array(a) if isinstance(a, torch.Tensor) else a for a in arguments])

        return launch


def _array(tensor: torch.Tensor) -> Any:
    """The tensor's memory in one dimension, to be written to."""
    return tensor.as_strided((tensor.numel(),), (1,)).numpy()


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    """A card that launches find; tensors on the CPU pass for its own."""
    made = Card()
    monkeypatch.setattr(knobs.cache, "dir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_device", lambda: None)
    monkeypatch.setattr(triton_launch, "device_name", lambda _: "fake")
    monkeypatch.setattr(group_launch, "device_name", lambda _: "fake")
    monkeypatch.setattr(CompiledGroup, "running", functools.partialmethod(CompiledGroup.running, keep_stages=True))
    monkeypatch.setattr(GpuKernel, "_check", _checked(GpuKernel._check))
    monkeypatch.setitem(tensors._WORKS, "cpu", ("llvm", "interpret", "triton"))
    monkeypatch.setattr(compiled, "_memory", Recent())
    tensors._prepared.cache_clear()
    before = driver._active
    driver.set_active(made)
    yield made
    driver.set_active(before)
    tensors._prepared.cache_clear()


def _checked(check: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The check of a launch's inputs, for which tensors on the CPU are as good as on a GPU."""

    def checked(kernel: GpuKernel, *arguments: Any) -> torch.Tensor:
        before, kernel.interpret = kernel.interpret, True
        try:
            return check(kernel, *arguments)
        finally:
            kernel.interpret = before

    return checked
