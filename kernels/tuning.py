"""Which tile runs fastest on the GPU at hand: measured once for each class of kernels, and kept on disk for each device.

Tuning every kernel would cost more than it gains in a search, where each kernel is new and takes 0.3 s to compile for each tile. What
decides is how long a body is, for it sets the registers, and how it moves through memory; so kernels of a class share a choice. The
first kernel of a class that runs on a tensor of at least 2^20 elements is timed with each tile, some seconds in all. Before that, and
without a GPU, the static choice holds: 4 warps, with as many 128-bit accesses a thread as `choose_tile` says.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Final

import torch
import triton
from triton.testing import do_bench

from kernels.cache import default_cache
from kernels.fingerprint import fingerprint

VECTOR: Final = 16  # bytes of the widest access
WORTHWHILE: Final = 1 << 20  # elements; below, a launch takes longer than the kernel, and all tiles are as fast
_LENGTHS: Final = (30, 100, 300)  # instructions that part the classes


@dataclass(frozen=True, slots=True)
class Choice:
    """Warps of a program, and 128-bit accesses that a thread makes of each tensor."""

    num_warps: int
    vectors: int


# Two accesses in flight hide more of memory's latency, one takes half the registers; 8 warps make half as many programs to start, 2 leave
# smaller tails and let a program that needs many registers find room. Long bodies spill with two, and so they have the second set.
ANY: Final = (Choice(4, 2), Choice(4, 1), Choice(8, 1), Choice(2, 2))
NARROW: Final = (Choice(4, 1), Choice(2, 1), Choice(8, 1))

_memory: dict[tuple[str, str], Choice | None] = {}


def kernel_class(form: str, storage: str, length: int) -> str:
    """The class of a kernel of so many instructions; `form` is "flat", "structured" or that of a group."""
    bucket = sum(length > bound for bound in _LENGTHS)
    return f"{form} {storage} {bucket}"


def tuned(device: str, kind: str, choices: Sequence[Choice], seconds: Callable[[Choice], float] | None) -> Choice | None:
    """The choice for a class of kernels on a device, by its name: known, or else the one for which `seconds` is least; None where neither
    can be."""
    if (device, kind) in _memory and (seconds is None or _memory[device, kind] is not None):
        return _memory[device, kind]
    key = f"tile\n{fingerprint('codegen')}\ntriton {triton.__version__}\n{device}\n{kind}"
    kept = default_cache().get(key)
    choice: Choice | None
    if kept is not None:
        choice = Choice(*json.loads(kept))
    elif seconds is None:
        choice = None  # remembered, too: the disk is not asked again at every launch
    else:
        choice = min(choices, key=seconds)
        default_cache().put(key, json.dumps(astuple(choice)).encode())
    _memory[device, kind] = choice
    return choice


@functools.cache
def device_name(index: int) -> str:
    """What the maker calls the GPU of that number."""
    return torch.cuda.get_device_name(index)


def timer(run: Callable[[Choice], object]) -> Callable[[Choice], float] | None:
    """What measures a choice on the current GPU: the median of the milliseconds of a launch, with the cache emptied between launches; None
    while a CUDA graph is captured, when nothing can be waited for. The first launch of each choice compiles."""
    if torch.cuda.is_current_stream_capturing():
        return None
    return lambda choice: float(do_bench(lambda: run(choice), warmup=5, rep=20, return_mode="median"))
