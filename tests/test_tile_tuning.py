"""The choice of a tile: measured once for a class and a device, kept on disk, static without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels import tuning
from kernels.cache import DiskCache
from kernels.tuning import ANY, NARROW, Choice, kernel_class, tuned


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_memory", {})
    cache = DiskCache(tmp_path)
    monkeypatch.setattr(tuning, "default_cache", lambda: cache)


class Clock:
    """Seconds of each choice, and which of them were asked for."""

    def __init__(self, seconds: dict[Choice, float]) -> None:
        self.seconds = seconds
        self.asked: list[Choice] = []

    def __call__(self, choice: Choice) -> float:
        self.asked.append(choice)
        return self.seconds[choice]


def clock(best: Choice) -> Clock:
    return Clock({choice: 1.0 if choice == best else 2.0 for choice in {*ANY, *NARROW}})


@pytest.mark.parametrize("best", ANY)
def test_the_fastest_is_chosen_and_asked_for_once(best: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    times = clock(best)
    assert tuned("card", "flat f32 1", ANY, times) == best
    assert times.asked == list(ANY)
    assert tuned("card", "flat f32 1", ANY, times) == best
    monkeypatch.setattr(tuning, "_memory", {})  # another process finds it on disk
    assert tuned("card", "flat f32 1", ANY, None) == best
    assert times.asked == list(ANY)


def test_classes_and_devices_are_apart() -> None:
    assert tuned("card", "flat f32 1", ANY, clock(ANY[1])) == ANY[1]
    assert tuned("card", "flat f32 2", ANY, clock(ANY[2])) == ANY[2]
    assert tuned("other card", "flat f32 1", ANY, clock(ANY[3])) == ANY[3]
    assert tuned("card", "flat f32 1", ANY, None) == ANY[1]


def test_what_cannot_be_measured_is_not_kept() -> None:
    assert tuned("card", "flat f32 1", ANY, None) is None
    assert tuned("card", "flat f32 1", ANY, clock(ANY[1])) == ANY[1]


def test_classes_part_by_length() -> None:
    names = [kernel_class("flat", "f32", length) for length in (1, 30, 31, 100, 101, 300, 301, 9999)]
    assert [names.index(name) for name in names] == [0, 0, 2, 2, 4, 4, 6, 6]
    assert kernel_class("flat", "bf16", 1) != kernel_class("flat", "f32", 1) != kernel_class("structured", "f32", 1)


def test_the_static_choice_comes_first() -> None:
    """Where two are as fast, it stays with what holds without a GPU."""
    assert tuned("card", "any", ANY, lambda choice: 1.0) == ANY[0] == Choice(4, 2)
    assert tuned("card", "narrow", NARROW, lambda choice: 1.0) == NARROW[0] == Choice(4, 1)
