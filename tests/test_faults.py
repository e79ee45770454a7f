"""Faults are injected by a command, `python -m bench.faults`; here are a few of its kinds, and that it notices what is not right."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest

from bench.command_fuzz import fuzz
from bench.faults.command import KINDS, carry_out_all
from bench.faults.damaged import damaged_records
from bench.faults.kinds import End, Kind, carry_out
from bench.faults.scene import HALL, Base, Said, Scene
from kernels.cache import default_cache

BY_NAME = {kind.name: kind for kind in KINDS}
A_FEW = [
    "kill -9 of a run in the finals",
    "a full disk for the record",
    "output of gp top to /dev/full",
    "a write-protected folder for the record",
    "gp top of a record with its second half cut off",
    "gp show gelu with standard output closed",
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base(tmp_path_factory.mktemp("faults"), default_cache().folder)


def test_there_are_many_kinds_each_with_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(KINDS) >= 50


def test_a_few_kinds_of_fault(base: Base, tmp_path: Path) -> None:
    for row in carry_out_all([BY_NAME[name] for name in A_FEW], base, tmp_path, seed=0):
        assert row.faults == (), row


def test_what_is_not_right_is_noticed(base: Base, tmp_path: Path) -> None:
    """A hall of fame that differs, results that are lost, a wrong status, words that are not said, a traceback."""

    def inject(scene: Scene) -> Said:
        scene.copy_run(base.whole)
        scene.note()
        key = next(iter(scene.seen))
        scene.seen[key] = (*scene.seen[key][:-1], b"another")
        (scene.run / HALL).write_text("{}")
        (scene.folder / "0.errors").write_text("Traceback (most recent call last):\nValueError: no")
        return Said(1, "", "gp: something else\n")

    row = carry_out(Kind("made up", inject, (2,), "what is the matter", End.SAME), Scene(base, tmp_path / "scene", random.Random(0)))
    assert row.faults == (
        "status 1 is not 2",
        "it does not say 'what is the matter'",
        "1 results were lost",
        "a traceback: ValueError: no",
    )
    right = Kind("made up", lambda scene: dataclasses.replace(inject(scene), status=2), (2,), "something", End.SAME)
    row = carry_out(right, Scene(base, tmp_path / "other", random.Random(0)))
    assert row.faults[0] == "the hall of fame is another one"


def test_damaged_records_are_refused_or_nothing_differs(base: Base, tmp_path: Path) -> None:
    found = damaged_records([base.whole], tmp_path, 30, seed=1)
    assert found.faults == ()
    assert found.fates["refused"] > 10


def test_command_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fuzz(100, seed=1)
    assert found.faults == ()
    assert found.statuses[2] > 50
    monkeypatch.setattr("bench.command_fuzz.gp", lambda words: 1 // 0)
    assert len(fuzz(5, seed=1).faults) == 5  # negative control
