"""Figure 1 as a pytest-benchmark suite: forward, backward and both at 4,194,304 float32, ours against torch. Ratios: `python -m bench`."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.functions import FUSED, Contest
from bench.throughput import FULL, PASSES, contenders, inputs
from gp.timing import Work, passes

_COMPILER = shutil.which(os.environ.get("CXX", "g++"))  # where torch.compile looks for one, too
Prepared = tuple[str, dict[str, dict[str, Work]]]  # name, and work by contender and pass


@pytest.fixture(scope="module", params=FUSED, ids=lambda contest: contest.name)
def prepared(request: pytest.FixtureRequest) -> Prepared:
    """The work of one function, whose results agree."""
    contest: Contest = request.param
    functions = contenders(contest, compiled=_COMPILER is not None)
    x, cotangent = inputs(FULL)
    for function in functions.values():
        torch.testing.assert_close(function(x), contest.eager(x), rtol=1e-5, atol=1e-5)
    return contest.name, {name: passes(function, x, cotangent) for name, function in functions.items()}


@pytest.mark.parametrize("contender", ["ours", "eager", "compile"])
@pytest.mark.parametrize("kind", PASSES)
def test_throughput(benchmark: BenchmarkFixture, prepared: Prepared, kind: str, contender: str) -> None:
    name, work = prepared
    if contender not in work:
        pytest.skip("torch.compile needs a C++ compiler")
    benchmark.group = f"{name}, {kind}"
    one = work[contender][kind]
    benchmark.pedantic(one.run, setup=lambda: ((one.prepare(),), {}), rounds=7, warmup_rounds=2)
