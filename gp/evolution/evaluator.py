"""Evaluation of many programs in worker processes: results come in the order of the programs, whoever made them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import TracebackType

from gp.lab.measure import FUNCTION, PREPARE, SeedResult, outcome
from gp.lab.protocol import Measurement
from gp.lab.score import Score, score
from gp.workers import Failure, Job, Workers


class Evaluator:
    """A context in which `scores` works: it holds `workers` processes, one candidate and one seed at a time in each."""

    def __init__(self, workers: int = 1) -> None:
        self._workers = Workers(workers, prepare=PREPARE)

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._workers.__exit__(kind, error, trace)

    def scores(self, texts: Sequence[str], what: Measurement) -> Generator[Score | str]:
        """The score of each program in turn, or why it has none. A caller may stop early: what has not begun is then dropped."""
        tasks = [(k, seed) for k in range(len(texts)) for seed in what.seeds]
        found: dict[int, list[SeedResult | Failure | None]] = {k: [None] * len(what.seeds) for k in range(len(texts))}
        results = self._workers.run(Job(FUNCTION, (texts[k], what, seed), what.limit) for k, seed in tasks)
        ready = 0
        for number, result in results:
            found[tasks[number][0]][number % len(what.seeds)] = result
            while ready in found and None not in found[ready]:
                yield _judge(found.pop(ready), what)
                ready += 1


def _judge(results: Sequence[SeedResult | Failure | None], what: Measurement) -> Score | str:
    for result in results:
        if isinstance(result, Failure):
            return f"failed: {result.reason}"
    return score(outcome([r for r in results if isinstance(r, SeedResult)]), what)
