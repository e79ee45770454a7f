"""Tests that need a real card.

On a card: `python -m pytest tests/gpu`. Without one `--rehearse` runs a fixed sample of them on small tensors in Triton's interpreter, to
check the tests themselves. The most important tests come first, and `--gpu-seconds` skips what has not begun by then.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gpu_ahead import Misses, compile_ahead
from gpu_cases import SHAPE, Place

FOLDER = Path(__file__).parent
ORDER = ("card", "definition", "edges", "layouts", "groups", "training", "torch", "streams", "capture", "repetition", "memory", "large")
MISSING = "torch finds no GPU. On a card: python -m pytest tests/gpu; to rehearse without one: python -m pytest tests/gpu --rehearse"
STARTED = time.monotonic()
NOTES = pytest.StashKey[list[str]]()  # lines for the summary
CACHE = pytest.StashKey[str]()  # a folder to remove
_rehearsed: Counter[str] = Counter()  # items seen of each function


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sample(n): of so many of a function's tests one is rehearsed")
    config.addinivalue_line("markers", "card_only: what cannot be rehearsed")
    config.addinivalue_line("markers", "launches(of, groups): what a test will launch, by its parameters; groups of expressions")
    config.stash[NOTES], config.stash[CACHE] = [], ""
    if torch.cuda.is_available() and not config.getoption("--rehearse") and "TRITON_CACHE_DIR" not in os.environ:
        config.stash[CACHE] = os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp(prefix="actgp-triton-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.stash[CACHE]:
        shutil.rmtree(config.stash[CACHE], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    own = [item for item in items if FOLDER in item.path.parents]
    own.sort(key=lambda item: ORDER.index(item.path.stem.removeprefix("test_card_").removeprefix("test_")))
    for item in own:
        item.add_marker(pytest.mark.gpu)
    kept = own
    if config.getoption("--rehearse"):
        kept = [item for item in own if _is_rehearsed(item)]
        for item in kept:
            if item.get_closest_marker("card_only"):
                item.add_marker(pytest.mark.skip(reason="only a card can do this"))
    elif not torch.cuda.is_available():
        kept = own[:1]
        for item in kept:
            item.add_marker(pytest.mark.skip(reason=MISSING))
            config.stash[NOTES].append(MISSING)
    if len(kept) < len(own):
        chosen = set(kept)
        config.hook.pytest_deselected(items=[item for item in own if item not in chosen])
    items[:] = [item for item in items if FOLDER not in item.path.parents] + kept


def _is_rehearsed(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("sample")
    name = item.nodeid.partition("[")[0]
    _rehearsed[name] += 1
    return mark is None or (_rehearsed[name] - 1) % mark.args[0] == 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.monotonic() - STARTED > item.config.getoption("--gpu-seconds"):
        pytest.skip("out of time")


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest) -> Place:
    """Where kernels run."""
    return Place("cpu", "interpret", (6, 16)) if request.config.getoption("--rehearse") else Place("cuda", "triton", SHAPE)


@pytest.fixture(scope="session", autouse=True)
def _compiled(request: pytest.FixtureRequest, place: Place) -> Iterator[None]:
    """Compile everything ahead; `Misses` says how well that was foreseen."""
    notes = request.config.stash[NOTES]
    if place.device == "cpu":
        yield
        return
    launches, groups = [], []
    for item in request.session.items:
        for mark in item.iter_markers("launches"):
            launches += mark.kwargs["of"](**getattr(getattr(item, "callspec", None), "params", {}))
            if "groups" in mark.kwargs:
                groups += mark.kwargs["groups"]()
    try:
        notes.append(compile_ahead(launches, groups, place))
    except Exception as error:  # it takes longer then, and the tests find out why
        notes.append(f"nothing was compiled ahead: {error!r}")
    misses = Misses()
    yield
    notes.append(f"{misses.count} kernels compiled by tests")


class SameBits:
    """How many functions give the bits of the CPU's kernels in float32: for the summary, no test depends on it."""

    def __init__(self) -> None:
        self.found: dict[str, bool] = {}

    def add(self, name: str, same: bool) -> None:
        self.found[name] = self.found.get(name, True) and same


@pytest.fixture(scope="session")
def same_bits_as_cpu(request: pytest.FixtureRequest) -> Iterator[SameBits]:
    counted = SameBits()
    yield counted
    others = sorted(name for name, same in counted.found.items() if not same)
    request.config.stash[NOTES].append(
        f"float32: {len(counted.found) - len(others)} of {len(counted.found)} functions give the bits of the CPU's kernels"
        + (f"; not {', '.join(others)}" if others else "")
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for note in config.stash[NOTES]:
        terminalreporter.write_line(f"tests/gpu: {note}")
