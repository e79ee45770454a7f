"""Worker processes that can be lost: each runs one job at a time, and is replaced when it takes too long or too much, or crashes.

A signal that ends a worker may come from outside, and then says nothing of the job: another worker does the job again, up to three times.

A worker is a fresh Python that imports what a job names, not a copy of this process: it needs no guard in the user's script, has one
thread for numerics, and does without torch unless a job needs it. It finds modules where this process does.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import importlib
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Final

from gp.out_of_memory import is_out_of_memory
from kernels.cache_folder import CacheWarning

_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_START_LIMIT: Final = 60.0  # seconds for a worker to start and prepare; only then does the time of its first job run
_LAST_WORDS: Final = 1.0  # seconds for a worker that closed its end to exit; it does so on its way out
_GRACE: Final = 1.0  # seconds past its limit after which a worker ends by itself, should this process be gone or busy
_DEATHS: Final = 3  # by a signal, after which it is the job's own doing
_OUT_OF_MEMORY: Final = 77  # exit status of a worker that got no memory; no job has it by accident, as 1 or 2 might be


@dataclass(frozen=True, slots=True)
class Job:
    """A call of `function` ("package.module:name") with `arguments`, which may take `limit` seconds. Arguments and result are pickled."""

    function: str
    arguments: tuple[Any, ...]
    limit: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job has no result."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Death:
    """Of a worker, by a signal."""

    reason: str


class _Worker:
    def __init__(self, prepare: str, memory: int, place: str) -> None:
        ours, theirs = socket.socketpair()
        environment = os.environ | dict.fromkeys(_ONE_THREAD, "1")
        life = f"import sys; sys.path[:] = {sys.path!r}; from gp.workers import serve; serve({theirs.fileno()}, {prepare!r}, {memory})"
        # A process group of its own: a terminal's Ctrl-C is for the parent, which decides.
        self.process = subprocess.Popen(
            [sys.executable, "-c", life], pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.place = place
        self.index = -1  # of the job in hand
        self.limit = 0.0
        self.deadline = time.monotonic() + _START_LIMIT
        self._memory = memory
        self._began: float | None = None  # when it had both started and a job in hand

    def give(self, index: int, job: Job) -> None:
        self.index, self.limit = index, job.limit
        if self._began is not None:
            self._begin()
        self.connection.send(dataclasses.replace(job, arguments=(*job.arguments, self.place)) if self.place else job)

    def _begin(self) -> None:
        self._began = time.monotonic()
        self.deadline = self._began + self.limit

    @property
    def seconds(self) -> float:
        """How long it has worked on the job in hand."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def has_started(self) -> bool:
        """Whether it has said that it is ready."""
        return self._began is not None

    def receive(self) -> tuple[bool, Any]:
        """Whether the job is done, and its result: the first message of a worker says that it has started, or why it cannot."""
        result = self.connection.recv()
        if self.has_started or isinstance(result, Failure):
            return True, result
        self._begin()
        return False, None

    def end(self) -> int:
        """Kill it, and return its exit code: negative for a signal."""
        self.process.kill()
        self.connection.close()
        return self.process.wait()

    def fate(self) -> tuple[str, bool]:
        """What became of a worker that has closed its end, and whether that may have come from outside."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_LAST_WORDS)
        code = self.end()
        if code == -signal.SIGALRM:  # its own timer
            return f"took longer than {self.limit:g} s", False
        if code == _OUT_OF_MEMORY and not self.has_started:
            return "there was not enough memory for a worker to start", False
        if code == _OUT_OF_MEMORY:
            return f"took more than {self._memory / 1e6:g} MB" if self._memory else "ran out of memory", False
        if code < 0:
            return f"the worker crashed ({signal.Signals(-code).name})", True
        return f"the worker ended (exit status {code})", False


class Workers:
    """`count` processes, started when there is work for them. A context: leaving it ends them.

    `prepare` ("package.module:name") is called in each of them first; what it takes does not count towards the limit of a job.
    `memory`: the bytes of data that a worker may have with its job, 0 for no limit. Linux alone counts them; elsewhere there is none.
    `places`: a name for each worker, such as that of its GPU, which its jobs get as their last argument; who replaces it takes it over.
    `busy`: the seconds that workers have had a job in hand, all of them together, without those in which they started and prepared.
    """

    def __init__(self, count: int, prepare: str = "", memory: int = 0, places: Sequence[str] = ()) -> None:
        if count < 1:
            raise ValueError(f"there must be at least one worker, not {count}")
        self.count = count
        self.busy = 0.0
        self._prepare = prepare
        self._memory = memory
        self._places = tuple(places)
        self._idle: list[_Worker] = []
        self._working: list[_Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._drop()
        while self._idle:
            self._idle.pop().end()

    def run(self, jobs: Iterable[Job]) -> Generator[tuple[int, Any]]:
        """(number of the job, its result or a Failure) as they come. A caller may stop early: jobs in hand are then dropped."""
        given = list(jobs)
        waiting = collections.deque(range(len(given)))
        deaths: collections.Counter[int] = collections.Counter()
        try:
            while waiting or self._working:
                while waiting and len(self._working) < self.count:
                    index = waiting.popleft()
                    self._working.append(self._given(index, given[index]))
                for index, result in self._finished():
                    deaths[index] += isinstance(result, _Death)
                    if isinstance(result, _Death) and deaths[index] < _DEATHS:
                        waiting.appendleft(index)
                    else:
                        yield index, Failure(result.reason) if isinstance(result, _Death) else result
        finally:
            self._drop()

    def _given(self, index: int, job: Job) -> _Worker:
        """A worker with the job in hand."""
        while self._idle:
            worker = self._idle.pop()
            try:
                worker.give(index, job)
            except OSError:  # it died while it was idle, which says nothing of the job
                worker.end()
            else:
                return worker
        worker = _Worker(self._prepare, self._memory, self._vacant())
        with contextlib.suppress(OSError):  # it died while it started: its connection is closed, which is noticed later
            worker.give(index, job)
        return worker

    def _finished(self) -> Iterator[tuple[int, Any]]:
        """Wait for the next result, death or deadline."""
        nearest = min((w.deadline for w in self._working), default=0.0)
        ready = set(wait([w.connection for w in self._working], max(0.0, nearest - time.monotonic())))
        for worker in list(self._working):
            if worker.connection in ready:
                try:
                    done, result = worker.receive()
                except (EOFError, OSError):
                    reason, from_outside = worker.fate()
                    self._release(worker)
                    yield worker.index, _Death(reason) if from_outside else Failure(reason)
                    continue
                if done:
                    self._release(worker)
                    if worker.has_started:
                        self._idle.append(worker)
                    else:
                        worker.end()
                    yield worker.index, result
            elif time.monotonic() >= worker.deadline:
                worker.end()
                self._release(worker)
                yield worker.index, Failure(f"took longer than {worker.limit:g} s")

    def _release(self, worker: _Worker) -> None:
        self._working.remove(worker)
        self.busy += worker.seconds

    def _drop(self) -> None:
        """End the workers with a job in hand."""
        for worker in list(self._working):
            self._release(worker)
            worker.end()

    def _vacant(self) -> str:
        """The first place that no worker has."""
        taken = {worker.place for worker in (*self._idle, *self._working)}
        return next((place for place in self._places if place not in taken), "")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serve(descriptor: int, prepare: str, memory: int) -> None:
    """The life of a worker: a message that it is ready, then jobs in and results out, until the other end closes."""
    connection = Connection(descriptor)
    warnings.simplefilter("ignore", CacheWarning)  # the parent has said so, once for all
    # Without memory nothing can be relied on, neither to say so nor for the next job: its exit status tells, and a new worker follows.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError):  # nobody waits for it any more
        try:
            failure = _prepared(prepare)
            if memory and sys.platform == "linux":
                most = resource.getrlimit(resource.RLIMIT_DATA)[1]
                resource.setrlimit(resource.RLIMIT_DATA, (memory if most == resource.RLIM_INFINITY else min(memory, most), most))
            connection.send(failure)
            while failure is None:
                connection.send_bytes(_answer(connection.recv_bytes()))
                signal.setitimer(signal.ITIMER_REAL, 0)
        except MemoryError:
            os._exit(_OUT_OF_MEMORY)


def _prepared(prepare: str) -> Failure | None:
    """Prepare for jobs, and say what went wrong with that. Raises MemoryError."""
    try:
        if prepare:
            _named(prepare)()
    except Exception as error:
        return _failure(error)
    return None


def _failure(error: Exception) -> Failure:
    """What is told of an error. Raises MemoryError where memory was missing, whatever the error calls it."""
    if is_out_of_memory(error):
        raise MemoryError from error
    return Failure(f"{type(error).__name__}: {error}")


def _answer(message: bytes) -> bytes:
    """The pickled result of a pickled job, or a Failure: whatever goes wrong with one job is its result, and the next one goes on.

    Raises MemoryError.
    """
    try:
        job: Job = pickle.loads(message)
        signal.setitimer(signal.ITIMER_REAL, job.limit + _GRACE)
        return pickle.dumps(_named(job.function)(*job.arguments))
    except Exception as error:
        return pickle.dumps(_failure(error))


def _named(function: str) -> Callable[..., Any]:
    module, name = function.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
