"""Worker processes that can be lost: each runs one job at a time, and is killed and replaced when it takes too long or crashes.

A worker is a fresh Python that imports what a job names, not a copy of this process: it needs no guard in the user's script, has one
thread for numerics, and does without torch unless a job needs it.
"""

from __future__ import annotations

import collections
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Final

_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_START_LIMIT: Final = 60.0  # seconds for a worker to start and import, on top of its first job's limit


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


class _Worker:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        environment = os.environ | dict.fromkeys(_ONE_THREAD, "1")
        command = [sys.executable, "-c", f"from gp.workers import serve; serve({theirs.fileno()})"]
        # A process group of its own: a terminal's Ctrl-C is for the parent, which decides.
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.index = -1  # of the job in hand
        self.deadline = 0.0
        self.limit = 0.0
        self._fresh = True

    def give(self, index: int, job: Job) -> None:
        self.index, self.limit = index, job.limit
        self.deadline = time.monotonic() + job.limit + _START_LIMIT * self._fresh
        self._fresh = False
        self.connection.send(job)

    def end(self) -> int:
        """Kill it, and return its exit code: negative for a signal."""
        self.process.kill()
        self.connection.close()
        return self.process.wait()


class Workers:
    """`count` processes, started when there is work for them. A context: leaving it ends them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for worker in (*self._idle, *self._busy):
            worker.end()
        self._idle, self._busy = [], []

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Any]]:
        """(number of the job, its result or a Failure) as they come. A caller may stop early: jobs in hand are then dropped."""
        waiting = collections.deque(enumerate(jobs))
        try:
            while waiting or self._busy:
                while waiting and len(self._busy) < self.count:
                    worker = self._idle.pop() if self._idle else _Worker()
                    self._busy.append(worker)
                    index, job = waiting.popleft()
                    try:
                        worker.give(index, job)
                    except OSError:  # it died while it was idle
                        yield self._lost(worker, f"the worker {_death(worker.end())} before it began")
                yield from self._finished()
        finally:
            for worker in self._busy:
                worker.end()
            self._busy = []

    def _finished(self) -> Iterator[tuple[int, Any]]:
        """Wait for the next result, death or deadline."""
        nearest = min((w.deadline for w in self._busy), default=0.0)
        ready = set(wait([w.connection for w in self._busy], max(0.0, nearest - time.monotonic())))
        for worker in list(self._busy):
            if worker.connection in ready:
                try:
                    result = worker.connection.recv()
                except (EOFError, OSError):
                    yield self._lost(worker, f"the worker {_death(worker.end())}")
                    continue
                self._busy.remove(worker)
                self._idle.append(worker)
                yield worker.index, result
            elif time.monotonic() >= worker.deadline:
                worker.end()
                yield self._lost(worker, f"took longer than {worker.limit:g} s")

    def _lost(self, worker: _Worker, reason: str) -> tuple[int, Failure]:
        self._busy.remove(worker)
        return worker.index, Failure(reason)


def _death(code: int) -> str:
    """What became of a process, by its exit code (that of a kill which came too late to matter counts as none)."""
    return f"crashed ({signal.Signals(-code).name})" if code < 0 and -code != signal.SIGKILL else f"ended (exit status {code})"


def serve(descriptor: int) -> None:
    """The life of a worker: jobs in, results out, until the other end closes."""
    connection = Connection(descriptor)
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        connection.send(perform(job))


def perform(job: Job) -> Any:
    """The job's result, or a Failure: whatever goes wrong with one job is that job's result, and the next one goes on."""
    module, name = job.function.split(":")
    function = getattr(importlib.import_module(module), name)
    try:
        return function(*job.arguments)
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}")
