"""The machine that CPU kernels are compiled for."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import llvmlite.binding as llvm

from codegen.kernel import Storage


@dataclass(frozen=True, slots=True)
class Host:
    """A target of LLVM: `features` is a comma-separated list such as "+avx2,+fma". Make one by hand to print for another machine."""

    triple: str
    cpu: str
    features: str

    @property
    def lanes(self) -> int:
        """How many float32 numbers fit in a vector register (4 is SSE and NEON)."""
        names = set(self.features.split(","))
        if "+avx512f" in names:
            return 16
        return 8 if "+avx" in names else 4

    def storage(self, wanted: Storage) -> Storage:
        """What a kernel for tensors of type `wanted` reads and writes: x86 without F16C has no float16 and takes float32."""
        x86 = self.triple.startswith(("x86", "i386", "i486", "i586", "i686"))
        return "f32" if wanted == "f16" and x86 and "+f16c" not in self.features.split(",") else wanted


@functools.cache
def host() -> Host:
    """The machine that this process runs on."""
    return Host(llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
