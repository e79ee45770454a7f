"""Whatever the text, the one exception is DSLError, it says where and what to do, and it comes within a second."""

import os
import shlex
from typing import NoReturn

import pytest
from malformed import MALFORMED

from bench import language_fuzz
from bench.language_fuzz import fuzz
from codegen.build import build
from grammar import DSLError, parse
from grammar.tree import Program

INPUTS = int(os.environ.get("GP_FUZZ", "5000"))


@pytest.mark.parametrize(("text", "line", "column", "reason", "hint"), MALFORMED)
def test_malformed(text, line, column, reason, hint):
    with pytest.raises(DSLError) as caught:
        build(parse(text))
    error = caught.value
    assert (error.line, error.column) == (line, column), error
    assert reason in error.reason
    assert hint in error.hint
    message = str(error).split("\n")
    assert message[0] == f"line {line}, column {column}: {error.reason}"
    assert len(message) >= 3
    caret = message[2].index("^") - 2
    shown = message[1][2:]
    if column <= 50:
        source = [*text.split("\n"), ""][line - 1]
        assert caret == column - 1
        assert shown[:caret] == "".join(c if c.isprintable() else " " for c in source[:caret])


def test_there_are_enough():
    assert len(MALFORMED) >= 55
    assert len({text for text, *_ in MALFORMED}) == len(MALFORMED)


def test_fuzz():
    found = fuzz(INPUTS, seed=20260201)
    assert not found.faults, found.faults[0]
    assert INPUTS / 50 < found.accepted < INPUTS / 2


@pytest.mark.parametrize("error", [KeyError("slope"), RecursionError()])
def test_a_fault_comes_with_a_command_that_shows_it(monkeypatch, error):
    def broken(_program: Program) -> NoReturn:
        raise error

    monkeypatch.setattr(language_fuzz, "build", broken)
    fault = next(f for f in language_fuzz.fuzz(20, seed=1).faults)
    assert type(error).__name__ in fault
    command = shlex.split(fault.splitlines()[-1])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "<reproduction>", "exec")


def test_a_slow_text_is_a_fault(monkeypatch):
    monkeypatch.setattr(language_fuzz, "SECONDS", 0.0)
    assert "seconds" in language_fuzz.fuzz(1, seed=1).faults[0]
