"""A function of some order, ready to run on tensors: one kernel after another, on the CPU or through Triton."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from codegen.function import Activation
from codegen.instructions import Span
from codegen.kernel import COMPUTE, Input, Output, Storage
from kernels.llvm_compiler import FAST, THOROUGH
from kernels.llvm_launch import CpuKernel
from kernels.native import WORTHWHILE, Constants, NativeFunction, NativeStage, constants_of, known, native
from kernels.programs import BOTH, make_plan
from kernels.recent import Recent

if TYPE_CHECKING:
    from kernels.ahead import Job

Backend = Literal["llvm", "triton", "interpret"]
Launch = Callable[[Sequence[torch.Tensor | float], int, int, torch.Tensor | None], list[torch.Tensor]]


class CompiledStage:
    """One kernel, and where the values that it reads come from: the program's constants, or what is known by name.

    `only`: which of the outputs is wanted, if not all.
    """

    def __init__(
        self, inputs: Sequence[Input], outputs: Sequence[Output], constants: Constants, launch: Launch, only: int | None = None
    ) -> None:
        self.inputs, self.outputs, self.constants, self.launch = tuple(inputs), tuple(outputs), constants, launch
        self._reads = [i.source if i.constant is None else i.constant for i in inputs]
        self._shifted = [(n, i.shift) for n, i in enumerate(inputs) if i.span is Span.CHANNEL and i.shift]
        self._only = only
        self.means = [(n, o) for n, o in enumerate(outputs) if o.name.startswith("mean.")]

    def run(self, known: Mapping[str, torch.Tensor | float], slots: tuple[float, ...], rows: int, channels: int) -> list[torch.Tensor]:
        """The outputs, for inputs by name, x among them, and the program's constants."""
        constants = self.constants(slots)
        values = [constants[r] if isinstance(r, int) else known[r] for r in self._reads]
        for n, shift in self._shifted:  # numbers per channel are handed over shifted: they are few
            value = values[n]
            values[n] = torch.roll(value, shift) if isinstance(value, torch.Tensor) else value
        x = known["x"]
        results = self.launch(values, rows, channels, x if isinstance(x, torch.Tensor) else None)
        return results if self._only is None else [results[self._only]]


@dataclass(slots=True)
class CompiledFunction:
    """The stages of a function. `flat`: rows and channels do not matter to it. `improve` compiles it again, thoroughly."""

    stages: tuple[CompiledStage, ...]
    flat: bool
    compute: torch.dtype
    improve: Callable[[], tuple[CompiledStage, ...]] | None = None
    elements: int = 0  # that it was run on so far

    def run(self, inputs: Mapping[str, torch.Tensor | float], slots: tuple[float, ...], rows: int, channels: int) -> list[torch.Tensor]:
        """The results for inputs by name, arranged as rows x channels; sums are float64. See `CpuKernel.__call__`."""
        if self.improve is not None:
            self.elements += rows * channels
            if self.elements >= WORTHWHILE:
                self.stages, self.improve = self.improve(), None
        known = dict(inputs)
        results: list[torch.Tensor] = []
        for stage in self.stages:
            results = stage.run(known, slots, rows, channels)
            for n, output in stage.means:
                count = {Span.SCALAR: rows * channels, Span.ROW: channels, Span.CHANNEL: rows}[output.span]
                known[output.name] = (results[n] / count).to(self.compute)
        return results


_memory: Recent[tuple[str, int, Storage, Backend], CompiledFunction] = Recent()


def compiled(function: Activation, order: int, storage: Storage, backend: Backend) -> CompiledFunction:
    """The function's derivative of that order (0: itself), ready to run. See `codegen.function` for inputs and results."""
    key = (function.key, order, storage, backend)
    found = _memory.get(key)
    if found is None:
        found = _compile_llvm(function, order, storage) if backend == "llvm" else _compile_triton(function, order, storage, backend)
        _memory.put(key, found)
    return found


def _finish(
    stages: Sequence[CompiledStage], storage: Storage, improve: Callable[[], tuple[CompiledStage, ...]] | None = None
) -> CompiledFunction:
    spans = {i.span for s in stages for i in s.inputs} | {o.span for s in stages for o in s.outputs}
    flat = not spans & {Span.ROW, Span.CHANNEL} and not any(i.shift for s in stages for i in s.inputs)
    return CompiledFunction(tuple(stages), flat, torch.float64 if COMPUTE[storage] == "f64" else torch.float32, improve)


def launch_jobs(function: Activation, order: int, storage: Storage, rows: int, channels: int) -> list[Job]:
    """What compiles the derivative of that order ahead of its launches on rows x channels, for the GPU of this process."""
    from kernels.triton_launch import GpuKernel  # noqa: PLC0415

    kernels = [GpuKernel(stage.kernel) for stage in make_plan(function, order, storage).stages]
    return [job for kernel in kernels for job in kernel.jobs(rows, channels)]


def _compile_triton(function: Activation, order: int, storage: Storage, backend: Backend) -> CompiledFunction:
    from kernels.triton_launch import GpuKernel  # noqa: PLC0415 - triton exists on Linux only, and takes 0.3 s to import

    stages = []
    for stage in make_plan(function, order, storage).stages:
        kernel = GpuKernel(stage.kernel, interpret=backend == "interpret")
        stages.append(CompiledStage(stage.kernel.inputs, stage.kernel.outputs, constants_of(stage.tape, stage.tape_roots), kernel))
    return _finish(stages, storage)


def _compile_llvm(function: Activation, order: int, storage: Storage) -> CompiledFunction:
    """Whatever is there already; else, to begin with, a kernel for value and gradient, of which each launch uses one."""

    def stages(code: NativeFunction, only: int | None = None) -> tuple[CompiledStage, ...]:
        kernels = [(s, CpuKernel(s.inputs, s.outputs, storage, s.code)) for s in code.stages]
        return tuple(CompiledStage(_read_by(s, only), s.outputs, s.constants, kernel, only) for s, kernel in kernels)

    def improve() -> tuple[CompiledStage, ...]:
        return stages(native(function, order, storage, THOROUGH))

    code = known(function, order, storage, FAST)
    if code is None and order < 2 and function.of_x_alone:
        return _finish(stages(native(function, BOTH, storage), only=order), storage, improve)
    code = code or native(function, order, storage)
    return _finish(stages(code), storage, None if code.tier >= THOROUGH else improve)


def _read_by(stage: NativeStage, only: int | None) -> tuple[Input, ...]:
    """The inputs of a stage. Where the value alone is wanted of value and gradient, there is no cotangent: x stands for it."""
    return tuple(replace(i, source="x") if only == 0 and i.span is Span.ELEMENT else i for i in stage.inputs)
