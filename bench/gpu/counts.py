"""Instructions that a thread of a GPU kernel issues for one element, from machine code that is compiled offline for a target.

They are counted on the shortest way through the code (`bench.gpu_functions.shortest`): the branches for rare arguments are not taken. For
that, kernels are compiled without the mask that guards the end of a tensor, since on AMD the shortest way is the one that skips everything.

A group's kernel has loops and calls, and its static count is not what runs. So each expression is compiled as a group of its own whose
loops run once: what that has more than the group of `x` alone are its own instructions for one element. To them are added the functions
that it calls, each once a call, an equal share of what a tile costs, the moves that turn the elements of a thread, and the branches to a
member of a group of `kernels.grouping.SIZE`. Left out: that the code of a member may be another beside others, and spills. Slightly too
much: what a program does once with the constants of its slice counts for each element.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import triton
from triton import knobs
from triton.compiler import ASTSource

from bench import gpu_functions
from bench.gpu_functions import shortest
from bench.gpu_static import versions
from codegen.function import Activation
from codegen.group import GroupStage, group
from codegen.group_body import PACK, body_name
from codegen.group_triton import pointers, print_group, sizes
from codegen.instructions import Span
from codegen.kernel import Kernel, Storage
from codegen.outline import function_body
from codegen.triton import parameters, print_kernel
from kernels.cache import default_cache
from kernels.fingerprint import fingerprint
from kernels.group_compiler import group_tile, pointer_type, tile_constants
from kernels.group_flow import CompiledGroup
from kernels.grouping import SIZE
from kernels.programs import SLOPE, make_plan, program
from kernels.report import FP32, INTEGER, KINDS, MEMORY, OTHER, kinds, read
from kernels.triton_compiler import NUM_WARPS, TARGETS, choose_tile, compile_options, load_function, pointer_types, without_line_numbers

Counts = dict[str, float]
_ALIGNED: Final = [["tt.divisibility", 16]]
_BRANCHES: Final = math.ceil(math.log2(SIZE))


def kernel_counts(kernel: Kernel, target: str, block: int = 0) -> Counts:
    """Instructions by kind (`kernels.report.KINDS`) for one element of a flat kernel; what it does once a program is shared by elements.

    `block`: elements of a program; 0 is what the launcher takes. KeyError for another target than those of `kernels.gpus`.
    """
    gpu = TARGETS[target]
    tile = choose_tile(kernel, gpu.warp_size, block=block)
    text = _unmasked(print_kernel(kernel))
    _, run_time, _ = parameters(kernel)
    signature = pointer_types(kernel) | dict.fromkeys(run_time, "i32") | {"BLOCK": "constexpr"}
    elements = tile.channels // (tile.num_warps * gpu.warp_size)

    def make() -> Counts:
        way = _way(load_function(kernel, text), signature, tile.constants(kernel), target, elements)
        return {kind: number / elements for kind, number in way.items()}

    return _kept(f"{text} {tile} {target}", make)


def keep(text: str, storage: Storage | None, target: str) -> int:
    """Count a function's kernels, or where there is no type the function as a member of a group; how many there were."""
    if storage is None:
        member_counts(program(text), target)
        return 1
    stages = [stage for order in (0, 1) for stage in make_plan(program(text), order, storage).stages]
    for stage in stages:
        kernel_counts(stage.kernel, target)
    return len(stages)


def member_counts(function: Activation, target: str) -> Counts:
    """Instructions by kind for one element of a function of x alone, as a member of a group that computes value and slope."""
    own, tile = _once(function, target), _once(program("x"), target)
    stage = _stage(function)
    kernel = stage.members[0].kernel
    found = {kind: own[kind] - tile[kind] + tile[kind] / PACK for kind in KINDS}
    found[MEMORY] = tile[MEMORY] / PACK  # what else it reads are constants, once a program
    # Of each tensor that goes around, PACK registers move one place; ptxas makes these moves half IMAD, half MOV.
    moves = PACK * stage.outputs[Span.ELEMENT]
    found[FP32] += moves / 2
    found[INTEGER] += moves / 2
    # The way to a member of a group: at each branch a comparison and a jump.
    found[INTEGER] += _BRANCHES
    found[OTHER] += _BRANCHES
    for index in kernel.live():
        instruction = kernel.block.instructions[index]
        if instruction.opcode == "apply":
            called = _function_counts(str(instruction.attribute), target)
            found = {kind: found[kind] + called[kind] for kind in KINDS}
            found[OTHER] += 1  # the return; the call is in the code of the expression
    return found


def _function_counts(name: str, target: str) -> Counts:
    """What a function that is called costs: its kernel, without what a copy costs."""
    whole, copy = kernel_counts(function_body(name), target), kernel_counts(make_plan(program("x"), 0, "f32").stages[-1].kernel, target)
    return {kind: max(0.0, whole[kind] - copy[kind]) for kind in KINDS}


def _stage(function: Activation) -> GroupStage:
    plan = make_plan(function, SLOPE, "f32", outlined=True)
    return group("slope", [plan], [function.parameters]).stages[-1]


def _once(function: Activation, target: str) -> Counts:
    """The way through the kernel of a group of one, for one tile and one turn."""
    stage = _stage(function)

    def once(text: str) -> str:
        return _unmasked(text).replace(", turns, pack", ", tl.full((), 1, tl.int32), pack")

    tile = group_tile(stage, TARGETS[target].warp_size, channels=32)

    def make() -> Counts:
        run_time, compile_time = sizes(stage)
        signature = {name: pointer_type(name) for name in pointers(stage)} | dict.fromkeys(run_time, "i32")
        signature |= dict.fromkeys([*compile_time, "tiles"], "constexpr")
        constants = tile_constants(stage, tile) | {"tiles": 1}
        made = CompiledGroup(stage, once)
        with made.running(keep_stages=True):
            return _way(made.function, signature, constants, target, PACK)

    text = once(print_group(stage, body_name(stage)))
    return _kept(f"{text} {fingerprint('codegen', 'kernels')} {tile} {target} once", make)


def _unmasked(text: str) -> str:
    return text.replace(", mask)", ")")


def _way(function: Any, signature: Mapping[str, str], constants: Mapping[str, int], target: str, elements: int) -> Counts:
    """Compile, and count by kind what is on the shortest way."""
    gpu = TARGETS[target]
    aligned = {(i,): _ALIGNED for i, (name, kind) in enumerate(signature.items()) if kind.startswith("*") or name == "n"}
    source = ASTSource(function, dict(signature), constexprs=dict(constants), attrs=aligned)
    with tempfile.TemporaryDirectory() as folder, knobs.cache.scope(), without_line_numbers():
        knobs.cache.dir = folder  # Triton's own would keep a megabyte a kernel for nothing
        compiled = triton.compile(source, target=gpu, options={"num_warps": NUM_WARPS, **compile_options(gpu)})
    report = read(compiled, target, elements)
    if "amdgcn" in report.asm:
        report = replace(report, asm={"amdgcn": _kernel_alone(report.asm["amdgcn"], compiled.metadata.name)})
    return {kind: float(number) for kind, number in kinds(shortest(report), target).items()}


def _kernel_alone(text: str, name: str) -> str:
    """The kernel's own assembly, without the functions that stand before it; its end is called as if it were the first one."""
    text = text[text.index(f"\n{name}:") :]
    begin = text.index(".Lfunc_end")
    return f"{text[:begin]}.Lfunc_end0:\n"


def _kept(key: str, make: Callable[[], Counts]) -> Counts:
    """From the cache of compiled code, or made; it is another key when a compiler or what reads its code changes."""
    readers = b"".join(Path(str(file)).read_bytes() for file in (__file__, gpu_functions.__file__))
    name = f"gpu_counts {versions()} {hashlib.sha256(readers).hexdigest()} {key}"
    found = default_cache().get(name)
    if found is None:
        found = json.dumps(make()).encode()
        default_cache().put(name, found)
    counts: Counts = json.loads(found)
    return counts
