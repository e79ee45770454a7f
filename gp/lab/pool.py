"""Where candidates are trained: by processes on the CPU, each with one candidate and one seed at a time, or on GPUs, each with many."""

from __future__ import annotations

import contextlib
import math
import pickle
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Final, Self

from gp.lab.devices import AUTO, CPU, DeviceError, resolve
from gp.lab.measure import Backend, Method, SeedResult
from gp.lab.protocol import Measurement
from gp.workers import Failure, Job, Workers
from kernels.cache import default_cache, numba_entries
from kernels.host import host

Tasks = Sequence[tuple[str, int]]
_EAGER_LIMIT: Final = 100.0  # times as long as compiled code may take
# Tasks of a chunk at most. The lab's 42 networks for each of 256 candidates have 22 million hidden values in a layer; to read and write
# them takes an H100 0.1 ms, and to launch a kernel 3 us, so more at a time would gain nothing. What is lost with a worker stays small.
_CHUNK: Final = 256
# Seconds that a chunk may take: for a new process with torch and a context, for the kernels of a task, and what one task may take.
_START: Final = 60.0
_KERNELS: Final = 2.0
_CHECK_LIMIT: Final = 180.0  # where nothing is in any cache yet, numba alone needs 10


class Pool(ABC):
    """Worker processes, in a context. `device` is what they train on, by the names of `gp.lab.devices`, and `hardware` what that is;
    `method` is how."""

    device: str
    hardware: str
    method: Method
    workers: Workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.workers.__exit__(kind, error, trace)

    @abstractmethod
    def measure(self, tasks: Tasks, what: Measurement) -> Generator[tuple[int, SeedResult | Failure]]:
        """(number of the task, its result) for programs, each with a seed, as they come. A caller may stop early: jobs in hand are then
        dropped."""


class CpuPool(Pool):
    """So many processes with one thread; each may take `memory` bytes, or any number if that is 0."""

    def __init__(self, workers: int = 1, memory: int = 0, backend: Backend = "compiled") -> None:
        self.device, self.hardware, self.method = CPU, host().cpu, backend
        self.workers = Workers(workers, prepare="gp.lab.measure:prepare" if backend == "compiled" else "", memory=memory)
        self._backend: Backend = backend

    def measure(self, tasks: Tasks, what: Measurement) -> Generator[tuple[int, SeedResult | Failure]]:
        packed = pickle.dumps(what)
        limit = what.limit * (_EAGER_LIMIT if self._backend == "eager" else 1.0)
        return self.workers.run(Job("gp.lab.measure:measure_packed", (text, packed, seed, self._backend), limit) for text, seed in tasks)


class GpuPool(Pool):
    """A process for each GPU. Their memory is not limited: CUDA reserves addresses for that of all GPUs.

    Where a chunk fails as a whole, because a kernel cannot be compiled, a GPU or its driver fails or time is over, its halves are tried
    again, down to the one task that is to blame.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self.device, self.hardware, self.method = ",".join(devices), "", "batched"
        self.workers = Workers(len(devices), places=devices)
        self._devices = tuple(devices)

    def check(self) -> None:
        """Let each GPU train what the CPU trains too (`gp.lab.chunks.check`). Raises DeviceError for one that does not do the same."""
        # New workers get places and jobs in the same order.
        names = dict(self.workers.run([Job("gp.lab.chunks:check", (), _CHECK_LIMIT) for _ in self._devices]))
        for k, device in enumerate(self._devices):
            if isinstance(names[k], Failure):
                raise DeviceError(f"{device} cannot be used: {names[k].reason}")
        self.hardware = ", ".join(dict.fromkeys(names[k] for k in range(len(names))))

    def measure(self, tasks: Tasks, what: Measurement) -> Generator[tuple[int, SeedResult | Failure]]:
        packed = pickle.dumps(what)
        chunks = cut(tasks, self.workers.count)
        while chunks:
            jobs = [
                Job(
                    "gp.lab.chunks:measure_chunk",
                    (tuple(tasks[k] for k in chunk), packed),
                    _START + _KERNELS * len(chunk) + what.limit,
                )
                for chunk in chunks
            ]
            halves: list[list[int]] = []
            with contextlib.closing(self.workers.run(jobs)) as answers:
                for number, answer in answers:
                    chunk = chunks[number]
                    if not isinstance(answer, Failure):
                        yield from zip(chunk, answer, strict=True)
                    elif len(chunk) == 1:
                        yield chunk[0], answer
                    else:
                        middle = len(chunk) // 2
                        halves += [chunk[:middle], chunk[middle:]]
            chunks = halves


def cut(tasks: Tasks, gpus: int) -> list[list[int]]:
    """Tasks by their numbers in chunks, which are equal in their programs: as few for each GPU as the bound allows, all seeds of a
    program in one."""
    places: dict[str, list[int]] = {}
    for k, (text, _) in enumerate(tasks):
        places.setdefault(text, []).append(k)
    programs = list(places.values())
    count = gpus * math.ceil(len(tasks) / (gpus * _CHUNK))
    size = math.ceil(len(programs) / max(1, count))
    return [[k for at in programs[begin : begin + size] for k in at] for begin in range(0, len(programs), max(1, size))]


def warn(message: str) -> None:
    """Tell a Python program what its user should know."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def open_pool(device: str, workers: int, *, memory: int = 0, backend: Backend = "compiled", say: Callable[[str], None] = warn) -> Pool:
    """What trains on a device (`gp.lab.devices.resolve`), GPUs checked; for the CPU, so many processes with `memory` bytes each.

    Where "auto" finds GPUs that cannot be used, it says so and takes the CPU. Raises DeviceError for a name that stands for nothing, for
    a GPU that cannot be used, and for one that is to use the backend eager.
    """
    if backend == "eager" and device not in (AUTO, CPU):
        raise DeviceError(f"the backend eager trains on the CPU alone; leave out the device {device}, or the backend")
    names = (CPU,) if backend == "eager" else resolve(device)
    if problem := default_cache().problem() or numba_entries().problem():
        say(problem)
    if names == (CPU,):
        return CpuPool(workers, memory, backend)
    with contextlib.ExitStack() as failing:
        pool = failing.enter_context(GpuPool(names))
        try:
            pool.check()
        except DeviceError as error:
            if device != AUTO:
                raise
            say(f"{error}; training on the CPU instead")
            return CpuPool(workers, memory, backend)
        failing.pop_all()
        return pool
