"""What the compiler made of a kernel, read off its machine code: registers, spills, width of memory accesses, instructions by kind.

Nothing is run, so this works for every target on any machine. NVIDIA numbers come from `cuobjdump` (which Triton ships) on the
cubin and from the PTX, AMD ones from the assembly and the metadata at its end.

Counts are static: an instruction in a loop counts once, and so does one on a path that is seldom taken, such as the division of
float32 numbers whose quotient is near the ends of the range.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from triton import knobs

from codegen.kernel import Kernel
from kernels.gpus import BY_TARGET
from kernels.triton_compiler import TARGETS, compile_offline

_PTX_ACCESS: Final = re.compile(r"\b(ld|st)\.global(?:\.(?!v\d|[bfsu]\d)\w+)*(?:\.v(\d))?\.[bfsu](\d+)")
_AMD_ACCESS: Final = re.compile(r"\b(?:global|buffer|flat)_(load|store)_(\w+)")
_AMD_BITS: Final = {"dword": 32, "dwordx2": 64, "dwordx3": 96, "dwordx4": 128, "byte": 8, "ubyte": 8, "short": 16, "ushort": 16}
_SASS_LINE: Final = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@\S+\s+)?(\w+)[^;]*;")  # without what follows a point
_AMD_END: Final = re.compile(r"^\.Lfunc_end\d+:", flags=re.MULTILINE)
_AMD_LINE: Final = re.compile(r"^\t((?:v|s|ds|global|buffer|flat|scratch)_\w+)", flags=re.MULTILINE)

# The kind of an instruction is the first whose pattern is its mnemonic: on NVIDIA up to the first point, on AMD without the encoding
# (_e32, _e64). What is in no row is INTEGER: integer arithmetic, logic, comparisons, selections and moves. By unit, as in Nsight Compute's
# Kernel Profiling Guide: SPECIAL is XU, which also converts numbers, and integer multiply-add runs where float32 does.
FP32, INTEGER, SPECIAL, FP64, MEMORY, OTHER = KINDS = ("fp32", "integer", "special", "fp64", "memory", "other")
_SASS_KINDS: Final = {
    SPECIAL: r"MUFU|F2F|F2I|I2F|FRND",
    FP64: r"DADD|DMUL|DFMA|DSETP|DMNMX",
    MEMORY: r"LDG|STG|LD|ST|ATOMG?|RED|REDG",
    FP32: r"F(ADD|MUL|FMA)(2|32I)?|IMAD|H(ADD|MUL|FMA)2",
    # Control flow, the uniform datapath (one result a warp), constants, shared and local memory.
    OTHER: r"BRA|BRX|BSSY|BSYNC|BREAK|CALL|RET|EXIT|NOP|WARPSYNC|BAR|MEMBAR|DEPBAR|ERRBAR|CCTL|YIELD|S2R|S2UR|CS2R|R2UR|VOTEU?|U.+"
    r"|LDC|LDCU|LDS|STS|LDL|STL|SHFL",
}
_AMD_KINDS: Final = {
    FP64: r"v_\w*f64(_\w+)?",
    SPECIAL: r"v_(exp|log|rcp|rcp_iflag|rsq|sqrt|sin|cos)_f(32|16)",
    MEMORY: r"(global|buffer|flat)_\w+",
    FP32: r"v_(pk_)?(add|sub|subrev|mul|fma|fmac|fmaak|fmamk|mac|mad)_(legacy_)?f32|v_div_(scale|fmas|fixup)_f32",
    OTHER: r"(s|ds|scratch)_\w+",
}


class HasCode(Protocol):
    """What `triton.compile` gives, and `kernels.triton_compiler.Compiled`."""

    @property
    def asm(self) -> Mapping[str, str | bytes]: ...
    @property
    def metadata(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Report:
    """Static properties of one compiled kernel.

    `registers`: 32-bit registers a thread (AMD: vector ones). `scalar_registers`: of a wave (AMD; 0 elsewhere). `spills`: local memory
    loads and stores in the code (NVIDIA), or registers spilled (AMD); with no local memory those are scalar ones, kept in lanes of a
    vector register. `local_bytes`: local (AMD: private) memory a thread. `shared_bytes`: shared memory of a block of `warps` warps.
    `loads`, `stores`: how many accesses to global memory a thread makes, by their width in bits.
    `kinds`: machine instructions of the whole kernel by kind (see `KINDS`), without padding.
    """

    target: str
    registers: int
    scalar_registers: int
    spills: int
    local_bytes: int
    shared_bytes: int
    warps: int
    loads: Mapping[int, int]
    stores: Mapping[int, int]
    kinds: Mapping[str, int]
    elements_per_thread: int
    asm: Mapping[str, str] = field(repr=False)  # "ttir", "ttgir", "llir", then "ptx" and "sass", or "amdgcn"

    @property
    def load_bits(self) -> tuple[int, ...]:
        """The widths of one thread's loads, each once, ascending."""
        return tuple(sorted(self.loads))

    @property
    def store_bits(self) -> tuple[int, ...]:
        """The widths of one thread's stores, each once, ascending."""
        return tuple(sorted(self.stores))

    @property
    def instructions(self) -> int:
        """Machine instructions of the whole kernel, without padding."""
        return sum(self.kinds.values())

    @property
    def instructions_per_element(self) -> float:
        """They over the elements of a thread, so that per-program work is in it too."""
        return self.instructions / self.elements_per_thread

    @property
    def occupancy(self) -> float:
        """Resident warps over the most there can be, on a multiprocessor of the target."""
        return BY_TARGET[self.target].occupancy(self.registers, self.warps, self.shared_bytes, self.scalar_registers)


def static_report(kernel: Kernel, target: str, block: int = 0) -> Report:
    """Compile for a target (see `compile_offline`) and read the result."""
    compiled = compile_offline(kernel, target, block=block)
    elements = compiled.tile.rows * compiled.tile.channels // (compiled.tile.num_warps * compiled.target.warp_size)
    return read(compiled, target, elements)


def read(compiled: HasCode, target: str, elements_per_thread: int) -> Report:
    """The report on anything compiled by Triton for "sm_80", "sm_90", "sm_100" or "gfx942"."""
    asm = {stage: text for stage, text in compiled.asm.items() if isinstance(text, str)}
    nvidia = TARGETS[target].backend == "cuda"
    found = _read_nvidia(asm, compiled.asm["cubin"]) if nvidia else _read_amd(asm["amdgcn"])
    return Report(
        target=target,
        asm=asm,
        elements_per_thread=elements_per_thread,
        warps=compiled.metadata.num_warps,
        shared_bytes=compiled.metadata.shared,
        kinds=kinds(found.pop("code"), target),
        **found,
    )


def _read_nvidia(asm: dict[str, str], cubin: Any) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        asm["sass"] = _cuobjdump("-sass", file.name)
        usage = _cuobjdump("-res-usage", file.name)
    code = _SASS_LINE.findall(asm["sass"])
    # The code ends in an endless branch to itself and NOPs, up to a multiple of the fetch size.
    end = max(i for i, mnemonic in enumerate(code) if mnemonic not in ("NOP", "BRA")) + 1
    accesses = [(kind, int(vector or 1) * int(bits)) for kind, vector, bits in _PTX_ACCESS.findall(asm["ptx"])]
    return {
        "registers": _number(r"REG:(\d+)", usage),
        "scalar_registers": 0,
        "spills": sum(mnemonic in ("LDL", "STL") for mnemonic in code),
        "local_bytes": _number(r"LOCAL:(\d+)", usage) + _number(r"STACK:(\d+)", usage),
        "loads": _widths("ld", accesses),
        "stores": _widths("st", accesses),
        "code": code[:end],
    }


def _read_amd(text: str) -> dict[str, Any]:
    accesses = [(kind, _AMD_BITS[width]) for kind, width in _AMD_ACCESS.findall(text)]
    code = _AMD_LINE.findall(text[: [end.start() for end in _AMD_END.finditer(text)][-1]])  # a group's kernel has functions before it
    return {
        "registers": _number(r"\.vgpr_count:\s+(\d+)", text),
        "scalar_registers": _number(r"\.sgpr_count:\s+(\d+)", text),
        "spills": _number(r"\.vgpr_spill_count:\s+(\d+)", text) + _number(r"\.sgpr_spill_count:\s+(\d+)", text),
        "local_bytes": _number(r"\.private_segment_fixed_size:\s+(\d+)", text),
        "loads": _widths("load", accesses),
        "stores": _widths("store", accesses),
        "code": code,
    }


def kinds(code: Iterable[str], target: str) -> dict[str, int]:
    """How many instructions are of which kind, by their mnemonics for that target (on NVIDIA without what follows a point)."""
    nvidia = TARGETS[target].backend == "cuda"
    counts = dict.fromkeys(KINDS, 0)
    for mnemonic, count in Counter(code).items():
        name = mnemonic if nvidia else re.sub("_(e32|e64|dpp|sdwa)$", "", mnemonic)
        patterns = _SASS_KINDS if nvidia else _AMD_KINDS
        counts[next((kind for kind, pattern in patterns.items() if re.fullmatch(pattern, name)), INTEGER)] += count
    return counts


def _cuobjdump(option: str, path: str) -> str:
    return subprocess.run([knobs.nvidia.cuobjdump.path, option, path], check=True, capture_output=True, text=True).stdout


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"the compiler's output has no {pattern!r}")
    return int(match.group(1))


def _widths(kind: str, accesses: list[tuple[str, int]]) -> dict[int, int]:
    return dict(Counter(bits for name, bits in accesses if name == kind))
