"""Tests use a cache of their own, so that they neither find nor leave anything on the user's disk."""

import math
import os
import tempfile
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

_CACHE = tempfile.TemporaryDirectory(prefix="actgp-test-", ignore_cleanup_errors=True)
os.environ["GP_CACHE_DIR"] = _CACHE.name
settings.register_profile("actgp", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("actgp")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Those of tests/gpu: a folder's own are known only where it is named."""
    group = parser.getgroup("tests/gpu")
    group.addoption("--rehearse", action="store_true", help="run tests/gpu on the CPU: a few of its tests, in Triton's interpreter")
    group.addoption("--gpu-seconds", type=float, default=math.inf, help="skip the tests of tests/gpu that have not begun by then")


def pytest_unconfigure() -> None:
    _CACHE.cleanup()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no device is named, tests train on the CPU, whose numbers are the same every time."""
    monkeypatch.setattr("gp.lab.devices._may_have_gpus", lambda: False)


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """For many small operations, at each of which the threads of a busy machine would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
