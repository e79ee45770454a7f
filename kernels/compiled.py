"""A function of some order, compiled for one storage type and backend: text to kernels, kept in memory and on disk.

Kernels are keyed by structure: programs that differ in constants alone share them. What the disk holds is enough to run without
building derivative or kernel source again: object code, and the description of each stage as JSON.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Literal

import torch

from codegen.function import Activation, activation, derived
from codegen.instructions import Span
from codegen.kernel import COMPUTE, Input, Kernel, Output, Storage
from codegen.llvm import print_kernel
from codegen.plan import Plan, plan
from codegen.structure import Tape, evaluate_tape
from grammar import parse
from kernels.cache import default_cache
from kernels.host import host
from kernels.llvm_compiler import compile_ir, load_object, target_fingerprint
from kernels.llvm_launch import CpuKernel

Backend = Literal["llvm", "triton", "interpret"]
Launch = Callable[[Sequence[torch.Tensor | float], int, int], list[torch.Tensor]]

STORAGES: dict[torch.dtype, Storage] = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16", torch.float16: "f16"}


@dataclass(frozen=True, slots=True)
class CompiledStage:
    """One kernel and what it reads besides tensors: expressions of the constants."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    tape: Tape
    tape_roots: tuple[int, ...]
    launch: Launch


@dataclass(frozen=True, slots=True)
class CompiledFunction:
    """The stages of a function. `flat`: rows and channels do not matter to it."""

    stages: tuple[CompiledStage, ...]
    flat: bool
    compute: torch.dtype

    def run(self, inputs: Mapping[str, torch.Tensor | float], slots: Sequence[float], rows: int, channels: int) -> list[torch.Tensor]:
        """The results for inputs by name, arranged as rows x channels; sums are float64. See `CpuKernel.__call__`."""
        known: dict[str, torch.Tensor | float] = dict(inputs)
        results: list[torch.Tensor] = []
        for stage in self.stages:
            constants = evaluate_constants(stage.tape, stage.tape_roots, tuple(slots))
            known |= {f"constant.{k}": constant for k, constant in enumerate(constants)}
            results = stage.launch([_read(known[i.source], i) for i in stage.inputs], rows, channels)
            for output, value in zip(stage.outputs, results, strict=True):
                if output.name.startswith("mean."):
                    count = {Span.SCALAR: rows * channels, Span.ROW: channels, Span.CHANNEL: rows}[output.span]
                    known[output.name] = (value / count).to(self.compute)
        return results


def _read(value: torch.Tensor | float, item: Input) -> torch.Tensor | float:
    """What is handed to the kernel: numbers per channel already shifted (they are few), tensors as they are."""
    return torch.roll(value, item.shift) if item.span is Span.CHANNEL and item.shift and isinstance(value, torch.Tensor) else value


@functools.lru_cache(maxsize=65_536)
def evaluate_constants(tape: Tape, roots: tuple[int, ...], slots: tuple[float, ...]) -> tuple[float, ...]:
    """`evaluate_tape`, remembered: a program is launched many times with the same constants."""
    return tuple(evaluate_tape(tape, roots, slots))


@functools.lru_cache(maxsize=16_384)
def program(text: str) -> Activation:
    """The simplified graph of a program text, remembered. Raises DSLError."""
    return activation(parse(text))


class Counters:
    """How often a function was asked for, found in memory, found on disk and compiled, in this process."""

    def __init__(self) -> None:
        self.memory = self.disk = self.compiled = 0


counters = Counters()
_memory: dict[tuple[str, int, Storage, Backend], CompiledFunction] = {}
_MEMORY_LIMIT = 32_768  # functions; code itself is never unloaded, so this bounds the bookkeeping alone


def compiled(function: Activation, order: int, storage: Storage, backend: Backend) -> CompiledFunction:
    """The function's derivative of that order (0: itself), ready to run. See `codegen.function` for inputs and results."""
    key = (function.key, order, storage, backend)
    found = _memory.get(key)
    if found is not None:
        counters.memory += 1
        return found
    made = _compile_llvm(function, order, storage) if backend == "llvm" else _compile_triton(function, order, storage, backend)
    if len(_memory) >= _MEMORY_LIMIT:
        _memory.pop(next(iter(_memory)))
    _memory[key] = made
    return made


def make_plan(function: Activation, order: int, storage: Storage) -> Plan:
    """The kernels of that order, before they are printed for a backend."""
    results = derived(function, order)
    return plan(("forward", "backward")[order] if order < 2 else f"backward{order}", results, storage)


def _finish(stages: Sequence[CompiledStage], storage: Storage) -> CompiledFunction:
    spans = {i.span for s in stages for i in s.inputs} | {o.span for s in stages for o in s.outputs}
    flat = not spans & {Span.ROW, Span.CHANNEL} and not any(i.shift for s in stages for i in s.inputs)
    return CompiledFunction(tuple(stages), flat, torch.float64 if COMPUTE[storage] == "f64" else torch.float32)


def _compile_triton(function: Activation, order: int, storage: Storage, backend: Backend) -> CompiledFunction:
    from kernels.triton_launch import GpuKernel  # noqa: PLC0415 - triton exists on Linux only, and takes 0.3 s to import

    stages = []
    for stage in make_plan(function, order, storage).stages:
        kernel = GpuKernel(stage.kernel, interpret=backend == "interpret")
        stages.append(CompiledStage(stage.kernel.inputs, stage.kernel.outputs, stage.tape, stage.tape_roots, kernel))
    counters.compiled += 1
    return _finish(stages, storage)


def _compile_llvm(function: Activation, order: int, storage: Storage) -> CompiledFunction:
    key = f"{source_fingerprint()}\n{target_fingerprint()}\norder {order} {storage}\n{function.key}"
    entry = default_cache().get(key)
    if entry is None:
        entry = _build_entry(make_plan(function, order, storage))
        default_cache().put(key, entry)
        counters.compiled += 1
    else:
        counters.disk += 1
    return _load_entry(entry, storage)


def native_ir(kernel: Kernel) -> str:
    """The kernel as LLVM text for this machine."""
    return print_kernel(replace(kernel, storage=host().storage(kernel.storage)), host().lanes, host().triple)


def _build_entry(kernels: Plan) -> bytes:
    """A line of JSON that describes the stages, then their object codes."""
    objects = [compile_ir(native_ir(stage.kernel), [stage.kernel.name]) for stage in kernels.stages]
    header = [
        {
            "name": stage.kernel.name,
            "inputs": [(i.name, int(i.span), i.source, i.shift) for i in stage.kernel.inputs],
            "outputs": [(o.name, int(o.span), o.index) for o in stage.kernel.outputs],
            "tape": stage.tape,
            "roots": stage.tape_roots,
            "size": len(code),
        }
        for stage, code in zip(kernels.stages, objects, strict=True)
    ]
    return b"\n".join([json.dumps(header).encode(), b"".join(objects)])


def _load_entry(entry: bytes, storage: Storage) -> CompiledFunction:
    header, code = entry.split(b"\n", 1)
    stages = []
    for item in json.loads(header):
        inputs = tuple(Input(name, Span(span), source, shift) for name, span, source, shift in item["inputs"])
        outputs = tuple(Output(name, Span(span), index) for name, span, index in item["outputs"])
        address = load_object(code[: item["size"]], [item["name"]])[item["name"]]
        code = code[item["size"] :]
        stages.append(
            CompiledStage(inputs, outputs, _tape(item["tape"]), tuple(item["roots"]), CpuKernel(inputs, outputs, storage, address))
        )
    return _finish(stages, storage)


def _tape(lines: Sequence[Any]) -> Tape:
    return tuple((name, attribute, tuple(args)) for name, attribute, args in lines)


@functools.cache
def source_fingerprint() -> str:
    """A digest of the code generator's own source: a change there is a change of every kernel."""
    digest = hashlib.sha256()
    for file in sorted(resources.files("codegen").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".py"):
            digest.update(file.read_bytes())
    return digest.hexdigest()
