"""What a run shows: lines of text, a live view, how long it will take."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from fake_search import FakeScorer, Recorder, result
from rich.cells import cell_len
from rich.console import Console

from gp.cli.errors import CommandError
from gp.cli.live import LiveView
from gp.cli.pace import Pace
from gp.cli.progress import Lines, View, watching
from gp.evolution.cascade import Batch, Result
from gp.evolution.config import Config
from gp.evolution.engine import Engine, Observer, drive
from gp.tally import Summary, Tally

CONFIG = Config(population=24, generations=4, islands=2, stages=3, tuned=2, finalists=4, seed=3)
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


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
    later = sum(purpose in ("tuning", "final", "validation") for purpose, _, _ in scorer.tasks)
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
    assert len(lines) == CONFIG.generations + 3
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
    counts = [len(batch.tasks) for batch in recorder.batches[-2:]]
    last = [f"measuring again: {counts[0]} measurements", f"measuring on unseen data: {counts[1]} measurements"]
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


def test_nothing_fits() -> None:
    class Unfit(FakeScorer):
        def measure(self, batch: Batch) -> Generator[Result]:
            for text, seed in batch.tasks:
                yield result(f"exp(x) + {text}", seed, batch)

    stream = io.StringIO()
    engine = Engine(Config(population=8, islands=1, generations=1, tuned=0, finalists=2, stages=1))
    view = LiveView(engine, _console(80, 24))
    engine.observers = [Lines(engine, stream), view]
    drive(engine, Unfit())
    assert "8 trained, nothing fits yet; quick 8; rejected: " in stream.getvalue()
    assert "8 did not fit" in stream.getvalue()
    assert "nothing fits yet" in "\n".join(_drawn(view, 80, 24))


def _console(columns: int, rows: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=columns, height=rows)


def _drawn(view: LiveView, columns: int, rows: int) -> list[str]:
    """The lines that the view draws on a terminal of that size."""
    view._console.size = columns, rows  # type: ignore[assignment]
    console = Console(file=io.StringIO(), width=columns, height=rows)
    console.print(view._draw(), soft_wrap=True)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


class Looks(Observer):
    """Draws the view on terminals of several sizes, now and then."""

    SIZES = ((120, 40), (60, 20), (99, 50), (250, 70), (20, 6), (1, 1))

    def __init__(self, view: LiveView) -> None:
        self.view = view
        self.count = 0
        self.frames: list[str] = []

    def measured(self, batch: Batch, index: int, result: Result) -> None:
        self.count += 1
        if self.count % 40 == 3:
            for columns, rows in self.SIZES:
                lines = _drawn(self.view, columns, rows)
                assert len(lines) <= rows
                assert max(map(cell_len, lines)) <= columns
                if (columns, rows) == (120, 40):
                    self.frames.append("\n".join(lines))


def test_live_view_fits_terminals_of_any_size() -> None:
    engine = Engine(CONFIG)
    view = LiveView(engine, _console(120, 40))
    looks, recorder = Looks(view), Recorder()
    engine.observers = [recorder, view, looks]
    drive(engine, FakeScorer())
    assert len(looks.frames) > 5
    assert looks.frames[0].startswith("measuring gelu")
    assert any("generation 2/4  48 trained" in frame for frame in looks.frames)
    assert looks.frames[-1].startswith("measuring on unseen data")
    last = "\n".join(_drawn(view, 120, 40))
    best = engine.best(1)[0]
    assert f"{best.differences[-1]:+.3f} to gelu" in last
    for stage in ("quick", "standard", "full"):
        assert re.search(rf"{stage} .*{engine.cascade.entered[stage]}→{engine.cascade.completed[stage]}\b", last)
    assert re.search(rf"duplicate +{engine.admission.rejections['duplicate']}\b", last)
    front = last.partition("Pareto front")[2]
    assert re.search(rf"{best.differences[-1]:+.3f}  full +{best.cost} +{best.size}  {re.escape(best.text)[:20]}", front)
    credit = engine.credit.to_json()
    favourite = max(credit, key=lambda name: (credit[name]["share"], name))
    assert re.search(rf"{favourite} .*{credit[favourite]['successes']}/{credit[favourite]['children']}", last)
    assert "100%  " in last


def test_live_view_is_cheap() -> None:
    engine = Engine(CONFIG)
    console = _console(120, 40)
    view = LiveView(engine, console)
    engine.observers = [view]
    drive(engine, FakeScorer())
    with view:
        took = []
        for _ in range(30):
            start = time.perf_counter()
            view._live.refresh()
            took.append(time.perf_counter() - start)
    assert statistics.median(took) < 5e-3


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


@pytest.mark.parametrize("settings", [{}, {"seconds": 400.0}, {"evaluations": 60}], ids=str)
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
        pace.measured(batch, k, result("x", 0, batch))
    assert (pace.measurements_per_second(), pace.seconds_left()) == (None, None)
    for k in range(60, 100):
        clock[0] += 0.5
        pace.measured(batch, k, result("x", 0, batch))
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


def test_a_real_run_in_a_terminal_that_shrinks(tmp_path: Path) -> None:
    """All frames fill the terminal exactly, before and after; what was there before the run is there after it."""
    master, slave = pty.openpty()
    _resize(master, 120, 40)
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[1]), "TERM": "xterm-256color"}
    settings = [f"--set={setting}" for setting in ("islands=1", "finalists=2", "tuned=0", "stages=2")]
    arguments = ["run", "--population", "8", "--generations", "2", "--steps", "20", *settings, "--workers", "1", "--out", "a"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gp", *arguments], cwd=tmp_path, env=environment, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    output, shrunk, limit = b"", False, time.monotonic() + 240
    while time.monotonic() < limit:
        if select.select([master], [], [], 0.2)[0]:
            try:
                output += os.read(master, 65536)
            except OSError:  # the other end is closed
                break
        if not shrunk and b"generation 2/2" in output:
            _resize(master, 60, 20)
            shrunk = True
    os.close(master)
    assert process.wait(20) == 0
    before, drawn, after = re.split(r"\x1b\[\?1049[hl]", output.decode())
    assert "Traceback" not in output.decode()
    assert ESCAPE.sub("", before).strip() == ""
    assert re.search(r"^generations: 2, candidates trained: 16, time: 0:\d\d:\d\d\r\n", ESCAPE.sub("", after).lstrip("\r\n"))
    assert "Hall of fame" in after
    frames = [re.split(r"\n\r|\r\n|\n", ESCAPE.sub("", frame)) for frame in drawn.split("\x1b[H") if frame.strip()]
    by_size: dict[tuple[int, int], list[list[str]]] = {(120, 40): [], (60, 20): []}
    for frame in frames:
        if not any(line.strip() for line in frame):
            continue
        assert len({cell_len(line) for line in frame}) == 1
        by_size[cell_len(frame[0]), len(frame)].append(frame)
    for size, found in by_size.items():
        text = "\n".join(found[-1])
        for section in ("cascade", "rejected", "best", "Pareto front", "operators", "quick", "standard", "to gelu", "left"):
            assert section in text, (size, section)
        assert re.search(r"━ +\d+%  ", text)
    assert any(" left" in frame[0] and "generation 1/2" in frame[0] for frame in by_size[120, 40])
    assert "measuring" in by_size[60, 20][-1][0]


def _resize(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
