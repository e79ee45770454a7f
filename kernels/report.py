"""What the compiler made of a kernel, read off its machine code: registers, spills, width of memory accesses, instruction count.

Nothing is run, so this works for every target on any machine. NVIDIA numbers come from `cuobjdump` (which Triton ships) on the
cubin and from the PTX, AMD ones from the assembly and the metadata at its end.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from triton import knobs

from codegen.kernel import Kernel
from kernels.triton_compiler import Compiled, compile_offline

_PTX_ACCESS: Final = re.compile(r"\b(ld|st)\.global(?:\.(?!v\d|[bfsu]\d)\w+)*(?:\.v(\d))?\.[bfsu](\d+)")
_AMD_ACCESS: Final = re.compile(r"\b(?:global|buffer|flat)_(load|store)_(\w+)")
_AMD_BITS: Final = {"dword": 32, "dwordx2": 64, "dwordx3": 96, "dwordx4": 128, "byte": 8, "ubyte": 8, "short": 16, "ushort": 16}
_SASS_LINE: Final = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(.*?);")


@dataclass(frozen=True, slots=True)
class Report:
    """Static properties of one compiled kernel.

    `registers`: 32-bit registers a thread (AMD: vector ones). `spills`: registers spilled (AMD), or local memory loads and stores
    in the code (NVIDIA). `local_bytes`: local (AMD: private) memory a thread. `load_bits`, `store_bits`: the widths of one thread's
    accesses to global memory, each once, ascending. `instructions`: machine instructions of the whole kernel, without padding;
    `instructions_per_element` divides them by the elements of a thread, so that per-program work is in it too.
    """

    target: str
    registers: int
    spills: int
    local_bytes: int
    load_bits: tuple[int, ...]
    store_bits: tuple[int, ...]
    instructions: int
    elements_per_thread: int
    asm: Mapping[str, str] = field(repr=False)  # "ttir", "ttgir", "llir", then "ptx" and "sass", or "amdgcn"

    @property
    def instructions_per_element(self) -> float:
        return self.instructions / self.elements_per_thread


def static_report(kernel: Kernel, target: str) -> Report:
    """Compile for a target (see `compile_offline`) and read the result."""
    compiled = compile_offline(kernel, target)
    asm = {stage: text for stage, text in compiled.asm.items() if isinstance(text, str)}
    elements = compiled.tile.rows * compiled.tile.channels // (compiled.tile.num_warps * compiled.target.warp_size)
    read = _read_nvidia if compiled.target.backend == "cuda" else _read_amd
    return read(target, compiled, asm, elements)


def _read_nvidia(target: str, compiled: Compiled, asm: dict[str, str], elements: int) -> Report:
    cubin = compiled.asm["cubin"]
    assert isinstance(cubin, bytes)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        asm["sass"] = _cuobjdump("-sass", file.name)
        usage = _cuobjdump("-res-usage", file.name)
    lines = _SASS_LINE.findall(asm["sass"])
    # The code ends in an endless branch to itself and NOPs, up to a multiple of the fetch size.
    end = max(i for i, line in enumerate(lines) if not line.startswith(("NOP", "BRA"))) + 1
    local = sum(line.split()[line.startswith("@")].startswith(("LDL", "STL")) for line in lines)
    return Report(
        target=target,
        registers=_number(r"REG:(\d+)", usage),
        spills=local,
        local_bytes=_number(r"LOCAL:(\d+)", usage) + _number(r"STACK:(\d+)", usage),
        load_bits=_widths("ld", [(kind, int(vector or 1) * int(bits)) for kind, vector, bits in _PTX_ACCESS.findall(asm["ptx"])]),
        store_bits=_widths("st", [(kind, int(vector or 1) * int(bits)) for kind, vector, bits in _PTX_ACCESS.findall(asm["ptx"])]),
        instructions=end,
        elements_per_thread=elements,
        asm=asm,
    )


def _read_amd(target: str, compiled: Compiled, asm: dict[str, str], elements: int) -> Report:
    text = asm["amdgcn"]
    accesses = [(kind, _AMD_BITS[width]) for kind, width in _AMD_ACCESS.findall(text)]
    code = text[: text.index(".Lfunc_end0")]
    return Report(
        target=target,
        registers=_number(r"\.vgpr_count:\s+(\d+)", text),
        spills=_number(r"\.vgpr_spill_count:\s+(\d+)", text) + _number(r"\.sgpr_spill_count:\s+(\d+)", text),
        local_bytes=_number(r"\.private_segment_fixed_size:\s+(\d+)", text),
        load_bits=_widths("load", accesses),
        store_bits=_widths("store", accesses),
        instructions=len(re.findall(r"^\t(?:v|s|ds|global|buffer|flat|scratch)_\w+", code, flags=re.MULTILINE)),
        elements_per_thread=elements,
        asm=asm,
    )


def _cuobjdump(option: str, path: str) -> str:
    return subprocess.run([knobs.nvidia.cuobjdump.path, option, path], check=True, capture_output=True, text=True).stdout


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"the compiler's output has no {pattern!r}")
    return int(match.group(1))


def _widths(kind: str, accesses: list[tuple[str, int]]) -> tuple[int, ...]:
    return tuple(sorted({bits for name, bits in accesses if name == kind}))
