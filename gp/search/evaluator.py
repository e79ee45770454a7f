"""Evaluation of many programs, in this process or in several: results come in the order of the programs, whoever made them.

Each process uses one thread: networks this small gain nothing from a second (1.4 ms a step with one, 1.35 ms with two), while a
second process doubles the throughput.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType

import torch

from gp.lab.score import Fidelity, Score, evaluate


def measure(text: str, fidelity: Fidelity) -> Score | str:
    """The score of a program, or why there is none: whatever goes wrong with one candidate is that candidate's result."""
    try:
        return evaluate(text, fidelity)
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}"


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; a terminal's Ctrl-C reaches every process of the group
    torch.set_num_threads(1)


class Evaluator:
    """A context in which `scores` works; it sets this process to one torch thread, and holds `workers` processes if more than one."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._threads = torch.get_num_threads()

    def __enter__(self) -> Evaluator:
        torch.set_num_threads(1)
        if self.workers > 1:
            # Not fork: torch's threads do not survive it.
            self._pool = ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn"), _start_worker)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        torch.set_num_threads(self._threads)
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def scores(self, texts: Sequence[str], fidelity: Fidelity) -> Generator[Score | str]:
        """The result of each program in turn. A caller may stop early: what has not begun is then dropped."""
        if self._pool is None:
            yield from (measure(text, fidelity) for text in texts)
            return
        futures: list[Future[Score | str]] = [self._pool.submit(measure, text, fidelity) for text in texts]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
