"""From the text of a Triton kernel to a function, and to machine code for a GPU that need not be there.

`triton.jit` reads a function's source from its file, so every source becomes a file named by its content.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib.util
import linecache
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime import jit

from codegen.instructions import Span
from codegen.kernel import COMPUTE, Kernel, Storage
from codegen.triton import function_name, parameters, print_kernel
from kernels.cache_folder import cache_folder, mistrust

TARGETS: Final[dict[str, GPUTarget]] = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
# Separate rounding of a*b + c is what range reductions and error-free transformations rest on, and integers wrap around.
_OPTIONS: Final[dict[str, bool]] = {"enable_fp_fusion": False, "sanitize_overflow": False}
NUM_WARPS: Final = 4
# Without a number ptxas takes 72 or 128 registers for some kernels, so that one more block fits, and spills up to 14 values to have it;
# with any it does not, and other kernels keep their registers. 168, where three blocks fit, makes one group of 34 spill; the one that
# takes most has 183.
MAX_REGISTERS: Final = 200
LONG_BODY: Final = 100  # instructions; above, 8 elements a thread begin to spill on gfx942 and sm_100
# Where warps are 64 wide a truth value is a pair of scalar registers an element, and there are only 102: with 4 elements a thread
# the longest of the catalogue (3,743 instructions) spills 2,598 of them, with 1 it spills none.
MASK_BOUND_BODY: Final = 3000
MAX_BLOCK_CHANNELS: Final = 256
_POINTERS: Final[dict[Storage, str]] = {"f32": "*fp32", "f64": "*fp64", "bf16": "*bf16", "f16": "*fp16"}


@dataclass(frozen=True, slots=True)
class Tile:
    """What one program covers: `rows` x `channels` elements (a flat kernel: 1 x BLOCK), with `num_warps` warps."""

    rows: int
    channels: int
    num_warps: int

    def constants(self, kernel: Kernel) -> dict[str, int]:
        """The compile-time arguments of the kernel's function."""
        return {"BLOCK": self.channels} if kernel.flat else {"BLOCK_ROWS": self.rows, "BLOCK_CHANNELS": self.channels}


def choose_tile(kernel: Kernel, warp_size: int, channels: int = MAX_BLOCK_CHANNELS, num_warps: int = NUM_WARPS, block: int = 0) -> Tile:
    """The tile of `block` elements for a tensor with that many channels.

    The default block gives a thread 32 bytes of the compute type, that is 8 registers for each live value: 8 elements of float32
    (two 128-bit accesses), of bfloat16 or float16 (one), or 4 of float64 (two). A long body keeps many values alive and gets half
    of that where a 128-bit access still fits, or one element (`MASK_BOUND_BODY`). A tile of rows and channels is at most 256
    channels wide, enough for a warp to read 512 adjacent bytes and for all warps to share a channel's or a row's input.
    """
    length = len(kernel.live())
    elements = {"f64": 4, "f32": 8 if length <= LONG_BODY else 4}.get(kernel.storage, 8)
    if warp_size == 64 and length > MASK_BOUND_BODY:
        elements = 1
    block = block or num_warps * warp_size * elements
    if kernel.flat:
        return Tile(1, block, num_warps)
    width = min(triton.next_power_of_2(max(channels, 1)), MAX_BLOCK_CHANNELS, block)
    return Tile(block // width, width, num_warps)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel's machine code. `asm` has the stages by name: ttir, ttgir, llir, then ptx and cubin, or amdgcn and hsaco."""

    asm: Mapping[str, str | bytes]
    metadata: Any
    target: GPUTarget
    tile: Tile


def compile_options(target: GPUTarget) -> dict[str, bool | int]:
    """Triton's options for every kernel.

    By default floor of float32 flushes subnormals on NVIDIA (`cvt.rmi.ftz`), so that floor(-1e-40) is 0 instead of -1.
    """
    return _OPTIONS | ({"enable_reflect_ftz": False, "maxnreg": MAX_REGISTERS} if target.backend == "cuda" else {})


@contextmanager
def without_line_numbers() -> Iterator[None]:
    """A context in which Triton leaves them out, which takes a fifth of the time of compiling off."""
    with knobs.compilation.scope():
        knobs.compilation.disable_line_info = True
        yield


def _sources() -> Path:
    """Where sources are kept; where they cannot be, a folder that goes with this process."""
    base = cache_folder()
    folder = base / "triton"
    if mistrust(base) or mistrust(folder):
        return _spare()
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return _spare()
    return folder if os.access(folder, os.W_OK) else _spare()


@functools.cache
def _spare() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="actgp-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def load(source: str) -> ModuleType:
    """The module with that source text, from a file named by its content. It is written again if it is not what it should be."""
    folder = _sources()
    name = "kernel_" + hashlib.sha256(source.encode()).hexdigest()[:32]
    path = folder / f"{name}.py"
    if not path.is_file() or path.read_bytes() != source.encode():
        # A rename is atomic: another process sees the whole file or none.
        with tempfile.NamedTemporaryFile("wb", dir=folder, suffix=".tmp", delete=False) as file:
            file.write(source.encode())
        os.replace(file.name, path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _forget(module, path)
    return module


def _forget(module: ModuleType, path: Path) -> None:
    """Let a module's functions go with whoever holds them, and their machine code with them.

    Triton has a table of all functions, by which it finds those that were saved to be compiled beforehand, and Python one of all lines that
    were read for it: 700 kB for a group of 16 expressions.
    """
    linecache.cache.pop(str(path), None)
    for name in vars(module):
        jit._triton_jit_function_registry.pop(f"{module.__name__}:{name}", None)


def load_function(kernel: Kernel, source: str) -> Any:
    """The kernel's `triton.JITFunction`, from its source text."""
    return getattr(load(source), function_name(kernel))


def compile_offline(kernel: Kernel, target: str, num_warps: int = NUM_WARPS, block: int = 0) -> Compiled:
    """Compile for "sm_80", "sm_90", "sm_100" or "gfx942"; no GPU is needed. `block` elements a program (0: see `choose_tile`).

    The code is what the launcher gets for aligned tensors whose sizes are multiples of 16. KeyError for another target.
    """
    gpu = TARGETS[target]
    tile = choose_tile(kernel, gpu.warp_size, num_warps=num_warps, block=block)
    pointers, sizes, constants = parameters(kernel)
    types = dict.fromkeys(sizes, "i32") | dict.fromkeys(constants, "constexpr")
    signature = pointer_types(kernel) | types
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(signature) if name in {*pointers, *sizes} - {"tiles"}}
    function = load_function(kernel, print_kernel(kernel))
    source = ASTSource(function, signature, constexprs=tile.constants(kernel), attrs=aligned)
    compiled = triton.compile(source, target=gpu, options={"num_warps": num_warps, **compile_options(gpu)})
    return Compiled(compiled.asm, compiled.metadata, gpu, tile)


def pointer_types(kernel: Kernel) -> dict[str, str]:
    """The kernel's pointer arguments in order, and their types as Triton writes them."""
    spans = [i.span for i in kernel.inputs if i.span is not Span.SCALAR]
    compute: Storage = "f64" if COMPUTE[kernel.storage] == "f64" else "f32"

    def storage(name: str) -> Storage:
        if name.startswith("in"):
            return kernel.storage if spans[int(name.removeprefix("in"))] is Span.ELEMENT else compute
        if name.startswith("out"):
            return kernel.storage if kernel.outputs[int(name.removeprefix("out"))].span is Span.ELEMENT else "f64"
        return compute

    return {name: _POINTERS[storage(name)] for name in parameters(kernel)[0]}
