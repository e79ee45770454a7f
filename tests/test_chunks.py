"""Many candidates at once: the results of their tasks in order, what is too large or breaks a GPU, and the check that a GPU is any good."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_gpu import TASKS, TEXTS, TINY, TWO, CompilationError, Fake, HerePool, expected, in_order, timeless

from gp.evolution.cascade import _fate
from gp.lab import chunks
from gp.lab.batched import BatchedTrainer
from gp.lab.chunks import check, measure_chunk, measure_together, most_candidates, network_bytes
from gp.lab.measure import SeedResult
from gp.lab.network import SMALL
from gp.lab.pool import cut
from gp.lab.problems import problems
from gp.lab.trainer import Losses
from gp.lab.training import Training
from gp.workers import Failure
from kernels.population import Population
from kernels.programs import program

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    monkeypatch.setattr(chunks, "BatchedTrainer", Fake)
    monkeypatch.setattr(Fake, "sizes", [])
    return Fake


# Many candidates at once


def test_results_are_those_of_the_tasks_in_their_order(fake: type[Fake]) -> None:
    """Of one seed, of all seeds of each program, of the seeds of each in turn, and of some that are left over."""
    by_program = [(text, seed) for text in TEXTS[:3] for seed in (0, 1)]
    by_seed = [(text, seed) for seed in (1, 0) for text in TEXTS[:3]]
    for tasks, sizes in ((TASKS, [7]), (by_program, [3]), (by_seed, [3]), (by_program[1:], [1, 2]), ((), [])):
        fake.sizes.clear()
        assert timeless(measure_together(tasks, TINY, "cpu")) == expected(tasks)
        assert fake.sizes == sizes  # programs with equal seeds are trained together
    assert expected(by_program) != expected(by_seed)  # negative control


@pytest.mark.parametrize(
    ("most", "sizes"), [(7, [7]), (4, [7, 3, 4]), (2, [7, 3, 1, 2, 4, 2, 2]), (1, [7, 3, 1, 2, 1, 1, 4, 2, 1, 1, 2, 1, 1])]
)
def test_what_does_not_fit_is_halved(fake: type[Fake], monkeypatch: pytest.MonkeyPatch, most: int, sizes: list[int]) -> None:
    monkeypatch.setattr(fake, "most", most)
    assert timeless(measure_together(TASKS, TINY, "cpu")) == expected(TASKS)
    assert fake.sizes == sizes


def test_one_that_does_not_fit_alone_fails_alone(fake: type[Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "huge", TEXTS[3])
    tasks = [(text, seed) for text in TEXTS for seed in (0, 1)]
    found = timeless(measure_together(tasks, TINY, "cpu"))
    lost = Failure("took more than the memory of the GPU")
    assert found == [lost if text == TEXTS[3] else result for (text, _), result in zip(tasks, expected(tasks), strict=True)]
    assert _fate(lost) == "out of memory: took more than the memory of the GPU"  # as a search counts it


def test_other_errors_are_not_taken_for_a_lack_of_memory(fake: type[Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "bad", TEXTS[3])
    with pytest.raises(CompilationError):
        measure_together(TASKS, TINY, "cpu")
    assert fake.sizes == [7]


def test_a_mistake_in_a_text_is_a_failure_of_that_text(fake: type[Fake]) -> None:
    tasks = (("tanh(", 0), *TASKS[:2], ("nothing(x)", 1), *TASKS[2:])
    first, one, two, other, *rest = timeless(measure_together(tasks, TINY, "cpu"))
    assert [one, two, *rest] == expected(TASKS)
    assert first.reason.startswith("DSLError: line 1, column 5: '(' is never closed")
    assert other.reason.startswith("DSLError: line 1, column 1: unknown function 'nothing'")
    assert fake.sizes == [7]


def test_seconds_are_shares(fake: type[Fake]) -> None:
    tasks = [(text, seed) for text in TEXTS[:3] for seed in (0, 1)]
    start = time.perf_counter()
    found = [r for r in measure_together(tasks, TINY, "cpu") if isinstance(r, SeedResult)]
    whole = time.perf_counter() - start
    assert len({(r.seconds, r.compiled) for r in found}) == 1
    assert 0 < found[0].compiled < found[0].seconds
    assert sum(r.seconds for r in found) <= whole
    assert fake.sizes == [3]


# Memory


def test_the_memory_of_a_network() -> None:
    """By hand: 1 to 4 to 3 to 1 with batches of 8 and 256 test points; the widest input is that of harmonics, 3."""
    networks = problems(TWO, (0,), TINY.architecture)
    parameters = 3 * 4 + 4 + 4 * 3 + 3 + 3 + 1
    assert network_bytes(networks, TINY.training) == 4 * (5 * parameters + 256 * (3 + 3 * 7 + 3 * 4 + 6))
    assert network_bytes(networks, Training(4, 1e-2, batch=512)) == 4 * (5 * parameters + 512 * (3 + 3 * 7 + 3 * 4 + 6))


@pytest.mark.parametrize("batch", [8, 512])
@pytest.mark.parametrize("other", ["x*sigmoid(3*x)", "x - mean(x)"])  # beside functions that keep slopes, one that keeps x
def test_no_network_takes_more(batch: int, other: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What torch's allocator counts, without that of the kernels, which are left out."""
    monkeypatch.setattr(Population, "forward", lambda self, x, values, slope, *_: slope if self.pointwise else x)
    monkeypatch.setattr(Population, "backward", lambda *_: (None, None))
    networks = problems(TWO, (0, 1, 2), SMALL)
    training = Training(2, 1e-2, batch=batch)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        BatchedTrainer([program("x*sigmoid(x)"), program("x*sigmoid(2*x)"), program(other)], networks, training, "cpu").train()
    profile.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    changes = [event["args"]["Bytes"] for event in events if event["name"] == "[memory]"]
    most = max(itertools.accumulate(changes)) / 18
    assert 0.5 < most / network_bytes(networks, training) < 1


def test_as_many_as_there_is_memory_for_are_trained_at_once(fake: type[Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    networks = problems(TWO, (0,), TINY.architecture)
    each = 2 * network_bytes(networks, TINY.training)
    assert [most_candidates(networks, TINY.training, free) for free in (0, each, 5.01 * each, 50.01 * each)] == [1, 1, 3, 30]
    monkeypatch.setattr(chunks, "free_memory", lambda device: 5.01 * each)
    assert timeless(measure_together(TASKS, TINY, "cpu")) == expected(TASKS)
    assert fake.sizes == [3, 3, 1]


# Chunks


def test_chunks_have_all_seeds_of_a_program_and_all_gpus_have_one() -> None:
    tasks = [(text, seed) for seed in (0, 1) for text in TEXTS]
    for gpus, sizes in ((1, [14]), (2, [8, 6]), (3, [6, 6, 2]), (100, [2] * 7)):
        found = cut(tasks, gpus)
        assert [len(chunk) for chunk in found] == sizes
        assert sorted(k for chunk in found for k in chunk) == list(range(14))
        for chunk in found:
            texts = [tasks[k][0] for k in chunk]
            assert all(texts.count(text) == 2 for text in texts)
    assert cut([], 2) == []
    many = [(f"x + {k}", 0) for k in range(1000)]
    assert [len(chunk) for chunk in cut(many, 1)] == [250] * 4
    assert [len(chunk) for chunk in cut(many, 3)] == [167] * 5 + [165]


@pytest.mark.parametrize("gpus", [1, 2, 3])
@pytest.mark.usefixtures("fake")
def test_results_are_the_same_in_any_chunks(gpus: int) -> None:
    pool = HerePool(gpus)
    assert in_order(pool, TASKS) == expected(TASKS)
    assert len(pool.here.chunks) == gpus


def test_a_chunk_that_fails_is_halved_until_one_is_to_blame(fake: type[Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "bad", TEXTS[3])
    pool = HerePool()
    found = in_order(pool, TASKS)
    assert found[3] == Failure("CompilationError: at 3:14: no such operation")
    assert found[:3] + found[4:] == [r for k, r in enumerate(expected(TASKS)) if k != 3]
    assert [len(chunk) for chunk in pool.here.chunks] == [7, 3, 4, 2, 2, 1, 1]


def test_a_worker_whose_gpu_is_lost_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def end(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(chunks, "measure_together", fail)
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    packed = pickle.dumps(TINY)
    for device in ("cuda:0", "cpu"):
        with pytest.raises(RuntimeError, match="illegal memory access"):
            measure_chunk(TASKS, packed, device)
    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    with pytest.raises(SystemExit):
        measure_chunk(TASKS, packed, "cuda:0")


# The check of a GPU


def test_a_device_that_computes_the_same_is_good(fake: type[Fake]) -> None:
    assert check("cpu") == "Triton's interpreter"
    assert fake.sizes == [2]


@pytest.mark.parametrize(("factor", "good"), [(1.0005, True), (1.002, False), (np.nan, False)])
def test_a_device_that_computes_something_else_is_not(fake: type[Fake], monkeypatch: pytest.MonkeyPatch, factor: float, good: bool) -> None:
    def train(self: Fake) -> list[Losses]:
        return [dataclasses.replace(each, outside=factor * each.outside) for each in plain(self)]

    plain = fake.train
    monkeypatch.setattr(fake, "train", train)
    with contextlib.nullcontext() if good else pytest.raises(ArithmeticError, match="losses differ from those of the CPU by a relative"):
        check("cpu")


def test_a_gpu_without_room_is_not_good(fake: type[Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "most", 0)
    with pytest.raises(RuntimeError, match="took more than the memory of the GPU"):
        check("cpu")
