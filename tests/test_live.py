"""The live view of a run: it fits its terminal, shows what is so, and is cheap."""

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
from collections.abc import Generator
from pathlib import Path

from fake_search import FakeScorer, Recorder, result
from rich.cells import cell_len
from rich.console import Console

from gp.cli.live import LiveView
from gp.cli.live_panels import beside, cut
from gp.cli.progress import Lines
from gp.evolution.cascade import Batch, Result
from gp.evolution.config import Config
from gp.evolution.engine import Engine, Observer, drive

CONFIG = Config(population=24, generations=4, islands=2, stages=3, tuned=2, finalists=4, seed=3)
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _console(columns: int, rows: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=columns, height=rows)


def _drawn(view: LiveView, columns: int, rows: int) -> list[str]:
    """The lines that the view draws on a terminal of that size."""
    view._console.size = columns, rows  # type: ignore[assignment]
    console = Console(file=io.StringIO(), width=columns, height=rows)
    console.print(view._draw(), soft_wrap=True)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_nothing_fits() -> None:
    class Unfit(FakeScorer):
        def measure(self, batch: Batch) -> Generator[Result]:
            for text, seed in batch.tasks:
                yield result(f"exp(x) + {text}", seed, batch, "sin(x)")

    stream = io.StringIO()
    engine = Engine(Config(population=8, islands=1, generations=1, tuned=0, finalists=2, stages=1))
    view = LiveView(engine, _console(80, 24))
    engine.observers = [Lines(engine, stream), view]
    drive(engine, Unfit())
    assert "8 trained, nothing fits yet; quick 8; rejected: " in stream.getvalue()
    assert "8 did not fit" in stream.getvalue()
    assert "nothing fits yet" in "\n".join(_drawn(view, 80, 24))


class Looks(Observer):
    """Draws the view on terminals of several sizes, now and then."""

    SIZES = ((120, 40), (60, 20), (99, 50), (250, 70), (20, 6), (1, 1))

    def __init__(self, view: LiveView) -> None:
        self.view = view
        self.count = 0
        self.frames: list[str] = []

    def measured(self, batch: Batch, index: int, result: Result) -> None:
        self.count += 1
        if self.count % 20 == 3:
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
    assert any(frame.startswith("measuring again") for frame in looks.frames)
    last = "\n".join(_drawn(view, 120, 40))
    assert last.startswith("judging on unseen data")
    best = engine.best(1)[0]
    assert "best by the scores of the search alone" in last
    assert not any("finalists so far" in frame for frame in looks.frames if frame.startswith("generation"))
    assert engine.hall is not None
    shown = last.partition("finalists so far")[2]
    for entry in engine.hall.entries[:3]:
        scores = (entry.score, entry.selection_score, entry.unseen_score)
        words = [f"{score:+.3f}" for score in scores] + [entry.formula[:20].split()[0]]
        assert any(line.split()[:4] == words for line in shown.splitlines())
    early = next(frame for frame in looks.frames if frame.startswith("ranking on other data"))
    assert re.search(r"finalists so far .*\n.*\n +[+-]\d\.\d{3}", early)  # what is known so far
    assert f"{best.differences[-1]:+.3f} to gelu" in last
    for stage in ("quick", "standard", "full"):
        assert re.search(rf"{stage} .*{engine.cascade.entered[stage]}→{engine.cascade.completed[stage]}\b", last)
    assert re.search(rf"quick .* {len(recorder.newcomers[-1])}→\d+ +{engine.cascade.entered['quick']}→", last)  # of the last generation
    assert re.search(rf"duplicate +{engine.admission.rejections['duplicate']}\b", last)
    front = last.partition("Pareto front")[2]
    assert re.search(rf"{best.differences[-1]:+.3f}  full +{best.cost} +{best.size}  {re.escape(best.text)[:20]}", front)
    credit = engine.credit.to_json()
    favourite = max(credit, key=lambda name: (credit[name]["share"], name))
    assert re.search(rf"{favourite} .*{credit[favourite]['successes']}/{credit[favourite]['children']}", last)
    assert "100%  " in last


def test_parts_have_their_width_whatever_is_in_them() -> None:
    assert cut(8, "x*tanh(exp(x))").plain == "x*tanh(…"
    assert cut(8, "x", ("+1", "bold")).plain == "x+1     "
    lines = beside([cut(5, "left")], [cut(6, "right 1"), cut(6, "more")], (5, 6))
    assert [line.plain for line in lines] == ["left   right…", "       more  "]


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


def test_a_real_run_in_a_terminal_that_shrinks(tmp_path: Path) -> None:
    """All frames fill the terminal exactly, before and after; what was there before the run is there after it."""
    master, slave = pty.openpty()
    _resize(master, 120, 40)
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[1]), "TERM": "xterm-256color"}
    settings = [f"--set={setting}" for setting in ("islands=1", "finalists=2", "tuned=0", "stages=2")]
    size = ["--population", "8", "--generations", "2", "--steps", "20"]
    arguments = ["run", *size, *settings, "--device", "cpu", "--workers", "1", "--out", "a"]
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
    assert re.match("measuring again|ranking|judging", by_size[60, 20][-1][0])


def _resize(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
