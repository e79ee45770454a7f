"""Where a card has no room for all candidates they are trained in halves, with the same results."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import pytest
import torch
from gpu_cases import Place
from lab_tasks import thinned

from gp.lab import chunks
from gp.lab.batched import BatchedTrainer
from gp.lab.data import instances
from gp.lab.measure import SeedResult
from gp.lab.network import Architecture
from gp.lab.problems import Problems, arranged, problems
from gp.lab.training import Training
from gp.workers import Failure
from kernels.programs import program

# Large layers and few points: 100 MB for a candidate with four networks.
WIDE: Final = Architecture((1024, 1024))
TRAINING: Final = Training(6, 1e-4, batch=8)
TEXTS: Final = tuple(f"x*sigmoid({0.5 + k / 8}*x)" for k in range(8))

pytestmark = pytest.mark.card_only


class Noted(BatchedTrainer):
    """A trainer that notes how many candidates there were each time."""

    sizes: Final[list[int]] = []

    def __init__(self, functions: Any, *rest: Any) -> None:
        self.sizes.append(len(functions))
        super().__init__(functions, *rest)


def wide_tasks() -> Problems:
    found = problems(instances("search")[::11], (0,), WIDE).problems
    return arranged(tuple(thinned(p, 32) for p in found), WIDE)


def train(tasks: Problems, texts: tuple[str, ...], place: Place) -> list[list[SeedResult] | Failure]:
    Noted.sizes.clear()
    return chunks._train([program(text) for text in texts], tasks, TRAINING, 1, place.device)


@contextmanager
def memory_of(bytes_: float) -> Iterator[None]:
    """A context in which torch may take no more of the card's memory than that."""
    torch.cuda.set_per_process_memory_fraction(bytes_ / torch.cuda.mem_get_info()[1])
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        free()


def free() -> int:
    """Give back what nobody holds; what is held."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return torch.cuda.memory_reserved()


def test_what_does_not_fit_is_halved(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "BatchedTrainer", Noted)
    tasks = wide_tasks()
    train(tasks, TEXTS[:1], place)  # compiled, and libraries have their own memory
    before = free()
    torch.cuda.reset_peak_memory_stats()
    wanted = train(tasks, TEXTS, place)
    taken = torch.cuda.max_memory_reserved() - before
    assert Noted.sizes == [len(TEXTS)]
    assert taken > 400e6
    for share, most in ((0.75, 4), (0.4, 2)):
        with memory_of(free() + share * taken):
            found = train(tasks, TEXTS, place)
        assert Noted.sizes[0] == len(TEXTS)
        assert most in Noted.sizes
        for one, other in zip(found, wanted, strict=True):
            assert not isinstance(one, Failure)
            assert not isinstance(other, Failure)
            # Products of fewer matrices may add up in another order.
            np.testing.assert_allclose(one[0].outside, other[0].outside, rtol=1e-5)
            np.testing.assert_allclose(one[0].inside, other[0].inside, rtol=1e-5)
    assert not np.allclose(wanted[0][0].outside, wanted[-1][0].outside, rtol=1e-5)  # negative control


def test_one_that_does_not_fit_alone_is_a_failure(place: Place) -> None:
    tasks = wide_tasks()
    with memory_of(free() + 30e6):
        assert train(tasks, TEXTS[:2], place) == [Failure("took more than the memory of the GPU")] * 2
    assert all(not isinstance(result, Failure) for result in train(tasks, TEXTS[:2], place))
