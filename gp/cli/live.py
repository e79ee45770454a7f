"""The live view of a run on a terminal: what is drawn, where, and when it changes.

A thread of rich draws it four times a second, while the search goes on in another; so what is drawn are copies that observers' calls
make, under a lock. Curve and front are computed once for a generation.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.segment import Segment, SegmentLines
from rich.text import Text

from codegen.function import activation
from gp.cli import live_panels as panels
from gp.cli.finalists import MEASURED, Finalists, Standing
from gp.cli.pace import PHASES, Pace
from gp.cli.sampling import Curve, sample
from gp.evolution.candidate import Candidate
from gp.evolution.cascade import Batch, Result
from gp.evolution.engine import Engine
from gp.evolution.island import objectives
from gp.evolution.pareto import front
from gp.tally import Passage, Summary, Tally

_WIDE, _TALL = 100, 32  # columns and lines from which there is room for two columns and a plot
_LEAST: Final = 3  # lines of a list: title, header, one row
_PLOT: Final = 14  # lines of the plot with its axis


class LiveView(Tally):
    """Draws on the whole terminal, which is as before when the context is left; then one line says what was done."""

    def __init__(self, engine: Engine, console: Console) -> None:
        super().__init__(engine)
        self._console = console
        self._lock = threading.Lock()
        self._pace = Pace(engine)
        self._stages: list[str] = [stage.name for stage in engine.cascade.stages]
        self._place = "measuring gelu"
        self._doing = ""
        self._done = 0  # of the batch's tasks
        self._tasks = 0
        self._size = console.size
        self._body: list[list[Segment]] = []  # of the panels, rendered; none when it has to be made anew
        self._funnel: Mapping[str, Passage] = self.funnel()
        self._best: Candidate | None = None
        self._curve: Curve | None = None
        self._front: list[Candidate] = []
        self._finalists = Finalists()
        self._standings: list[Standing] = []
        self._find()
        self._copy()
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=4, screen=True)

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.__exit__(kind, error, trace)
        elapsed = panels.clock(time.monotonic() - self._pace.started)
        done = f"generations: {self.engine.generation}, candidates trained: {self.engine.trained}, time: {elapsed}"
        self._console.print(done, soft_wrap=True)

    def generation_started(self, generation: int, candidates: Sequence[Candidate]) -> None:
        self._place = f"generation {generation + 1}/{self.engine.config.generations}"

    def batch_started(self, batch: Batch) -> None:
        with self._lock:
            self._pace.batch_started(batch)
            self._place = PHASES.get(batch.purpose, self._place)
            self._doing, self._done, self._tasks = ("" if batch.purpose in PHASES else batch.purpose), 0, len(batch.tasks)
            if batch.purpose not in PHASES:
                self._funnel = self.funnel()
            self._copy()

    def measured(self, batch: Batch, index: int, result: Result) -> None:
        with self._lock:
            super().measured(batch, index, result)
            self._pace.measured(batch, index, result)
            self._done = index + 1
            if batch.purpose in MEASURED:
                self._finalists.add(batch, index, result)
                self._standings = self._finalists.standings()
                self._body = []

    def summarised(self, summary: Summary) -> None:
        with self._lock:
            self._pace.generation_finished(summary.generation)
            self._funnel = summary.funnel
            self._find()
            self._copy()

    def _find(self) -> None:
        """Find what takes a while: the front, and the best candidate with its curve."""
        population = {c.number: c for island in self.engine.islands for c in island.population}  # migrants live on two islands
        members = list(population.values())
        self._front = sorted((members[k] for k in front(objectives(members))), key=lambda c: c.rank)
        best = next(iter(self.engine.best(1)), None)
        if best is not None and best != self._best:
            self._curve = sample(activation(best.program))
        self._best = best

    def _copy(self) -> None:
        """Take over what the panels show."""
        engine, cascade = self.engine, self.engine.cascade
        self._total: dict[str, Passage] = {name: Passage(cascade.entered[name], cascade.completed[name]) for name in self._stages}
        self._rejections = dict(engine.admission.rejections)
        self._credit = engine.credit.to_json()
        self._body = []

    def _draw(self) -> SegmentLines:
        """All lines, as many as there is room for."""
        with self._lock:
            size, pace = self._console.size, self._pace
            if not self._body or size != self._size:
                self._size, self._body = size, self._rendered(self._panels(size.width, size.height - 2))
            doing = f"{self._doing} {self._done}/{self._tasks}".lstrip() if self._tasks else ""
            speed, elapsed = pace.measurements_per_second(), time.monotonic() - pace.started
            first = panels.head(self._place, self.engine.trained, speed, elapsed, pace.seconds_left(), size.width)
            lines = [*self._rendered([first, panels.progress(pace.share(), doing, size.width)]), *self._body]
            return SegmentLines(lines[: size.height], new_lines=True)

    def _rendered(self, lines: panels.Lines) -> list[list[Segment]]:
        return self._console.render_lines(Text("\n", no_wrap=True, overflow="crop").join(lines), pad=False)

    @property
    def _best_words(self) -> str:
        """What the best candidate is called: its score is that of the search, which the finals do not go by."""
        return "best by the scores of the search alone" if self._standings else "best"

    def _panels(self, width: int, height: int) -> panels.Lines:
        """The panels in so many columns and lines."""
        stages = self._stages
        if width < _WIDE or height < _TALL:
            widths = width * 3 // 5 - 2, width - width * 3 // 5
            lines = panels.beside(
                panels.funnel(self._funnel, self._total, widths[0]), panels.rejections(self._rejections, widths[1], len(stages) + 1), widths
            )
            lines += panels.best(self._best, self._curve, stages, width, 1, self._best_words)
            room = height - len(lines) - 4  # the operators: a title and three
            if self._standings and room >= 2 * _LEAST:
                lines += panels.finalists(self._standings, width, max(1, room - _LEAST - 2))
                room = _LEAST
            lines += panels.front(self._front, stages, width, max(1, room - 2))
            return lines + panels.operators(self._credit, width, 3)
        widths = width // 2 - 2, width - width // 2
        most = _PLOT - len(stages) - 2
        blank = panels.cut(widths[0])
        left = [*panels.funnel(self._funnel, self._total, widths[0]), blank, *panels.rejections(self._rejections, widths[0], most)]
        lines = [
            blank,
            *panels.beside(left, panels.best(self._best, self._curve, stages, widths[1], _PLOT, self._best_words), widths),
            blank,
        ]
        rows = max(4, height - len(lines) - 2)
        widths = width * 2 // 3 - 2, width - width * 2 // 3
        found = panels.finalists(self._standings, widths[0], rows // 2) if self._standings else []
        found += panels.front(self._front, stages, widths[0], rows - len(found))
        return lines + panels.beside(found, panels.operators(self._credit, widths[1], rows), widths)
