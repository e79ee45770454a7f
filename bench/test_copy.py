"""Figure 2 as a pytest-benchmark suite: copy-bound kernels beside a parallel copy of as many bytes."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import gp
from bench.functions import COPY_BOUND, Contest
from bench.throughput import FULL, copies, inputs
from gp.timing import passes


@pytest.mark.parametrize("contender", ["ours", "copy", "copy to new memory"])
@pytest.mark.parametrize(("kind", "tensors"), [("forward", 2), ("backward", 3)], ids=["forward", "backward"])
@pytest.mark.parametrize("contest", COPY_BOUND, ids=lambda contest: contest.name)
def test_copy(benchmark: BenchmarkFixture, contest: Contest, kind: str, tensors: int, contender: str) -> None:
    """A pass moves so many tensors, each of 4,194,304 float32; a copy moves every byte twice."""
    benchmark.group = f"{contest.name}, {kind}"
    x, cotangent = inputs(FULL)
    work = passes(gp.activation(contest.text), x, cotangent)[kind] if contender == "ours" else copies(tensors * FULL // 2)[contender]
    benchmark.pedantic(work.run, setup=lambda: ((work.prepare(),), {}), rounds=15, warmup_rounds=3)
