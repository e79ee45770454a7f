"""What real kernels compute with a cache: values and gradients, bit for bit, in a process that has compiled and loaded nothing before."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Final

PROGRAMS: Final = ("gelu", "x*tanh(exp(x))", "gelusine", "sin(3*x) + 0.1*x^2", "where(x > 0, x, expm1(x))", "x/(1 + abs(x))")
_ELEMENTS: Final = 1000
_LIMIT: Final = 120  # seconds


class Numbers:
    """A context: processes are forked from one that has imported everything, and has computed nothing."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["kernels.module"])

    def __enter__(self) -> Numbers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """The server of processes ends with this one."""

    def of(self, cache: Path) -> list[str]:
        """A digest for each program, of what its kernels compute with the cache in this folder; what went wrong, where it did."""
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=compute, args=(str(cache), theirs))
        process.start()
        theirs.close()
        try:
            found: list[str] = ours.recv() if ours.poll(_LIMIT) else ["takes too long"]
        except EOFError:
            found = []
        process.kill()
        process.join()
        return found or [f"the process ended with {process.exitcode}"]


def compute(cache: str, answer: Connection) -> None:
    """The life of a process."""
    os.environ["GP_CACHE_DIR"] = cache
    import torch  # noqa: PLC0415 - what the parent imports is imported by the server already

    from kernels.module import activation  # noqa: PLC0415

    torch.set_num_threads(1)
    digests = []
    for program in PROGRAMS:
        x = torch.linspace(-4, 4, _ELEMENTS, requires_grad=True)
        y = activation(program)(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        digests.append(hashlib.sha256(y.detach().numpy().tobytes() + slope.numpy().tobytes()).hexdigest())
    answer.send(digests)
