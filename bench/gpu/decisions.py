"""Cases of the round that settle what was chosen without a card: tiles, warps, approximate functions, the size of groups."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import torch

from bench.functions import FUSED, ROUND, Contest
from bench.gpu.kernels import STORAGES
from bench.gpu.measure import COPY, Case, Timed
from bench.gpu.model import pass_work, seconds
from bench.gpu_functions import kernel_text
from codegen.kernel import Storage
from codegen.plan import Stage
from kernels.ahead import Job
from kernels.compiled import launch_jobs
from kernels.dtypes import DTYPES
from kernels.gpus import Gpu
from kernels.module import activation
from kernels.native import constants_of
from kernels.programs import make_plan, program
from kernels.triton_compiler import NUM_WARPS, choose_tile, compile_options, load
from kernels.triton_launch import GpuKernel
from kernels.tuning import VECTOR, Choice

_TUNED: Final = (ROUND[0], FUSED[3], FUSED[2])  # relu, mish, gmtu: bound by memory, in between, by instructions
# Those among which the launcher chooses, and some that it does not try.
_CHOICES: Final = tuple(Choice(warps, vectors) for warps in (2, 4, 8, 16) for vectors in (1, 2, 4))
_APPROXIMATE: Final = {"exp": ("libdevice.exp(x)", "tl.exp(x)"), "tanh": ("libdevice.tanh(x)",), "sigmoid": ("tl.sigmoid(x)",)}


def decision_cases(elements: int, device: torch.device) -> Iterator[Case]:
    """Approximate functions beside ours, then tiles, for both types."""
    for storage in STORAGES:
        for name, others in _APPROXIMATE.items():
            yield _function_case(name, others, storage, elements, device)
    for storage in STORAGES:
        for contest in _TUNED:
            yield from (_tile_case(contest, storage, choice, elements, device) for choice in _CHOICES)


def _function_case(name: str, others: tuple[str, ...], storage: Storage, elements: int, device: torch.device) -> Case:
    def contenders() -> Mapping[str, Timed]:
        x = torch.randn(elements, device=device).to(DTYPES[storage])
        ours = activation(f"{name}(x)", backend="interpret" if device.type == "cpu" else "triton")
        found: dict[str, Callable[[], object]] = {"ours": lambda: ours(x)}
        if device.type == "cuda":  # the interpreter has none of these
            options = compile_options(_target())
            found |= {text: functools.partial(_run_text, load(kernel_text(text)).kernel, options, x) for text in others}
        return {**{key: Timed(run) for key, run in found.items()}, COPY: Timed(x.clone)}

    return Case("decisions", f"{name}, {elements:,} {STORAGES[storage]}", kind="functions", contenders=contenders, tensors=2.0)


def _run_text(kernel: Any, options: Mapping[str, Any], x: torch.Tensor) -> None:
    """Launch a kernel that reads x in float32, and writes a tensor like it; without a mask, so 1,024 must divide the size."""
    block = NUM_WARPS * 32 * 8
    y = torch.empty_like(x)
    kernel[(x.numel() // block,)](x, y, x.numel(), BLOCK=block, num_warps=NUM_WARPS, **options)


def _tile_case(contest: Contest, storage: Storage, choice: Choice, elements: int, device: torch.device) -> Case:
    each = choice.vectors * VECTOR // DTYPES[storage].itemsize

    def predict(gpu: Gpu) -> float:
        return seconds(gpu, pass_work(program(contest.text), 0, storage, elements, gpu, each))

    def contenders() -> Mapping[str, Timed]:
        x = torch.randn(elements, device=device).to(DTYPES[storage])
        kernel, values = _with_tile(contest, storage, choice, x)
        return {"ours": Timed(lambda: kernel(values, 1, elements)), COPY: Timed(x.clone)}

    usual = choose_tile(_stage(contest, storage).kernel, 32)
    mark = ", the static choice" if (usual.num_warps, usual.channels) == (choice.num_warps, choice.num_warps * 32 * each) else ""
    what = f"{contest.name}, forward, {elements:,} {STORAGES[storage]}, {choice.num_warps} warps of {each} elements a thread{mark}"
    return Case("decisions", what, kind="tiles", predict=predict, contenders=contenders, tensors=2.0)


def _stage(contest: Contest, storage: Storage) -> Stage:
    return make_plan(program(contest.text), 0, storage).stages[-1]


def _with_tile(contest: Contest, storage: Storage, choice: Choice, x: torch.Tensor) -> tuple[GpuKernel, list[torch.Tensor | float]]:
    """The forward kernel with that tile, and its inputs."""
    stage, on_cpu = _stage(contest, storage), x.device.type == "cpu"
    warp = 32 if on_cpu else int(_target().warp_size)
    block = choice.num_warps * warp * choice.vectors * VECTOR // x.element_size()
    kernel = GpuKernel(stage.kernel, interpret=on_cpu, tile=choose_tile(stage.kernel, warp, num_warps=choice.num_warps, block=block))
    constants = constants_of(stage.tape, stage.tape_roots)(program(contest.text).constants)
    return kernel, [x if item.constant is None else constants[item.constant] for item in stage.kernel.inputs]


def jobs(elements: int) -> list[Job]:
    """What compiles the kernels with all tiles ahead, for the GPU of this process."""
    tensors = {storage: torch.empty(1, dtype=DTYPES[storage], device="meta") for storage in STORAGES}
    kernels = [_with_tile(c, storage, choice, tensors[storage])[0] for c in _TUNED for storage in STORAGES for choice in _CHOICES]
    texts = [(f"{name}(x)", storage) for name in _APPROXIMATE for storage in STORAGES]
    functions = [job for text, storage in texts for job in launch_jobs(program(text), 0, storage, 1, elements)]
    return [job for kernel in kernels for job in kernel.jobs(1, elements)] + functions


def _target() -> Any:
    from triton.runtime import driver  # noqa: PLC0415 - asks for a GPU

    return driver.active.get_current_target()
