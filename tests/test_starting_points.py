"""`--seed-from` and `initial`: what they may name, that it reaches the search, and that a mistake is one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_search import FakeScorer, Recorder

from gp.cli import main
from gp.cli.errors import CommandError
from gp.cli.starting_points import with_seeds
from gp.evolution.config import Config
from gp.evolution.engine import Engine, drive
from gp.evolution.recall import RecallingScorer
from gp.run_store import RunStore

TINY = Config(population=8, islands=2, generations=1, finalists=3, hall=2, tuned=0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a few files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.act").write_text("# notes\ninner = sin(2.5*x)\nx*inner + inner^2\n")
    (tmp_path / "many.txt").write_text("# what I tried\n\ntanh(3.5*x)*x  # best so far\nsilu\n\nx*sin(x)\n")
    (tmp_path / "wrong.txt").write_text("tanh(x)*x\nsin(x\n")
    (tmp_path / "wrong.act").write_text("x*sigmoi(x)\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bytes.txt").write_bytes(b"sin(x)\n\xff\n")
    return tmp_path


def texts(*sources: str, config: Config = TINY) -> tuple[str, ...]:
    return with_seeds(config, sources).initial


def test_expressions_names_and_files(folder: Path) -> None:
    assert texts() == ()
    assert texts("0.5*x + tanh(x)*x") == ("0.5*x + tanh(x)*x",)
    assert texts("silu") == texts("x*sigmoid(x)") == ("x*sigmoid(x)",)
    assert texts("mine.act") == ("x*sin(2.5*x) + sin(2.5*x)^2",)
    assert texts("many.txt") == ("tanh(3.5*x)*x", "x*sigmoid(x)", "x*sin(x)")
    assert texts("many.txt", "x*sin(x)", "cos(x)") == ("tanh(3.5*x)*x", "x*sigmoid(x)", "x*sin(x)", "cos(x)")  # each once


def test_they_come_after_those_of_the_settings(folder: Path) -> None:
    config = Config(population=8, islands=2, initial=("gelu", "sin(2*x) + x"))
    assert texts("cos(x)", config=config)[1:] == ("sin(2*x) + x", "cos(x)")
    assert "erf" in texts(config=config)[0]


def test_they_take_part_in_the_search(folder: Path) -> None:
    engine = Engine(with_seeds(TINY, ["many.txt", "mine.act"]))
    heard = Recorder()
    engine.observers.append(heard)
    drive(engine, FakeScorer())
    assert {c.text for c in heard.newcomers[0] if c.origin == "seed"} >= set(texts("many.txt", "mine.act"))


def test_an_earlier_run_gives_its_hall_of_fame(folder: Path) -> None:
    with RunStore.create(folder / "run", TINY) as store:
        engine = Engine(TINY)
        store.attach(engine)
        hall = drive(engine, RecallingScorer(FakeScorer(), store))
        unfinished = texts("run")
        store.save_hall(hall)
    assert hall.complete
    assert texts("run") == tuple(e.formula for e in hall.entries)
    assert len(unfinished) == 2  # as many as a hall of fame has: the best so far
    assert set(unfinished) <= {c.text for c in engine.best(8)}


def test_learnable_parameters_need_a_space_that_has_them(folder: Path) -> None:
    learnable = "param a = 0.5; x*sigmoid(a*x)"
    with pytest.raises(CommandError, match="is not in the space of the search; --parameters, --statistics, --shifts or other weights make"):
        texts(learnable)
    assert texts(learnable, config=Config(parameters="scalar")) == ("param p1 = 0.5; x*sigmoid(p1*x)",)


BAD = [
    (["--seed-from", "sin(x"], "--seed-from sin(x: line 1"),
    (["--seed-from", "gelo"], "there is no activation called 'gelo' (see gp list); did you mean 'gelu'?"),
    (["--seed-from", "missing.act"], "there is no file missing.act"),
    (["--seed-from", "wrong.act"], "wrong.act: line 1, column 3: unknown function 'sigmoi'"),
    (["--seed-from", "wrong.txt"], "wrong.txt, line 2: line 1"),
    (["--seed-from", "bytes.txt"], "bytes.txt is not text in UTF-8"),
    (["--seed-from", "empty"], "--seed-from empty: there is no run in this directory (no file run.sqlite)"),
    (["--seed-from", ""], "--seed-from"),
    (["--seed-from", "tanh(x) + " * 100 + "x*sigmoi(x)"], "unknown function 'sigmoi'"),
    (["--seed-from", "mean(x)*x"], "--seed-from mean(x)*x: mean(x)*x is not in the space of the search"),
    (["--seed-from", "shift(x, 1)*x"], "is not in the space of the search"),
    (["--seed-from", "prelu"], "is not in the space of the search"),
    (["--seed-from", "sin(x)", "--set", "weights.sin=0"], "--seed-from sin(x): sin(x) is not in the space of the search"),
    (["--set", 'initial=["tan(x"]'], "initial: 'tan(x' is not a program: line 1"),
    (["--set", 'initial=["sin(x)", "mean(x)"]'], "initial: 'mean(x)' is not in the space of the search"),
    (["--set", "weights.sinn=2"], "weights: there is no production 'sinn', did you mean 'sin'? (gp run --print-config "),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "")
def test_a_mistake_is_one_message(arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *arguments, "--out", "run"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.startswith("gp: ")
    assert "Traceback" not in printed.err
    assert not (folder / "run").exists()


def test_print_config_holds_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--seed-from", "many.txt", "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert 'initial = ["tanh(3.5*x)*x", "x*sigmoid(x)", "x*sin(x)"]' in printed
    (folder / "again.toml").write_text(printed)
    assert main(["run", "--config", "again.toml", "--print-config"]) == 0
    assert capsys.readouterr().out == printed


def test_a_long_expression_is_no_file_name(folder: Path) -> None:
    """Longer than a file name may be."""
    long = "+".join(f"sin({k}*x)" for k in range(1, 60))
    assert len(texts(long)) == 1
