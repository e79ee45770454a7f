"""The search: variation, screening, the engine, the hall of fame, and `gp run`."""

import dataclasses
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fake_search import FakeScorer, Recorder

from codegen.operators import FUNCTIONS
from gp.cli import main
from gp.evolution.config import Config
from gp.evolution.engine import DUPLICATE, UNFIT, Engine
from gp.evolution.evaluator import Evaluator
from gp.evolution.genome import canonical_key, places, replace, short_text, size, structure
from gp.evolution.hall import REFERENCE, Entry, _text, _to_reference, make_hall
from gp.evolution.screen import profile
from gp.evolution.space import catalogue, grow, productions
from gp.evolution.variation import OPERATORS
from gp.lab.data import instances
from gp.lab.protocol import Measurement
from gp.lab.score import Score
from gp.lab.training import Training
from gp.run_store import FILE, RunDirectoryError, read_about, read_best, read_progress
from grammar import parse

# Genomes


def test_places_and_replacement_agree() -> None:
    tree = parse("where(x > 1, sin(x)*2, -x + x^2)").result
    for place in places(tree):
        assert replace(tree, place.path, place.node) == tree
    assert size(tree) == len(list(places(tree)))


def test_the_operator_table_drives_the_space() -> None:
    names = {p.name for p in productions()}
    assert set(FUNCTIONS) <= names
    assert {"gelu", "relu"} <= set(catalogue()) <= names
    assert not {"prelu", "neighbour_coupled"} & names  # these have parameters or neighbours
    trees = [grow(np.random.default_rng(k), 4, True) for k in range(2000)]
    drawn = {type(p.node).__name__ + getattr(p.node, "function", "") for tree in trees for p in places(tree)}
    assert {"Call" + name for name in FUNCTIONS} <= drawn


# Recognising and screening


@pytest.mark.parametrize(
    ("first", "second"), [("x*sigmoid(x)", "sigmoid(x)*x"), ("x + 0*2", "x"), ("silu(x)", "x*sigmoid(x)"), ("--sin(x)", "sin(x)")]
)
def test_equal_functions_have_one_key(first: str, second: str) -> None:
    assert canonical_key(first) == canonical_key(second)


def test_different_constants_have_different_keys_and_one_structure() -> None:
    assert canonical_key("sin(3*x)") != canonical_key("sin(4*x)")
    assert structure("sin(3*x)") == structure("sin(4*x)")


def test_functions_with_equal_values_have_one_fingerprint() -> None:
    assert profile("max(x, 0)").fingerprint == profile("(x + abs(x))/2").fingerprint
    assert profile("sin(x)").fingerprint != profile("sin(1.01*x)").fingerprint


REJECTED = {
    "constant": ["2", "sin(2)*3", "x*0 + 1", "sign(x^2 + 1)", "exp(-99)*tanh(x)"],
    "linear": ["x", "3*x - 2", "min(x, x + 1)", "(x + 1)^2 - x^2", "x + 1e-5*sin(x)", "log(exp(x))"],
    "not finite": ["log(x)", "1/x", "sqrt(x)", "exp(exp(x))", "x^0.3", "cbrt(x)", "tan(pi*x/2)/0"],
    "no gradient": ["sign(x)", "floor(x)", "round(3*x)", "where(x > 0, 1, 0)"],
    "too large": ["+".join(f"sin({k}*x + {k})" for k in range(1, 30))],
}


@pytest.mark.parametrize(("reason", "text"), [(r, t) for r, texts in REJECTED.items() for t in texts])
def test_screen_rejects(reason: str, text: str) -> None:
    assert profile(text).objection(60) == reason


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh", "sine", "elu", "softplus", "squared_relu", "gelusine", "gcu", "hardshrink"])
def test_screen_lets_useful_functions_pass(name: str) -> None:
    assert profile(name + "(x)").objection(60) is None


def test_short_text_means_the_same() -> None:
    for text in ("(x + 0)*1*tanh(x)", "x*sigmoid(x) + (sin(x) - 0)", "2*3*x^2"):
        assert len(short_text(text)) <= len(text)
        assert canonical_key(short_text(text)) == canonical_key(text)


# Engine, with a scorer that prefers functions near sin(x)


def _run(config: Config) -> tuple[Engine, Recorder, FakeScorer]:
    recorder, scorer = Recorder(), FakeScorer()
    engine = Engine(config, scorer, [recorder])
    engine.run()
    return engine, recorder, scorer


def test_engine_improves_and_accounts_for_every_candidate() -> None:
    config = Config(seed=1, population=40, generations=6)
    engine, recorder, scorer = _run(config)
    assert len(scorer.texts) == len(set(scorer.texts)) == config.planned == sum(recorder.counts)
    keys = [canonical_key(t) for t in scorer.texts]
    assert len(keys) == len(set(keys))
    assert sorted(row["number"] for row in recorder.rows) == list(range(len(recorder.rows)))
    assert sum(engine.rejections.values()) == sum(row["reason"] is not None for row in recorder.rows)
    assert {DUPLICATE, UNFIT, "failed"} <= set(engine.rejections)
    first = min(c.fitness for c in engine.candidates if c.generation == 0)
    assert engine.best(1)[0].fitness <= first
    by_number = {row["number"]: row for row in recorder.rows}
    for row in recorder.rows:
        assert len(row["parents"]) == (OPERATORS[row["origin"]].parents if row["generation"] else 0)
        assert all(by_number[p]["generation"] < row["generation"] and by_number[p].get("reason") is None for p in row["parents"])
    assert {row["origin"] for row in recorder.rows if row["generation"]} == set(OPERATORS)
    assert {"seed gelu", "seed relu"} <= {row["origin"] for row in recorder.rows}


def test_engine_counts_what_its_operators_did() -> None:
    engine, recorder, _ = _run(Config(seed=1, population=30, generations=5))
    fitness = {c.number: c.fitness for c in engine.candidates}
    children = [c for c in engine.candidates if c.generation]
    counts = engine.credit.to_json()
    for name in OPERATORS:
        mine = [c for c in children if c.origin == name]
        assert counts[name]["children"] == len(mine)
        assert counts[name]["successes"] == sum(c.fitness < min(fitness[p] for p in c.parents) for c in mine)
    assert len(children) == sum(recorder.counts[1:])
    assert 0 < sum(count["successes"] for count in counts.values()) < len(children)
    assert engine.credit.shares() != Engine(engine.config, FakeScorer()).credit.shares()


def test_a_program_past_the_bounds_of_the_language_is_turned_away() -> None:
    engine, recorder = Engine(Config(max_size=200), FakeScorer()), Recorder()
    engine.observers.append(recorder)
    deep = parse("phase_locked_entropic_repulsion(" * 23 + "x" + ")" * 23).result
    engine._admit([], 0, "random", (), deep)
    assert [row["reason"] for row in recorder.rows] == ["too large"]


def test_same_seed_same_run_and_another_seed_another() -> None:
    runs = [_run(Config(seed=s, population=16, generations=3)) for s in (0, 0, 1)]
    assert runs[0][1].rows == runs[1][1].rows
    assert runs[0][1].rows != runs[2][1].rows


def test_best_candidates_differ_in_structure() -> None:
    engine, _, _ = _run(Config(seed=2, population=30, generations=5))
    best = engine.best(10)
    assert len({structure(c.text) for c in best}) == len(best) == 10
    assert [c.fitness for c in best] == sorted(c.fitness for c in best)


def test_hall_is_measured_from_the_text_it_shows() -> None:
    engine, recorder, scorer = _run(Config(seed=3, population=20, generations=3, finalists=8, hall=5))
    before = len(scorer.texts)
    hall = make_hall(engine)
    measured = scorer.texts[before:]
    assert hall.complete
    assert recorder.finals == len(measured)
    assert len(measured) <= 3 + 8 + 3 + 5
    for entry in (*hall.entries, *hall.baselines):
        assert measured.count(entry.formula) == 2  # once to rank it, once on polynomials that are unseen
        assert entry.unseen is not None
    assert [e.score.score for e in hall.entries] == sorted(e.score.score for e in hall.entries)
    assert [b.name for b in hall.baselines] == ["relu", "gelusine"]  # the fake scorer fails where there is an erf


@pytest.mark.parametrize("after", [1, 7, 25])
def test_a_stopped_run_keeps_what_it_has(after: int) -> None:
    scorer = FakeScorer()
    engine = Engine(Config(seed=4, population=20, generations=3), scorer)
    engine.observers.append(Recorder(engine, after))
    engine.run()
    hall = make_hall(engine)
    assert len(engine.candidates) == len(scorer.texts) == after
    assert not hall.complete
    assert len(hall.entries) == len(engine.best(engine.config.hall))
    json.dumps(hall.to_json(), allow_nan=False)


def test_a_failure_is_a_result() -> None:
    with Evaluator() as evaluator:
        what = Measurement(instances("search")[:3], (0, 1), Training(10, 1e-2))
        results = list(evaluator.scores(["tanh(x)", "tanh(", "x*sigmoid(x)"], what))
    assert [isinstance(r, Score) for r in results] == [True, False, True]
    assert str(results[1]).startswith("failed: DSLError: line 1")


# The command


COMMAND = [sys.executable, "-m", "gp", "run"]
SMALL = ["--population", "4", "--generations", "2", "--steps", "30"]


def _command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run([*COMMAND, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("run")
    return folder / "a", _command(*SMALL, "--seed", "5", "--workers", "1", "--out", "a", cwd=folder)


def test_command_writes_a_run_and_a_table(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = finished
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith("generation 1/2: 4 evaluations, best -")
    assert lines[-1] == "Results are in a"
    assert "\x1b" not in done.stdout
    hall = json.loads((folder / "hall_of_fame.json").read_text())
    assert hall["complete"]
    assert [b["name"] for b in hall["baselines"]] == ["relu", "gelu", "gelusine"]
    for entry in hall["entries"]:
        assert f"{entry['score']:+.3f}" in done.stdout
        text = (folder / "hall_of_fame" / f"{entry['rank']:02}.act").read_text()
        assert canonical_key(text) == canonical_key(entry["formula"])
    assert json.loads(read_about(folder)["config"])["seed"] == 5
    assert read_progress(folder) == (2, 7)
    assert [found.score for found in read_best(folder, 3)] == sorted(found.score for found in read_best(folder, 3))


def test_same_seed_same_hall_of_fame_with_two_workers(finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = _command(*SMALL, "--seed", "5", "--workers", "2", "--json", "--out", "b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b" / "hall_of_fame.json").read_bytes() == (finished[0] / "hall_of_fame.json").read_bytes()
    assert json.loads(done.stdout)["entries"] == json.loads((finished[0] / "hall_of_fame.json").read_text())["entries"]
    assert done.stderr.startswith("generation 1/2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--population", "1"], "population must be a whole number from 4 to 100000, not 1"),
        (["--generations", "0"], "generations must be"),
        (["--steps", "-3"], "steps must be"),
        (["--workers", "0"], "workers must be"),
        (["--seed", "-1"], "seed must be"),
        (["--seed", "one"], "seed"),
        (["--out", "full"], "full is not empty"),
        (["--out", "full/file"], "cannot write to full/file"),
        (["--speed", "9"], "--speed"),
    ],
)  # fmt: skip
def test_bad_options_are_one_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("something")
    monkeypatch.chdir(tmp_path)
    assert main(["run", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def _trained(folder: Path) -> int:
    """How many candidates are on record; none while the record is being set up."""
    try:
        return read_progress(folder)[1]
    except RunDirectoryError:
        return 0


def test_interrupt_on_a_terminal_keeps_what_was_found(tmp_path: Path) -> None:
    """Ctrl-C typed at a terminal reaches the workers as well; the hall of fame so far is shown, with status 130."""
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "TERM": "xterm", "COLUMNS": "120"}
    arguments = [*COMMAND, "--workers", "2", "--out", "c"]
    process = subprocess.Popen(arguments, cwd=tmp_path, env=environment, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    record = tmp_path / "c" / FILE
    sent, output, limit = False, b"", time.monotonic() + 90
    while time.monotonic() < limit:
        if select.select([master], [], [], 0.2)[0]:
            try:
                output += os.read(master, 65536)
            except OSError:  # the other end is closed
                break
        if not sent and record.exists() and _trained(tmp_path / "c") > 4:
            os.killpg(process.pid, signal.SIGINT)
            sent = True
    assert process.wait(20) == 130
    text = output.decode()
    assert "generation" in text
    assert "Hall of fame so far" in text
    assert "Results are in c" in text
    assert "Traceback" not in text
    assert not json.loads((tmp_path / "c" / "hall_of_fame.json").read_text())["complete"]


REFERENCE_TEXT = _text(REFERENCE)


def test_differences_are_paired_and_a_win_here_alone_is_marked() -> None:
    what = dataclasses.replace(Config().final, parts=True)
    parts = np.zeros((len(what.seeds), len(what.instances)))

    def measured(shift: float) -> Score:
        return Score(shift, {}, {}, 0, 0, fit=-5, ood_loss=1, diverged=0, seconds=1, parts=(parts + shift).tolist())

    scores = {"tanh(x)": measured(-0.5), REFERENCE_TEXT: measured(0.0)}
    assert _to_reference("tanh(x)", scores, what) == pytest.approx((-0.5, -0.5, -0.5))
    assert _to_reference("sin(x)", scores, what) is None
    entry = Entry("tanh(x)", None, scores["tanh(x)"], scores["tanh(x)"], None, (-0.5, -0.7, -0.3), (-0.1, -0.3, 0.1))
    assert entry.wins_here_alone
    assert not dataclasses.replace(entry, unseen_difference=(-0.2, -0.3, -0.1)).wins_here_alone
    assert not dataclasses.replace(entry, difference=(-0.5, -1.1, 0.1)).wins_here_alone
    assert not dataclasses.replace(entry, unseen_difference=None).wins_here_alone
