"""From LLVM text to machine code in memory: text -> object code (which can be kept on disk) -> addresses."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Sequence
from typing import Any, Final

import llvmlite
import llvmlite.binding as llvm

from kernels.cache import DiskCache
from kernels.host import Host, host

# Measured on Zen 4 with a silu of 44 instructions (and its third iterate, 96): level 0 takes 1.9 ms (4.0) to compile and 8.7 us
# (27.9) for 16,384 elements, level 1 takes 7.7 ms (8.3) and 5.8 us (26.4), level 2 takes 9.9 ms (9.1) and is no faster. Level 3
# gives the code of level 2.
_OPTIMISATION_LEVEL: Final = 1

_serial: Final = itertools.count()
_lock: Final = threading.Lock()  # llvmlite serialises its own calls; this is for the one linker
_libraries: Final[list[Any]] = []  # code stays in memory as long as its library's tracker lives


def compile_ir(ir: str, names: Sequence[str]) -> bytes:
    """Object code of the text for this machine; the functions `names` must be defined in it.

    Raises RuntimeError, with LLVM's message, when the text is not valid, and ValueError when a function is missing.
    """
    module = _parse(ir)
    defined = {f.name for f in module.functions if not f.is_declaration}
    if not defined.issuperset(names):
        raise ValueError(f"not defined: {sorted(set(names) - defined)}")
    return bytes(_machine(host()).emit_object(module))


def load_object(payload: bytes, names: Sequence[str]) -> dict[str, int]:
    """Put object code in memory, for as long as the process runs, and give the addresses of `names`.

    What it calls is looked up in this process, where Python has loaded the mathematics library.
    """
    builder = llvm.JITLibraryBuilder().add_object_img(payload).add_current_process()
    for name in names:
        builder.export_symbol(name)
    with _lock:
        tracker = builder.link(_linker(), f"library{next(_serial)}")
        _libraries.append(tracker)
    return {name: tracker[name] for name in names}


def load_ir(ir: str, names: Sequence[str], cache: DiskCache) -> dict[str, int]:
    """The addresses of the functions `names` of the text, which is compiled unless the cache has it."""
    key = f"{target_fingerprint()}\n{ir}"
    payload = cache.get(key)
    if payload is None:
        payload = compile_ir(ir, names)
        cache.put(key, payload)
    return load_object(payload, names)


def assembly(ir: str, target: Host | None = None) -> str:
    """The assembly language of the text, for this machine or another target."""
    return str(_machine(target or host()).emit_assembly(_parse(ir)))


@functools.cache
def target_fingerprint() -> str:
    """All that object code depends on besides the text."""
    version = ".".join(map(str, llvm.llvm_version_info))
    machine = host()
    return f"llvmlite {llvmlite.__version__} llvm {version} O{_OPTIMISATION_LEVEL} {machine.triple} {machine.cpu} {machine.features}"


def _parse(ir: str) -> Any:
    module = llvm.parse_assembly(ir)
    module.verify()
    return module


@functools.cache
def _machine(target: Host) -> Any:
    if target == host():
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    else:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    chosen = llvm.Target.from_triple(target.triple)
    return chosen.create_target_machine(cpu=target.cpu, features=target.features, opt=_OPTIMISATION_LEVEL, reloc="pic")


@functools.cache
def _linker() -> Any:
    # JITLink places code and constants together, in reach of each other, and takes 0.17 ms a kernel where RuntimeDyld takes 0.33.
    return llvm.create_lljit_compiler(_machine(host()), use_jit_link=True)
