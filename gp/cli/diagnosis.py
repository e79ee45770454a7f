"""The findings of `gp doctor`, as data."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import llvmlite.binding as llvm
import torch

from kernels.cache import default_cache, numba_entries
from kernels.host import host
from kernels.llvm_launch import _openmp
from kernels.module import activation

_DISTRIBUTIONS: Final = ("torch", "triton", "llvmlite", "numba", "numpy", "scipy", "lark", "matplotlib")
_FEATURES: Final = ("sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bf16", "avx512fp16", "neon", "sve", "bf16", "fullfp16")
_VARIABLES: Final = (
    "GP_CACHE_DIR", "GP_DEBUG", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TRITON_INTERPRET", "TRITON_CACHE_DIR", "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES", "NO_COLOR", "PYTHONPATH",
)  # fmt: skip


def diagnose() -> dict[str, Any]:
    """Everything that `gp doctor --json` prints."""
    return {
        "versions": _versions(),
        "cpu": _cpu(),
        "threads": {"torch": torch.get_num_threads(), "available": _processors(), "openmp": _openmp() is not None},
        "cache": _cache(),
        "devices": _devices(),
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "backends": {
            "llvm": _tried(lambda: _run("llvm", "cpu"), "compiled for this processor"),
            "triton": _triton(lambda: _run("triton", "cuda"), "compiled for the GPU"),
            "batched": _triton(_train, "training of many candidates at once on the GPU (gp run, lab and compare: --device)"),
            "interpret": _tried(lambda: _run("interpret", "cpu"), "Triton's interpreter on CPU tensors; for checks, it is slow"),
            "offline": _tried(_compile_offline, "code for sm_80, sm_90, sm_100 and gfx942 without a GPU (gp show --emit, --report)"),
            "eager": _tried(lambda: _run("eager", "cpu"), "plain torch operations on any device"),
        },
    }


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"actgp": _version("actgp"), "python": platform.python_version()}
    found |= {name: _version(name) for name in _DISTRIBUTIONS}
    return found | {"LLVM": ".".join(map(str, llvm.llvm_version_info))}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> dict[str, Any]:
    machine = host()
    present = set(machine.features.split(","))
    features = [name for name in _FEATURES if f"+{name}" in present]
    return {"name": _processor_name(), "llvm": machine.cpu, "triple": machine.triple, "lanes": machine.lanes, "features": features}


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cache() -> dict[str, Any]:
    cache = default_cache()
    problem = cache.problem() or numba_entries().problem()
    files = [f for f in cache.folder.rglob("*") if f.is_file()] if cache.folder.is_dir() else []
    return {
        "folder": str(cache.folder),
        "files": len(files),
        "bytes": sum(f.stat().st_size for f in files),
        "limit_bytes": cache.limit_bytes,
        "writable": not problem,
        "problem": problem or None,
        "damaged": len(cache.damaged()) + len(numba_entries().damaged()),
    }


def _devices() -> list[dict[str, Any]]:
    """The GPUs that torch sees; ROCm's are called cuda too."""
    if not torch.cuda.is_available():
        return []
    kind = "hip" if torch.version.hip else "cuda"
    found = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
    return [
        {
            "name": p.name,
            "kind": kind,
            "capability": p.gcnArchName if kind == "hip" else f"sm_{p.major}{p.minor}",
            "memory_bytes": p.total_memory,
        }
        for p in found
    ]


def _triton(attempt: Callable[[], None], detail: str) -> dict[str, Any]:
    """What needs a GPU."""
    if torch.cuda.is_available():
        return _tried(attempt, detail)
    build = next((f"for {n} {v}" for n, v in (("CUDA", torch.version.cuda), ("ROCm", torch.version.hip)) if v), "for the CPU alone")
    return {"usable": False, "detail": f"no GPU that torch can use; this torch is built {build}"}


def _run(backend: str, device: str) -> None:
    x = torch.linspace(-2.0, 2.0, 9, device=device, requires_grad=True)
    y = activation("x*sigmoid(x)", backend=backend)(x)
    y.sum().backward()
    expected = torch.nn.functional.silu(x)
    if not torch.allclose(y, expected, atol=1e-6):
        raise ArithmeticError(f"wrong numbers: {y.tolist()} instead of {expected.tolist()}")


def _train() -> None:
    from gp.lab.chunks import check  # noqa: PLC0415 - takes Triton, which is not there on every system

    for k in range(torch.cuda.device_count()):
        check(f"cuda:{k}")


def _compile_offline() -> None:
    from codegen.function import activation as build  # noqa: PLC0415
    from gp.cli.choices import Target  # noqa: PLC0415
    from gp.cli.emit import report  # noqa: PLC0415
    from grammar import parse  # noqa: PLC0415

    report(build(parse("x*sigmoid(x)")), Target.SM_90)


def _tried(attempt: Callable[[], None], detail: str) -> dict[str, Any]:
    try:
        attempt()
    except Exception as error:  # whatever goes wrong is the finding
        return {"usable": False, "detail": f"{type(error).__name__}: {error}".splitlines()[0]}
    return {"usable": True, "detail": detail}
