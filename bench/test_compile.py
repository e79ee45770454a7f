"""Figure 3 as a pytest-benchmark suite: from text to the first gradient, over random programs of 10 to 30 operators.

Each round is another program, so the table's spread is that over programs. What a process does once is done beforehand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.compile import COUNT, LARGEST, SMALLEST, programs
from bench.programs import random_programs
from gp.timing import first_gradient
from kernels.cache import default_cache
from kernels.native import counters

pytestmark = pytest.mark.benchmark(group="text to first gradient")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new cache folder in place of the user's; this process has compiled a few programs."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GP_CACHE_DIR", str(folder))
        default_cache.cache_clear()
        _run(random_programs(10, SMALLEST, LARGEST, seed=0))
        yield folder
    default_cache.cache_clear()


def _run(texts: Sequence[str]) -> None:
    for text in texts:
        first_gradient(text, _x())


def _x() -> torch.Tensor:
    return torch.linspace(-2, 2, 64).requires_grad_()


def _measure(benchmark: BenchmarkFixture, texts: Sequence[str]) -> None:
    """One round for each program."""
    left = iter(texts)
    benchmark.pedantic(first_gradient, setup=lambda: ((next(left), _x()), {}), rounds=len(texts))


@pytest.mark.usefixtures("cache")
def test_cold(benchmark: BenchmarkFixture) -> None:
    before = counters.compiled
    _measure(benchmark, random_programs(COUNT, SMALLEST, LARGEST, seed=2))
    assert counters.compiled >= before + COUNT


@pytest.mark.usefixtures("cache")
def test_other_constants(benchmark: BenchmarkFixture) -> None:
    _run(random_programs(COUNT, SMALLEST, LARGEST, seed=3))
    before = counters.compiled
    _measure(benchmark, random_programs(COUNT, SMALLEST, LARGEST, seed=3, constants=1))
    assert counters.compiled == before


def test_from_disk(benchmark: BenchmarkFixture, cache: Path) -> None:
    """Another process fills the cache with programs that this one has not seen."""
    environment = os.environ | {"GP_CACHE_DIR": str(cache)}
    subprocess.run([sys.executable, "-m", "bench.compile_worker", "cold"], env=environment, check=True, capture_output=True)
    before = counters.compiled
    _measure(benchmark, programs())
    assert counters.compiled == before
