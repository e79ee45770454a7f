"""From losses to numbers: how much better than a constant a candidate's networks are outside their training range.

For every network s = clip(ln(MSE_ood/MSE_constant + 1e-4), -5, 1), where MSE_constant is the error of predicting the training mean
on the points out of distribution; +2 where it is not finite. So 0 is as bad as a constant, and lower is better. The score is the
mean over families of the mean over a family's variants of the mean over a variant's networks. (Protocol `lab-v1`; under `paper`, s
is the raw MSE_ood and all networks weigh the same.)
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gp.lab.data import Instance
from gp.lab.protocol import Measurement, ProtocolName

Array = NDArray[np.float64]

FLOOR: Final = 1e-4
LOWEST: Final = -5.0
HIGHEST: Final = 1.0
NOT_FINITE: Final = 2.0
# Towards the middle of what was learnt, and away from it: the two pull apart.
INWARD: Final[dict[tuple[str, str], float]] = {
    ("polynomial", "down"): 1 / 4,
    ("polynomial", "reflected"): 1 / 4,
    ("harmonic", "azimuth"): 1 / 4,
    ("feynman", "down"): 1 / 4,
}
OUTWARD: Final[dict[tuple[str, str], float]] = {
    ("polynomial", "out"): 1 / 4,
    ("feynman", "up"): 1 / 4,
    ("chaos", "forecast"): 1 / 4,
    ("harmonic", "cap"): 1 / 8,
    ("harmonic", "pole"): 1 / 8,
}
_RESAMPLES: Final = 2000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a candidate's networks: arrays (seeds, instances) of the errors in and out of distribution, NaN where a network
    diverged, what those errors are measured against, and the seconds that each seed took."""

    inside: Array
    outside: Array
    variance: Array
    constant_error: Array
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """A candidate's score and its parts.

    `inward` and `outward`: means over the variants whose test points lie inside and outside of where they were trained, NaN where
    the data have no such variants. `fit`: the mean of ln(ID MSE/variance), which the gate looks at. `ood_loss`: the median over
    networks of the raw MSE out of distribution. `diverged`: how many networks have an error that is not finite. `seconds`: of
    training, all seeds together. `parts`: s of every network (seeds, instances), where the measurement asks for them.
    """

    score: float
    families: dict[str, float]
    variants: dict[str, float]
    inward: float
    outward: float
    fit: float
    ood_loss: float
    diverged: int
    seconds: float
    parts: Sequence[Sequence[float]] | None = None


def network_scores(outcome: Outcome, protocol: ProtocolName) -> Array:
    """s of every network (seeds, instances)."""
    if protocol == "paper":
        return np.where(np.isfinite(outcome.outside), outcome.outside, np.inf)
    return log_ratio(outcome.outside, outcome.constant_error)


def log_ratio(error: Array, reference: Array, lowest: float = LOWEST, highest: float = HIGHEST) -> Array:
    """clip(ln(error/reference + 1e-4), lowest, highest), and 2 where the error is not finite."""
    finite = np.isfinite(error)
    ratio = np.log(np.where(finite, error, 0.0) / reference + FLOOR)
    return np.where(finite, np.clip(ratio, lowest, highest), NOT_FINITE)


@functools.lru_cache(maxsize=64)
def instance_weights(instances: tuple[Instance, ...], protocol: ProtocolName) -> Array:
    """How much each instance counts; the sum is 1."""
    if protocol == "paper":
        weights = np.full(len(instances), 1 / len(instances))
    else:
        members = Counter((i.family, i.variant) for i in instances)
        siblings = Counter(family for family, _ in members)
        counts = [len(siblings) * siblings[i.family] * members[i.family, i.variant] for i in instances]
        weights = 1 / np.array(counts, np.float64)
    weights.setflags(write=False)
    return weights


@functools.lru_cache(maxsize=64)
def _members(instances: tuple[Instance, ...]) -> dict[tuple[str, str], NDArray[np.int64]]:
    """The places of each variant's instances."""
    keys = [(i.family, i.variant) for i in instances]
    return {key: np.flatnonzero([k == key for k in keys]) for key in dict.fromkeys(keys)}


def score(outcome: Outcome, measurement: Measurement) -> Score:
    """The score of trained networks; see the module's docstring."""
    instances, protocol = measurement.instances, measurement.protocol
    parts = network_scores(outcome, protocol)
    by_instance = parts.mean(axis=0)
    variants = {key: float(by_instance[places].mean()) for key, places in _members(instances).items()}
    grouped: dict[str, list[float]] = {}
    for (family, _), value in variants.items():
        grouped.setdefault(family, []).append(value)
    families = {family: sum(values) / len(values) for family, values in grouped.items()}
    finite = np.isfinite(outcome.outside) & np.isfinite(outcome.inside)
    return Score(
        score=float(instance_weights(instances, protocol) @ by_instance),
        families=families,
        variants={f"{family} {variant}": value for (family, variant), value in variants.items()},
        inward=_weighted(variants, INWARD),
        outward=_weighted(variants, OUTWARD),
        fit=float(log_ratio(outcome.inside, outcome.variance, -math.inf, math.inf).mean()),
        ood_loss=float(np.median(np.where(np.isfinite(outcome.outside), outcome.outside, np.inf))),
        diverged=int((~finite).sum()),
        seconds=float(sum(outcome.seconds)),
        parts=parts.tolist() if measurement.parts else None,
    )


def _weighted(variants: Mapping[tuple[str, str], float], weights: Mapping[tuple[str, str], float]) -> float:
    return sum(w * variants[key] for key, w in weights.items()) if weights.keys() <= variants.keys() else math.nan


def difference(candidate: Outcome, baseline: Outcome, measurement: Measurement) -> tuple[float, float, float]:
    """`paired_difference` of what came of two candidates' networks."""
    return paired_difference(network_scores(candidate, measurement.protocol), network_scores(baseline, measurement.protocol), measurement)


def paired_difference(candidate: Array, baseline: Array, measurement: Measurement) -> tuple[float, float, float]:
    """The candidate's score less the baseline's, and the 95% interval of that by paired bootstrap, from the s of their networks.

    Seeds are resampled, and the instances within each variant (2,000 times, always with the same random numbers): networks of the
    two are paired by instance and seed. All three are NaN where a score is infinite.
    """
    if not (np.isfinite(candidate).all() and np.isfinite(baseline).all()):
        return math.nan, math.nan, math.nan
    pairs = candidate - baseline
    weights = instance_weights(measurement.instances, measurement.protocol)
    rng = np.random.default_rng(0)
    groups = list(_members(measurement.instances).values())
    seeds = rng.integers(len(pairs), size=(_RESAMPLES, len(pairs)))
    counts = np.stack([np.bincount(row, minlength=len(pairs)) for row in seeds]) / len(pairs)
    by_instance = counts @ pairs
    drawn = np.concatenate([members[rng.integers(len(members), size=(_RESAMPLES, len(members)))] for members in groups], axis=1)
    order = np.concatenate(groups)
    totals = (np.take_along_axis(by_instance, drawn, axis=1) * weights[order]).sum(axis=1)
    low, high = np.percentile(totals, [2.5, 97.5])
    return float(pairs.mean(axis=0) @ weights), float(low), float(high)
