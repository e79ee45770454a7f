"""The names of devices: what a user may ask for, and what of it there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

AUTO: Final = "auto"
CPU: Final = "cpu"
ALL: Final = "cuda"
_GPUS: Final = re.compile(r"cuda:(0|[1-9]\d{0,3})(,cuda:(0|[1-9]\d{0,3}))*")
# What Linux has in /dev where a driver for GPUs is loaded: NVIDIA's, AMD's, that of WSL.
_NODES: Final = ("nvidiactl", "kfd", "dxg")


class DeviceError(ValueError):
    """There is no such device, or it cannot be used; the message says why, and what there is."""


def resolve(name: str) -> tuple[str, ...]:
    """The devices that a name stands for, as torch calls them: ("cpu",), or GPUs such as ("cuda:0", "cuda:1").

    "cuda" are all GPUs, "auto" all GPUs or else the CPU, "cuda:1" and "cuda:0,cuda:2" those. Raises DeviceError.
    """
    if name == CPU or (name == AUTO and not _may_have_gpus()):
        return (CPU,)
    if name not in (AUTO, ALL) and not _GPUS.fullmatch(name):
        raise DeviceError(f"there is no device {name!r}; choose auto, cpu, cuda (all GPUs), cuda:1 or several such as cuda:0,cuda:2")
    present = tuple(f"cuda:{k}" for k in range(gpu_count()))
    if name == AUTO:
        return present or (CPU,)
    if not present:
        raise DeviceError(f"device {name}: there is no GPU that torch can use (gp doctor says more); choose cpu")
    wanted = present if name == ALL else tuple(dict.fromkeys(name.split(",")))
    for device in wanted:
        if device not in present:
            raise DeviceError(f"there is no device {device}; this machine has cpu, {', '.join(present)}")
    return wanted


def _may_have_gpus() -> bool:
    """Whether torch, which takes more than a second to import, is worth being asked; a GPU that is named is looked for in any case."""
    return any(Path("/dev", node).exists() for node in _NODES)


def gpu_count() -> int:
    """How many GPUs torch can use; AMD's are called cuda too."""
    import torch  # noqa: PLC0415 - a machine without GPUs does without

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
