"""What a run shows where there is no terminal, what the summaries of generations say, and how long a run will take."""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from fake_search import FakeScorer, Recorder, result

from gp.cli.errors import CommandError
from gp.cli.pace import PHASES, Pace
from gp.cli.progress import View, watching
from gp.evolution.cascade import Batch, Result
from gp.evolution.config import Config
from gp.evolution.engine import Engine, Observer, drive
from gp.tally import Summary, Tally

CONFIG = Config(population=24, generations=4, islands=2, stages=3, tuned=2, finalists=4, seed=3)


class Summaries(Tally):
    """Keeps the summaries."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.found: list[Summary] = []

    def summarised(self, summary: Summary) -> None:
        self.found.append(summary)


def test_generations_add_up_to_the_run() -> None:
    engine = Engine(CONFIG)
    summaries, recorder = Summaries(engine), Recorder()
    engine.observers = [summaries, recorder]
    scorer = FakeScorer()
    drive(engine, scorer)
    assert [s.generation for s in summaries.found] == [0, 1, 2, 3]
    assert [s.candidates for s in summaries.found] == [len(newcomers) for newcomers in recorder.newcomers]
    for stage in ("quick", "standard", "full"):
        assert sum(s.funnel[stage].entered for s in summaries.found) == engine.cascade.entered[stage] > 0
        assert sum(s.funnel[stage].completed for s in summaries.found) == engine.cascade.completed[stage] > 0
    assert sum((Counter(s.rejections) for s in summaries.found), Counter()) == engine.admission.rejections
    assert engine.admission.rejections.total() > 20
    later = sum(purpose in PHASES for purpose, _, _ in scorer.tasks)
    assert sum(s.measurements for s in summaries.found) == recorder.results - later
    second = [c.differences[1] for c in recorder.judgements if c.generation == 1 and len(c.differences) > 1 and c.origin != "tuning"]
    assert summaries.found[1].medians["standard"] == statistics.median(second)
    assert summaries.found[-1].best == engine.best(1)[0]


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(CONFIG)
    recorder = Recorder()
    with watching(engine, View(quiet=False, to_stderr=False, log=None, tensorboard=None)) as observers:
        engine.observers = [recorder, *observers]
        drive(engine, FakeScorer())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == CONFIG.generations + 4
    trained = 0
    for k, (line, newcomers) in enumerate(zip(lines, recorder.newcomers, strict=False)):
        trained += len(newcomers)
        assert line.startswith(f"generation {k + 1}/4: {trained} trained, best -")
        assert f"; quick {len(newcomers)} -> standard 8 -> full " in line
        assert "; rejected: " in line
    best = engine.best(1)[0]
    assert best.score is not None
    assert f"best {best.differences[-1]:+.3f} to gelu (score {best.score.score:+.3f}) {best.text};" in lines[3]
    reasons = Counter(c.reason for c in recorder.refused)
    assert reasons["duplicate"] == sum(int(n) for line in lines for n in re.findall(r"(\d+) duplicate", line)) > 0
    counts = [len(batch.tasks) for batch in recorder.batches[-3:]]
    last = [f"{what}: {n} measurements" for what, n in zip(list(PHASES.values())[1:], counts, strict=True)]
    assert lines[4:] == ["tuning constants", *last]


def test_quiet_is_silent_and_standard_error_is_possible(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        engine = Engine(Config(population=8, islands=1, generations=1, tuned=0, finalists=2))
        with watching(engine, View(quiet, to_stderr=True, log=None, tensorboard=None)) as observers:
            engine.observers += observers
            drive(engine, FakeScorer())
        printed = capsys.readouterr()
        assert printed.out == ""
        assert bool(printed.err) is not quiet


class Timed(FakeScorer):
    """Takes time, of a clock that it moves itself: 1 ms for a thousand steps."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__()
        self.clock = clock

    def measure(self, batch: Batch) -> Generator[Result]:
        for found in super().measure(batch):
            self.clock[0] += len(batch.measurement.instances) * batch.measurement.training.steps * 1e-4
            yield found


class Estimates(Observer):
    """Notes at the end of each generation when the run will be over, and all along how far it is."""

    def __init__(self, pace: Pace, clock: list[float]) -> None:
        self.pace, self.clock = pace, clock
        self.ends: list[float] = []
        self.shares: list[float] = []

    def generation_finished(self, generation: int) -> None:
        left = self.pace.seconds_left()
        assert left is not None
        self.ends.append(self.clock[0] + left)

    def batch_started(self, batch: Batch) -> None:
        self.shares.append(self.pace.share())


@pytest.mark.parametrize("settings", [{}, {"seconds": 100.0}, {"evaluations": 60}], ids=str)
def test_time_left_comes_true(settings: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    config = Config(**{"population": 24, "generations": 8, "islands": 2, "stages": 2, "tuned": 2, "finalists": 8, "seed": 3, **settings})
    engine = Engine(config)
    pace = Pace(engine)
    estimates = Estimates(pace, clock)
    engine.observers = [pace, estimates]
    assert pace.seconds_left() is None
    drive(engine, Timed(clock))
    assert (engine.generation < 8) is bool(settings)
    took = clock[0] - 1000
    for end in estimates.ends:
        assert abs(end - clock[0]) < 0.25 * took
    assert abs(estimates.ends[-1] - clock[0]) < 0.1 * took
    assert pace.share() == pytest.approx(1)
    assert max(a - b for a, b in zip(estimates.shares, estimates.shares[1:], strict=False)) < 0.05  # hardly ever back
    assert 0 < estimates.shares[len(estimates.shares) // 2] < 1


def test_results_on_record_are_no_sign_of_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pace = Pace(Engine(CONFIG))
    stage = CONFIG.cascade[0]
    batch = Batch("quick", stage.measurement, (("x", 0),) * 100)
    pace.batch_started(batch)
    for k in range(60):
        pace.measured(batch, k, result("x", 0, batch, "sin(x)"))
    assert (pace.measurements_per_second(), pace.seconds_left()) == (None, None)
    for k in range(60, 100):
        clock[0] += 0.5
        pace.measured(batch, k, result("x", 0, batch, "sin(x)"))
    assert pace.measurements_per_second() == pytest.approx(2)
    clock[0] += 20  # 40 results in 20 seconds, and then none: in the last 30 seconds there are those of 10
    assert pace.measurements_per_second() == pytest.approx(2 / 3, abs=0.05)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"log": "none/log.jsonl"}, r"--log .*none/log\.jsonl: there is no directory"),
        ({"log": "."}, "--log .*: this is a directory"),
        ({"tensorboard": "file"}, "--tensorboard .*file: cannot be written: File exists; choose another directory"),
    ],
    ids=str,
)
def test_files_that_cannot_be_written_are_one_error_before_the_search(view: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    paths = {key: tmp_path / name for key, name in view.items()}
    wanted = View(quiet=True, to_stderr=False, log=paths.get("log"), tensorboard=paths.get("tensorboard"))
    with pytest.raises(CommandError, match=message), watching(Engine(CONFIG), wanted):
        pytest.fail("the search began")
