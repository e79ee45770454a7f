"""From LLVM text to machine code in memory: text -> object code (which can be kept on disk) -> `Code`, which is held while it may run."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import llvmlite
import llvmlite.binding as llvm

from kernels.cache import DiskCache
from kernels.host import Host, host

# The two levels of LLVM's code generator that are worth having, measured on Zen 4 over the forward and backward kernels of 100 random
# programs of 10 to 30 operators (330 instructions): level 0 takes 7.2 ms a kernel and level 1 16.7. Code of level 0 takes 1.1 to
# 1.5 times as long as that of level 1: 8.7 us against 5.8 for a silu of 16,384 elements. Levels 2 and 3 give the code of level 1.
FAST: Final = 0
THOROUGH: Final = 1

# A linker keeps 10 kB of each library that it has linked, also when that is unloaded, and looks through all their names before it links
# another. So the next one takes over after this many, and a linker goes with the last of its libraries. To make one takes 0.6 ms.
_LIBRARIES: Final = 32


@dataclass(frozen=True, slots=True)
class Code:
    """A function of machine code, which is in memory as long as this object lives. Who may call the address holds the object."""

    address: int
    _library: Any = field(repr=False)


def compile_ir(ir: str, names: Sequence[str], tier: int = THOROUGH) -> bytes:
    """Object code of the text for this machine, made by that tier; the functions `names` must be defined in it.

    Raises RuntimeError, with LLVM's message, when the text is not valid, and ValueError when a function is missing.
    """
    module = _parse(ir)
    defined = {f.name for f in module.functions if not f.is_declaration}
    if not defined.issuperset(names):
        raise ValueError(f"not defined: {sorted(set(names) - defined)}")
    return bytes(_machine(host(), tier).emit_object(module))


def load_object(payload: bytes, name: str) -> Code:
    """Put object code in memory, and give its function of that name.

    What it calls is looked up in this process, where Python has loaded the mathematics library.
    """
    library = _loader().link(llvm.JITLibraryBuilder().add_object_img(payload).add_current_process().export_symbol(name))
    return Code(library[name], library)


def load_ir(ir: str, name: str, cache: DiskCache) -> Code:
    """The function of that name of the text, which is compiled unless the cache has it."""
    key = f"{target_fingerprint()}\n{ir}"
    payload = cache.get(key)
    if payload is None:
        payload = compile_ir(ir, [name])
        cache.put(key, payload)
    return load_object(payload, name)


def assembly(ir: str, target: Host | None = None) -> str:
    """The assembly language of the text, for this machine or another target."""
    return str(_machine(target or host(), THOROUGH).emit_assembly(_parse(ir)))


@functools.cache
def target_fingerprint() -> str:
    """All that object code depends on besides the text."""
    version = ".".join(map(str, llvm.llvm_version_info))
    machine = host()
    return f"llvmlite {llvmlite.__version__} llvm {version} {machine.triple} {machine.cpu} {machine.features}"


def _parse(ir: str) -> Any:
    module = llvm.parse_assembly(ir)
    module.verify()
    return module


@functools.cache
def _machine(target: Host, tier: int) -> Any:
    if target == host():
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    else:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    chosen = llvm.Target.from_triple(target.triple)
    return chosen.create_target_machine(cpu=target.cpu, features=target.features, opt=tier, reloc="pic")


class _Loader:
    """Links libraries into this process, `_LIBRARIES` of them with each linker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # llvmlite serialises its own calls; this is for the names
        self._linked = 0
        self._linker: Any = None

    def link(self, library: Any) -> Any:
        """The library's tracker, which holds it in memory, and its linker too."""
        with self._lock:
            if self._linked % _LIBRARIES == 0:
                # JITLink places code and constants together, in reach of each other, and takes 0.17 ms a kernel where RuntimeDyld
                # takes 0.33.
                self._linker = llvm.create_lljit_compiler(_machine(host(), THOROUGH), use_jit_link=True)
            self._linked += 1
            return library.link(self._linker, f"library{self._linked}")


@functools.cache
def _loader() -> _Loader:
    return _Loader()
