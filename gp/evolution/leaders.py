"""The leaders of a run: its best candidates, one of each structure."""

from __future__ import annotations

from collections.abc import Iterable

from gp.evolution.candidate import Candidate


class Leaders:
    """At least the `count` best candidates that were offered, one of each structure; memory does not grow with the run."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._found: dict[int, Candidate] = {}

    def offer(self, candidate: Candidate) -> None:
        """Keep a candidate if it fits and is among the best."""
        if candidate.reason is not None or not candidate.differences:
            return
        best = self._found.get(candidate.structure)
        if best is None or candidate.rank < best.rank:
            self._found[candidate.structure] = candidate
        if len(self._found) > 2 * self._count:
            self._found = {c.structure: c for c in self.best(self._count)}

    def best(self, count: int) -> list[Candidate]:
        """The best, from the best on."""
        return sorted(self._found.values(), key=lambda c: c.rank)[:count]

    def to_json(self) -> list[int]:
        """The state: candidates by number."""
        return [c.number for c in self._found.values()]

    def restore(self, candidates: Iterable[Candidate]) -> None:
        """Take on a state."""
        self._found = {c.structure: c for c in candidates}
