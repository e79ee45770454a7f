"""The cascade: many candidates get a short training, the best of a stage a longer one (successive halving, Jamieson, Talwalkar 2016).

In a stage all candidates are trained on the same data sets from the same initial weights, seed by seed, and compared with gelu network
by network. Between two seeds those are stopped that cannot be among the best of the stage any more: a race (Maron, Moore 1994).
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from gp.evolution.candidate import Candidate
from gp.lab.measure import SeedResult, outcome
from gp.lab.protocol import FidelityName, Measurement
from gp.lab.score import instance_weights, network_scores, score
from gp.workers import Failure

Result = SeedResult | Failure
Finished = TypeVar("Finished")
UNFIT: Final = "did not fit"
_SURE: Final = 2.0  # standard deviations of what the seeds to come can change by which a candidate must be behind to be stopped
_SEED_VARIANCE: Final = 0.31  # of the paired difference of two candidates on one data set, between seeds; measured in the lab


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be measured next: programs, each with a seed. `purpose` is a stage's name, "tuning", "final",
    "selection" or "validation"."""

    purpose: str
    measurement: Measurement
    tasks: tuple[tuple[str, int], ...]


# A part of the search: it asks for batches, is sent their results, each in the order of the tasks, and returns what it found.
Steps = Generator[Batch, Sequence[Result], Finished]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the cascade: a fidelity by name, and how candidates are measured in it."""

    name: FidelityName
    measurement: Measurement


def parts_of(result: SeedResult, what: Measurement) -> NDArray[np.float64]:
    """The scores of one seed's networks, (instances,)."""
    parts: NDArray[np.float64] = network_scores(outcome([result]), what.protocol)[0]
    return parts


def by_text(texts: Sequence[str], results: Sequence[Result], what: Measurement) -> dict[str, list[SeedResult]]:
    """The results of a batch that has every seed of each program in turn, of those programs of which all seeds could be trained."""
    count = len(what.seeds)
    groups = {text: results[k * count : (k + 1) * count] for k, text in enumerate(texts)}
    found = {text: [r for r in group if isinstance(r, SeedResult)] for text, group in groups.items()}
    return {text: group for text, group in found.items() if len(group) == count}


class ReferenceFailure(RuntimeError):
    """The reference could not be trained, so that nothing can be compared."""


class Cascade:
    """Stages, and what the reference scores in them. `funnel` counts by stage the candidates that entered and that completed it."""

    def __init__(self, stages: Sequence[Stage], promote: float, reference: str) -> None:
        self.stages = stages
        self.entered: Counter[str] = Counter()
        self.completed: Counter[str] = Counter()
        self._promote = promote
        self._reference = reference
        self._parts: dict[str, NDArray[np.float64]] = {}  # of the reference by stage, (seeds, instances)

    def prepare(self) -> Steps[None]:
        """Measure the reference in all stages. Raises ReferenceFailure where that fails."""
        for stage in self.stages:
            what = stage.measurement
            results = yield Batch(stage.name, what, tuple((self._reference, seed) for seed in what.seeds))
            for result in results:
                if isinstance(result, Failure):
                    raise ReferenceFailure(f"the reference {self._reference} could not be trained: {result.reason}")
            self._parts[stage.name] = np.stack([parts_of(r, what) for r in results if isinstance(r, SeedResult)])

    def evaluate(self, candidates: Sequence[Candidate]) -> Steps[list[Candidate]]:
        """The candidates, judged: as far through the stages as each of them comes. On every island so many reach the next stage."""
        judged = {c.number: c for c in candidates}
        contenders = list(candidates)
        for stage in self.stages:
            quota = {island: math.ceil(count * self._promote) for island, count in Counter(c.island for c in contenders).items()}
            results = yield from self._stage(stage, contenders, quota)
            judged |= {c.number: c for c in results}
            completed = [c for c in results if c.stopped is None and c.reason is None]
            self.completed[stage.name] += len(completed)
            contenders = [c for island, count in quota.items() for c in _best([c for c in completed if c.island == island], count)]
        return [judged[c.number] for c in candidates]

    def _stage(self, stage: Stage, contenders: Sequence[Candidate], quota: Mapping[int, int]) -> Steps[list[Candidate]]:
        """The contenders with what became of them in one stage."""
        what = stage.measurement
        running = {c.number: c for c in contenders}
        found: dict[int, list[SeedResult]] = {number: [] for number in running}
        judged: list[Candidate] = []
        self.entered[stage.name] += len(running)
        for k, seed in enumerate(what.seeds):
            answers = yield Batch(stage.name, what, tuple((c.text, seed) for c in running.values()))
            for candidate, answer in zip(list(running.values()), answers, strict=True):
                if isinstance(answer, Failure):
                    judged.append(dataclasses.replace(running.pop(candidate.number), reason=_fate(answer)))
                else:
                    found[candidate.number].append(answer)
            if k + 1 < len(what.seeds):
                weights = instance_weights(what.instances, what.protocol)
                means = {n: float(self._pairs(stage, found[n]).mean(axis=0) @ weights) for n in running}
                margin = _SURE * _change_to_come(k + 1, len(what.seeds)) * float(np.linalg.norm(weights))
                for number in _hopeless(means, {n: c.island for n, c in running.items()}, quota, margin):
                    judged.append(dataclasses.replace(running.pop(number), stopped=stage.name))
        return judged + [self._judge(stage, c, found[c.number]) for c in running.values()]

    def _pairs(self, stage: Stage, results: Sequence[SeedResult]) -> NDArray[np.float64]:
        """The scores of networks less those of the reference, (seeds, instances)."""
        parts = np.stack([parts_of(result, stage.measurement) for result in results])
        return parts - self._parts[stage.name][: len(parts)]

    def _judge(self, stage: Stage, candidate: Candidate, results: Sequence[SeedResult]) -> Candidate:
        what = stage.measurement
        found = score(outcome(results), what)
        weights = instance_weights(what.instances, what.protocol)
        difference = float(self._pairs(stage, results).mean(axis=0) @ weights)
        reason = UNFIT if found.fit > what.gate else None
        return dataclasses.replace(candidate, score=found, differences=(*candidate.differences, difference), reason=reason)


def _fate(failure: Failure) -> str:
    """Why a candidate could not be trained; what stands before the colon is what rejections are counted by."""
    kinds = {"took longer": "timed out", "took more": "out of memory"}  # how the messages of `gp.workers` begin
    kind = next((kind for words, kind in kinds.items() if failure.reason.startswith(words)), "failed")
    return f"{kind}: {failure.reason}"


def _best(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    return sorted(candidates, key=lambda c: c.rank)[:count]


def _change_to_come(done: int, seeds: int) -> float:
    """By how much the mean difference of two candidates on a data set may still change (standard deviation): what is to come is the
    mean of the other seeds around a mean that so many seeds have estimated."""
    rest = seeds - done
    return rest / seeds * math.sqrt(_SEED_VARIANCE * (1 / rest + 1 / done))


def _hopeless(means: Mapping[int, float], island: Mapping[int, int], quota: Mapping[int, int], margin: float) -> list[int]:
    """Those that are further than the margin behind the last on their island that would reach the next stage now."""
    stopped = []
    for home, count in quota.items():
        members = sorted((n for n in means if island[n] == home), key=lambda n: (means[n], n))
        stopped += [n for n in members[count:] if means[n] > means[members[count - 1]] + margin]
    return stopped
