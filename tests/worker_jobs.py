"""What tests of `gp.workers` have workers do."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any


def echo(value: Any) -> Any:
    return value


def process() -> int:
    return os.getpid()


def environment(name: str) -> str | None:
    return os.environ.get(name)


def imported(*modules: str) -> list[str]:
    """Which of the modules the worker has imported."""
    return [m for m in modules if m in sys.modules]


def fail(message: str) -> None:
    raise KeyError(message)


def leave(status: int) -> None:
    os._exit(status)


def die_at_first(file: Path, times: int) -> str:
    """Is killed the first so many times, counted in a file."""
    with file.open("a") as count:
        count.write("x")
    if file.stat().st_size <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def prepare_to_die() -> None:
    die_at_first(Path(os.environ["DEATHS"]), 2)


def crash() -> None:
    ctypes.string_at(0)


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def place_after(seconds: float, place: str) -> str:
    time.sleep(seconds)
    return place


def leave_place(status: int, place: str) -> None:
    os._exit(status)


def note_process_and_sleep(file: Path, seconds: float) -> None:
    file.write_text(str(os.getpid()))
    time.sleep(seconds)


def sleep_deaf(seconds: float) -> None:
    """In native code that holds the interpreter, with all signals blocked that can be."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(int(seconds))


def fill_array(size: int) -> int:
    import numpy as np

    return int(np.ones(size, np.uint8).sum(dtype=np.int64))


def fill_list(size: int) -> int:
    return sum(map(len, [bytes([k % 256]) * 10_000 for k in range(size // 10_000)]))


def fill_in_c(size: int) -> int:
    """Writes where malloc says, without looking whether it says nowhere."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    library.free.argtypes = (ctypes.c_void_p,)
    memory = library.malloc(ctypes.c_size_t(size))
    library.memset(memory, 1, size)
    library.free(memory)
    return size


def make_bytes(size: int) -> bytes:
    return bytes(size)


def make_function() -> Any:
    return lambda: None


class Unreadable:
    """What can be pickled, but not read again, as a function of the script that was started."""

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return int, ("no number",)


def prepare_slowly() -> None:
    time.sleep(1.0)
    os.environ["PREPARED"] = "yes"


def prepare_much() -> None:
    """Takes 400 MB, and gives them back."""
    fill_list(400_000_000)
    os.environ["PREPARED"] = "yes"


def prepare_with_little() -> None:
    """As where the system itself allows no more than 200 MB."""
    resource.setrlimit(resource.RLIMIT_DATA, (200_000_000, 200_000_000))


def prepare_wrongly() -> None:
    raise SystemExit(7)


def prepare_without_a_library() -> None:
    raise OSError("libnothing.so: cannot open shared object file")


def prepare_without_memory() -> None:
    """As a library says it that has no room."""
    raise ImportError("libnothing.so: failed to map segment from shared object")


def lack_memory() -> None:
    try:
        prepare_without_memory()
    except ImportError as error:
        raise RuntimeError("no such luck") from error
