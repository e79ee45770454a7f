"""Which card this is, and what a result depends on besides."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from triton.runtime import driver

from kernels.gpus import BY_TARGET, GPUS, Gpu

_CLOSE: Final = 0.1  # relative; cards of one name and multiprocessors differ by more where their memory is another


def identify(name: str, target: str, properties: Mapping[str, int]) -> Gpu | None:
    """The description of a card, from its name, its target, and what the driver says of it; None where its kind is not known.

    Vendors' figures hold for cards that have their multiprocessors and, within a tenth, their bandwidth. For others, such as those in PCIe
    slots, and for unknown names of a known target (then the caller gets another name), the driver's figures are used. AMD's driver gives
    a clock of memory from which its bandwidth does not follow, so AMD's cards have the vendor's.
    """
    known = next((gpu for gpu in GPUS if gpu.target == target and re.search(rf"\b{gpu.name.split()[0]}\b", name)), None)
    gpu = known or BY_TARGET.get(target)
    if gpu is None or target.startswith("gfx"):
        return gpu
    # Two transfers a clock; clocks are in kHz, the width in bits.
    bandwidth = 2 * properties["mem_clock_rate"] * 1e3 * properties["mem_bus_width"] / 8
    multiprocessors = properties["multiprocessor_count"]
    if known and multiprocessors == gpu.multiprocessors and abs(bandwidth / gpu.bandwidth - 1) < _CLOSE:
        return gpu
    clock = properties["sm_clock_rate"] * 1e3
    return dataclasses.replace(gpu, name=f"{name} (by its driver)", multiprocessors=multiprocessors, clock_hz=clock, bandwidth=bandwidth)


def this_card() -> tuple[str, str, Gpu | None]:
    """The name of the current GPU, its target or "" if kernels are not compiled for it offline, and its description."""
    found = driver.active.get_current_target()
    target = f"sm_{found.arch}" if found.backend == "cuda" else str(found.arch)
    gpu = identify(torch.cuda.get_device_name(), target, driver.active.utils.get_device_properties(torch.cuda.current_device()))
    return torch.cuda.get_device_name(), "" if gpu is None else target, gpu


def versions() -> dict[str, str]:
    """Of what torch was built for, and of the driver."""
    found = {"cuda": torch.version.cuda or "none", "rocm": torch.version.hip or "none", "driver": "unknown"}
    amd = Path("/sys/module/amdgpu/version")
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found["driver"] = done.stdout.strip().partition("\n")[0] or "unknown"
    elif amd.exists():
        found["driver"] = amd.read_text(encoding="utf-8").strip()
    return found
