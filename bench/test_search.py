"""The engine's own time as a pytest-benchmark suite: a search whose candidates take no time to train, with its record."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.search import overhead_of


@pytest.mark.parametrize("population", [250, 1000])
def test_engine_and_store(benchmark: BenchmarkFixture, population: int) -> None:
    """A search of four generations; `made` and `trained` candidates are in the extra information."""
    benchmark.group = "engine and store"
    _, made, trained = benchmark.pedantic(overhead_of, (population, 4, 0), rounds=3, warmup_rounds=1)
    benchmark.extra_info.update(made=made, trained=trained)
    assert made > trained == 4 * population
