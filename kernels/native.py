"""A function of some order as machine code for this CPU: from the graph to code in memory, kept in memory and on disk, without torch.

Kernels are keyed by structure: programs that differ in constants alone share them. What the disk holds is enough to run without
building derivative or kernel source again: object code, and the description of each stage as JSON.

Code is made in two tiers. `FAST` compiles in less than half of the time and runs within 1.1 to 1.5 times the time of `THOROUGH`
(figures in `kernels.llvm_compiler`); both round alike, so a caller may change over at any time without changing a bit.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from codegen.function import Activation
from codegen.instructions import Span
from codegen.kernel import Input, Kernel, Output, Storage
from codegen.llvm import print_kernel
from codegen.plan import Plan
from codegen.structure import Tape, evaluate_tape
from kernels.cache import default_cache
from kernels.fingerprint import fingerprint
from kernels.host import host
from kernels.llvm_compiler import FAST, THOROUGH, Code, compile_ir, load_object, target_fingerprint
from kernels.programs import make_plan
from kernels.recent import Recent

# Elements after which a function gets the thorough tier: whoever runs it on so many trains with it, and will run it on many more. It
# takes 10 ms and pays after some 30 million elements, for it saves 0.2 to 0.5 ns each.
WORTHWHILE: Final = 1 << 20
# Instructions of a kernel, constants included, up to which four and two vectors go through its loop together.
_SHORT: Final = 120
_LONG: Final = 250
_MOST_LANES: Final = 64  # that a kernel can be printed for
Constants = Callable[[tuple[float, ...]], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class NativeStage:
    """One kernel: what it reads and writes, its code (`codegen.llvm_arguments` says how to call it), and its constants.

    `constants` gives the values of the inputs `constant.0`, `constant.1`, ... for a program's constants.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    constants: Constants
    code: Code


@dataclass(frozen=True, slots=True)
class NativeFunction:
    """The stages of a function, which run in order, and the tier of their code."""

    stages: tuple[NativeStage, ...]
    tier: int


class Counters:
    """How often a function was asked for, found in memory, found on disk and compiled, in this process."""

    def __init__(self) -> None:
        self.memory = self.disk = self.compiled = 0


counters: Final = Counters()
_memory: Recent[tuple[str, int, Storage], NativeFunction] = Recent()


def native(function: Activation, order: int, storage: Storage, tier: int = FAST) -> NativeFunction:
    """The function's derivative of that order (0: itself) as code of at least that tier. See `codegen.function` for inputs and results."""
    return known(function, order, storage, tier) or _made(function, order, storage, tier)


def known(function: Activation, order: int, storage: Storage, tier: int) -> NativeFunction | None:
    """What `native` gives, if it needs no compiling."""
    found = _memory.get((function.key, order, storage))
    if found is not None and found.tier >= tier:
        counters.memory += 1
        return found
    entry = default_cache().get(_key(function, order, storage))
    if entry is not None:
        header, code = entry.split(b"\n", 1)
        description = json.loads(header)
        if description["tier"] >= tier:
            counters.disk += 1
            return _memory.put((function.key, order, storage), _load(description, code))
    return None


def _made(function: Activation, order: int, storage: Storage, tier: int) -> NativeFunction:
    description, code = _compile(make_plan(function, order, storage), tier)
    default_cache().put(_key(function, order, storage), b"\n".join([json.dumps(description).encode(), code]))
    counters.compiled += 1
    return _memory.put((function.key, order, storage), _load(description, code))


def _key(function: Activation, order: int, storage: Storage) -> str:
    return f"{fingerprint('codegen')}\n{target_fingerprint()}\norder {order} {storage}\n{function.key}"


def native_ir(kernel: Kernel, tier: int = THOROUGH) -> str:
    """The kernel as LLVM text for this machine."""
    lanes = min(host().lanes * (_unrolled(kernel) if tier >= THOROUGH else 1), _MOST_LANES)
    return print_kernel(replace(kernel, storage=host().storage(kernel.storage)), lanes, host().triple)


def _unrolled(kernel: Kernel) -> int:
    """How many vectors go through the loop together; one, where there are sums whose order that would change.

    Four of a mish of 1,048,576 elements take 280 us forward and 420 backward instead of 334 and 524; a longer body does not fit into
    the registers so often (two threads of a Zen 4).
    """
    if any(o.span in (Span.SCALAR, Span.ROW) for o in kernel.outputs):
        return 1
    size = len(kernel.live())
    return 4 if size <= _SHORT else 2 if size <= _LONG else 1


def _compile(kernels: Plan, tier: int) -> tuple[dict[str, Any], bytes]:
    """The description of the stages, and their object codes, one after another."""
    objects = [compile_ir(native_ir(stage.kernel, tier), [stage.kernel.name], tier) for stage in kernels.stages]
    stages = [
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
    return {"tier": tier, "stages": stages}, b"".join(objects)


def _load(description: dict[str, Any], code: bytes) -> NativeFunction:
    stages = []
    for item in description["stages"]:
        inputs = tuple(Input(name, Span(span), source, shift) for name, span, source, shift in item["inputs"])
        outputs = tuple(Output(name, Span(span), index) for name, span, index in item["outputs"])
        loaded = load_object(code[: item["size"]], item["name"])
        code = code[item["size"] :]
        tape: Tape = tuple((name, attribute, tuple(args)) for name, attribute, args in item["tape"])
        stages.append(NativeStage(inputs, outputs, constants_of(tape, item["roots"]), loaded))
    return NativeFunction(tuple(stages), description["tier"])


def constants_of(tape: Tape, roots: Sequence[int]) -> Constants:
    """`evaluate_tape` as a function of the slots, remembered: a program is launched many times with the same constants."""

    @functools.lru_cache(maxsize=64)
    def constants(slots: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(evaluate_tape(tape, roots, slots))

    return constants
