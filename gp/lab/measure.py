"""One candidate on one seed: the unit of work, of the cache, and of what an interrupted measurement goes on from."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import pickle
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from filelock import FileLock

from gp.lab.data import Instance, make_dataset
from gp.lab.data.registry import instance as registered
from gp.lab.data.registry import instances, names
from gp.lab.protocol import Measurement
from gp.lab.score import Outcome
from gp.lab.training import Training
from kernels.cache import DiskCache, default_cache
from kernels.fingerprint import fingerprint
from kernels.llvm_compiler import target_fingerprint

if TYPE_CHECKING:
    from gp.lab.problems import Problems
    from gp.lab.trainer import Losses

Backend = Literal["compiled", "eager"]  # of the CPU
Method = Literal["compiled", "eager", "batched"]  # how networks were trained: by a backend of the CPU, or many at once on a GPU


@dataclass(frozen=True, slots=True)
class SeedResult:
    """Of a candidate's networks with one seed, in the order of the instances: errors in and out of distribution (NaN where a network
    diverged), what they are measured against, the seconds that compiling and training took, and those of them inside the compiled training
    (of eager training: all)."""

    inside: tuple[float, ...]
    outside: tuple[float, ...]
    variance: tuple[float, ...]
    constant_error: tuple[float, ...]
    seconds: float
    compiled: float


def measure_seed(text: str, measurement: Measurement, seed: int, backend: Backend = "compiled") -> SeedResult:
    """Train and measure a program's networks with one seed. Raises DSLError for a mistake in the text, DataError for unusable data."""
    # Imported here: the parent process, which only puts numbers together, does without numba.
    from gp.lab.problems import problems  # noqa: PLC0415

    tasks = problems(measurement.instances, (seed,), measurement.architecture, measurement.standardise)
    start = ready = time.perf_counter()
    if backend == "eager":
        from gp.lab import eager  # noqa: PLC0415

        losses = eager.train(text, tasks, measurement.training)
    else:
        from gp.lab.trainer import Trainer  # noqa: PLC0415
        from kernels.programs import program  # noqa: PLC0415

        trainer = Trainer(program(text), tasks, measurement.training)
        ready = time.perf_counter()
        losses = trainer.train()
    end = time.perf_counter()
    (result,) = by_seed(losses, tasks, 1, seconds=end - start, compiled=end - ready)
    return result


def by_seed(losses: Losses, tasks: Problems, seeds: int, seconds: float, compiled: float) -> list[SeedResult]:
    """What came of a candidate's networks, as a result for each of so many seeds; of the seconds each has an equal share."""
    inside, outside = losses.inside.tolist(), losses.outside.tolist()
    count = len(tasks.problems) // seeds
    found = []
    for begin in range(0, len(tasks.problems), count):
        part = slice(begin, begin + count)
        variance, constant_error = zip(*((p.variance, p.constant_error) for p in tasks.problems[part]), strict=True)
        found.append(SeedResult(tuple(inside[part]), tuple(outside[part]), variance, constant_error, seconds / seeds, compiled / seeds))
    return found


def measure_packed(text: str, measurement: bytes, seed: int, backend: Backend) -> SeedResult:
    """`measure_seed` for a measurement that is pickled: a search has thousands of jobs of one, and 42 data sets take 3 ms to pickle
    and read back, a twentieth of a job of quick fidelity."""
    return measure_seed(text, unpacked(measurement), seed, backend)


@functools.lru_cache(maxsize=16)
def unpacked(measurement: bytes) -> Measurement:
    """A measurement that was pickled."""
    found: Measurement = pickle.loads(measurement)
    return found


def prepare() -> None:
    """Load the compiled trainer: half a second in a new process, and several when nothing is on disk and numba compiles it.

    Of several processes one compiles, and the others wait for it.
    """
    cache = default_cache()
    with contextlib.nullcontext() if cache.problem() else FileLock(cache.folder / "trainer.lock"):
        _train_one()


def _train_one() -> None:
    measure_seed("x", Measurement(instances("search")[:1], (0,), Training(steps=1, learning_rate=1e-3)), 0)


def outcome(results: Sequence[SeedResult]) -> Outcome:
    """Results of several seeds together."""
    return Outcome(
        np.array([r.inside for r in results]),
        np.array([r.outside for r in results]),
        np.array([r.variance for r in results]),
        np.array([r.constant_error for r in results]),
        tuple(r.seconds for r in results),
    )


class ResultCache:
    """Results on disk beside the kernels, filed by everything that they depend on: program, data, seed, training, and the sources.

    Those of GPUs stand apart from those of the CPU, from which they differ in the last digits, but not by the kind of GPU.
    """

    def __init__(self, measurement: Measurement, method: Method, cache: DiskCache | None = None) -> None:
        self._cache = cache or default_cache()
        m = measurement
        data = [_identity(i) for i in m.instances]
        settings = [m.protocol, astuple(m.training), astuple(m.architecture), method, data]
        self._head = f"lab\n{target_fingerprint()}\n{lab_fingerprint()}\n{json.dumps(settings)}"

    def get(self, text: str, seed: int) -> SeedResult | None:
        """What was measured, if it was."""
        found = self._cache.get(f"{self._head}\nseed {seed}\n{text}")
        if found is None:
            return None
        inside, outside, variance, constant_error, seconds, compiled = json.loads(found)
        return SeedResult(tuple(inside), tuple(outside), tuple(variance), tuple(constant_error), seconds, compiled)

    def put(self, text: str, seed: int, result: SeedResult) -> None:
        """Keep a result."""
        self._cache.put(f"{self._head}\nseed {seed}\n{text}", json.dumps(astuple(result)).encode())


@functools.lru_cache(maxsize=4096)
def _identity(instance: Instance) -> str:
    """What tells a data set from all others: its name, and for those that are not ours, whose source is part of the key, a digest."""
    if instance.name in names() and registered(instance.name) == instance:
        return instance.name
    raw = make_dataset(instance, 0).raw
    arrays = [a for split in (raw.train, raw.inside, raw.outside) for a in (split.x, split.y)]
    return f"{instance.name} {hashlib.sha256(b''.join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()}"


def lab_fingerprint() -> str:
    """A digest of the source and data of the lab, of the kernels and of the language, whose catalogue a program may name: a change
    there may change every number."""
    return fingerprint("gp.lab", "gp.lab.data", "kernels", "codegen", "grammar", "grammar/catalog")
