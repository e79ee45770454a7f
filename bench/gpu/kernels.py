"""Cases of the round for single kernels: what a copy takes, activations on large tensors, and on small ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch

from bench.functions import ROUND, Contest
from bench.gpu.liger import liger_function
from bench.gpu.measure import COPY, Case, Timed
from bench.gpu.model import Work, passes_work, seconds, total
from bench.programs import random_programs
from codegen.kernel import Storage
from gp.timing import Activate, passes
from kernels.ahead import Job
from kernels.compiled import launch_jobs
from kernels.dtypes import DTYPES
from kernels.gpus import Gpu
from kernels.lowering import lowered
from kernels.module import activation
from kernels.programs import program

STORAGES: Final[dict[Storage, str]] = {"f32": "float32", "bf16": "bfloat16"}
PASSES: Final = {"forward": (0,), "forward + backward": (0, 1)}
_WORK: Final = {"forward": "forward", "forward + backward": "both"}  # the names in `gp.timing.passes`
_TENSORS: Final = {"forward": 2.0, "forward + backward": 5.0}  # x, y; x, y, then x, dy, dx
_WIDTH: Final = 4096  # of a row: Liger's kernels take one at a time
_RANDOM: Final = random_programs(5, 6, 14, seed=21)  # finite everywhere, and each with functions that the named ones do not have
_SMALL: Final = ("relu", "gelusine")


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the kernels are run on. `inductor`: torch.compile's backend, none where that is left out."""

    copied: tuple[int, ...] = (1 << 28, 1 << 27, 1 << 24)
    large: tuple[int, ...] = (1 << 27, 1 << 24)
    small: tuple[int, ...] = (1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20)
    inductor: str | None = "inductor"


def contests() -> tuple[Contest, ...]:
    """The functions of the round, and random programs, whose other form is their torch lowering."""
    return (*ROUND, *(Contest(f"random {k}", text, lowered(text, 0)) for k, text in enumerate(_RANDOM)))


def shape(elements: int) -> tuple[int, int]:
    """Rows and channels of so many elements."""
    width = min(_WIDTH, elements)
    return elements // width, width


def ceiling_cases(sizes: Sizes, device: torch.device) -> Iterator[Case]:
    """A clone of tensors of several sizes: what the bandwidth is in practice."""
    for elements in sizes.copied:
        for storage, name in STORAGES.items():
            yield _copy_case(elements, storage, f"clone of {elements:,} {name}", device)


def _copy_case(elements: int, storage: Storage, what: str, device: torch.device) -> Case:
    size = 2.0 * elements * DTYPES[storage].itemsize

    def contenders() -> Mapping[str, Timed]:
        source = torch.randn(elements, device=device).to(DTYPES[storage])
        return {COPY: Timed(source.clone)}

    return Case(
        "ceiling", what, kind=f"clone, {STORAGES[storage]}", predict=lambda gpu: seconds(gpu, Work("copy", size)),
        contenders=contenders, rates={"GB/s": size / 1e9},
    )  # fmt: skip


def large_cases(sizes: Sizes, device: torch.device) -> Iterator[Case]:
    """Every function, against torch eager, torch.compile and Liger; the largest tensors first."""
    for elements in sizes.large:
        for contest in contests():
            for storage in STORAGES:
                for kind in PASSES:
                    yield _large_case(contest, storage, kind, elements, sizes.inductor, device)


def _large_case(contest: Contest, storage: Storage, kind: str, elements: int, inductor: str | None, device: torch.device) -> Case:
    def predict(gpu: Gpu) -> float:
        return total(gpu, passes_work(program(contest.text), PASSES[kind], storage, elements, gpu))

    def contenders() -> Mapping[str, Timed]:
        x = torch.randn(shape(elements), device=device).to(DTYPES[storage]).requires_grad_()
        cotangent = torch.randn_like(x)
        functions: dict[str, Activate] = {"ours": activation(contest.text, backend=_backend(device)), "torch eager": contest.eager}
        if inductor is not None:
            functions["torch.compile"] = compiled(contest, inductor)
        if (liger := liger_function(contest.name)) is not None and device.type == "cuda":
            functions["Liger"] = liger
        work = {name: passes(function, x, cotangent)[_WORK[kind]] for name, function in functions.items()}
        found = {name: Timed(lambda each=each: each.run(None)) for name, each in work.items()}  # type: ignore[misc]
        source = x.detach()
        return {**found, COPY: Timed(source.clone)}

    what = f"{contest.name}, {kind}, {elements:,} {STORAGES[storage]}"
    return Case(
        "kernels", what, kind=f"{kind}, {STORAGES[storage]}, {elements:,}", predict=predict, contenders=contenders,
        tensors=0.0 if contest.name == "turbulent" else _TENSORS[kind],
    )  # fmt: skip


def compiled(contest: Contest, inductor: str) -> Activate:
    """By torch.compile, for one shape."""
    torch.compiler.reset()  # lest the limit on recompilations is met
    return torch.compile(contest.eager, backend=inductor, fullgraph=True, dynamic=False)


def small_cases(sizes: Sizes, device: torch.device) -> Iterator[Case]:
    """Where launching stops to matter: times on the device beside times on the host."""
    for contest in (c for c in contests() if c.name in _SMALL):
        for elements in sizes.small:
            for kind in PASSES:
                case = _large_case(contest, "f32", kind, elements, None, device)
                yield Case("small", case.what, kind=f"{kind}, small", predict=case.predict, contenders=case.contenders)


def jobs(sizes: Sizes) -> list[Job]:
    """What compiles all kernels of these cases ahead, for the GPU of this process."""
    wanted: list[tuple[Contest, Storage, int]] = [
        (c, storage, elements) for c in contests() for storage in STORAGES for elements in sizes.large
    ]
    wanted += [(c, "f32", elements) for c in contests() if c.name in _SMALL for elements in sizes.small]
    return [job for c, storage, elements in wanted for k in (0, 1) for job in launch_jobs(program(c.text), k, storage, 1, elements)]


def _backend(device: torch.device) -> str:
    return "interpret" if device.type == "cpu" else "triton"
