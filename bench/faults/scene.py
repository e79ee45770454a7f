"""Where a fault is injected: tiny runs to begin with, a folder and an environment of its own, and `gp` as a process."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gp.run_file import FILE, RunDirectoryError, read

ROOT: Final = Path(__file__).parents[2]
HALL: Final = "hall_of_fame.json"
LIMIT: Final = 120.0  # seconds that a process may take
_SETTINGS: Final = (
    *("--population", "4", "--generations", "2", "--steps", "5", "--seed", "7", "--workers", "2", "--quiet"),
    *("--set", "islands=1", "--set", "finalists=2", "--set", "hall=1", "--set", "tuned=1", "--set", "gate=2"),
)  # fmt: skip

Results = dict[tuple[str, str, int], tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Moment:
    """The `count`-th time that a line of the event log begins with these words: its event, and the purpose of a batch."""

    words: str
    count: int = 1


# One in each part of a run.
MOMENTS: Final = {
    "its first evaluation": Moment("run"),
    "a generation": Moment("generation", 2),
    "its checkpoint": Moment("judged", 4),
    "tuning": Moment("batch tuning", 2),
    "the finals": Moment("judged", 9),
    "the judging of finalists": Moment("batch selection"),
}


@dataclass(frozen=True, slots=True)
class Said:
    """What a process ended with. `status` is negative for a signal."""

    status: int
    output: str
    errors: str

    @property
    def first(self) -> str:
        """The first line of what it said to its user: a message, else of what else it said, else of its results."""
        lines = [line for text in (self.errors, self.output) for line in text.splitlines() if line.strip()]
        return next((line for line in lines if line.startswith("gp: ")), lines[0] if lines else "")


class Started:
    """A process that runs, with its output in files, so that who inherits them holds nobody up."""

    def __init__(self, words: Sequence[str], folder: Path, environment: dict[str, str], cwd: Path) -> None:
        number = len(list(folder.glob("*.output")))
        self._files = [(folder / f"{number}.{name}").open("w+b") for name in ("output", "errors")]
        # Some faults close these descriptors, or send them elsewhere.
        self.process = subprocess.Popen(
            words, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=self._files[0], stderr=self._files[1], process_group=0
        )

    def wait(self) -> Said:
        """Its end; one that does not come is a status that nobody expects."""
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return Said(-signal.SIGKILL, "", f"did not end within {LIMIT:.0f} s")
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        return Said(self.process.returncode, *texts)

    @property
    def workers(self) -> list[int]:
        """Its children."""
        try:
            found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(word) for word in found.split()]


class Base:
    """What scenes begin with, made in a folder when it is first asked for; `cache` is where all that is compiled is kept."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.cache = cache
        self._folder = folder

    @functools.cached_property
    def whole(self) -> Path:
        """A run that nothing interrupted."""
        scene = Scene(self, self._folder / "whole", random.Random(0))
        said = scene.begin().wait()
        if said.status:
            raise RuntimeError(f"a run that is needed to begin with ended with status {said.status}: {said.errors}")
        return scene.run

    @functools.cached_property
    def half(self) -> Path:
        """A run that was killed in its tuning."""
        scene = Scene(self, self._folder / "half", random.Random(0))
        started = scene.begin()
        scene.wait_for(started, MOMENTS["tuning"])
        started.process.kill()
        started.wait()
        return scene.run

    @functools.cached_property
    def hall(self) -> bytes:
        """The hall of fame of the run that nothing interrupted."""
        return (self.whole / HALL).read_bytes()


class Scene:
    """A folder with a run in it, to which something happens."""

    def __init__(self, base: Base, folder: Path, rng: random.Random) -> None:
        folder.mkdir()
        (folder / "temporary").mkdir()
        self.base, self.folder, self.rng = base, folder, rng
        self.run, self.log, self.cache = folder / "run", folder / "events.jsonl", base.cache
        self.seen: Results = {}

    def copy_run(self, model: Path) -> Path:
        """Put a copy of a run in place of this one's."""
        shutil.copytree(model, self.run)
        return self.run

    def copy_cache(self) -> Path:
        """Use a copy of what was compiled."""
        self.cache = self.folder / "cache"
        shutil.copytree(self.base.cache, self.cache)
        return self.cache

    def start(self, *words: str, shell: str = "", cwd: Path | None = None, **changes: str | None) -> Started:
        """`gp` with these words. `shell`: what a shell does first, in which "$@" is the command; `changes` of the environment: None
        takes a variable away."""
        command = [sys.executable, "-m", "gp", *words]
        if shell:
            command = ["sh", "-c", shell, "sh", *command]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "GP_CACHE_DIR": str(self.cache), "TMPDIR": str(self.folder / "temporary")}
        environment |= {"HOME": str(self.folder), "COLUMNS": "200"}
        present = {name: value for name, value in {**environment, **changes}.items() if value is not None}
        return Started(command, self.folder, present, cwd or self.folder)

    def begin(self, *words: str, shell: str = "", cwd: Path | None = None, **changes: str | None) -> Started:
        """`gp run` of the tiny run."""
        places = ("--out", str(self.run), "--log", str(self.log))
        return self.start("run", *_SETTINGS, *places, *words, shell=shell, cwd=cwd, **changes)

    def gp(self, *words: str, shell: str = "", cwd: Path | None = None, **changes: str | None) -> Said:
        """`start`, and wait for the end."""
        return self.start(*words, shell=shell, cwd=cwd, **changes).wait()

    def resume(self, shell: str = "", **changes: str | None) -> Said:
        """`gp resume` of the run."""
        return self.gp("resume", str(self.run), "--quiet", shell=shell, **changes)

    def wait_for(self, started: Started, moment: Moment) -> None:
        """Wait until that moment, and a little longer: the time is drawn."""
        deadline = time.monotonic() + LIMIT
        while self._heard(moment.words) < moment.count and time.monotonic() < deadline:
            if started.process.poll() is not None:
                raise RuntimeError(f"it ended before the moment came: {started.wait()}")
            time.sleep(0.003)
        time.sleep(self.rng.uniform(0.0, 0.08))
        self.note()

    def note(self) -> None:
        """Remember what is on record, which is not to be lost."""
        self.seen = self.results() | self.seen

    def results(self) -> Results:
        """What was measured, by measurement, program and seed; nothing where there is no record that can be read."""
        try:
            return {row[:3]: row[3:] for row in read(self.run / FILE, "results")}
        except RunDirectoryError:
            return {}

    def left_behind(self) -> list[int]:
        """Processes of this scene that still run; they have a while to end."""
        deadline = time.monotonic() + 15
        while (found := _processes_with(f"TMPDIR={self.folder / 'temporary'}".encode())) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def said_by_anyone(self) -> str:
        """All that processes of this scene wrote to standard error, also workers that outlived their parent."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("**/*.errors")))

    def _heard(self, words: str) -> int:
        try:
            lines = self.log.read_text().splitlines()
        except FileNotFoundError:
            return 0
        count = 0
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):  # it is being written
                event = json.loads(line)
                count += f"{event['event']} {event.get('purpose', '')}".strip() == words
        return count


def _processes_with(variable: bytes) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if variable in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


Inject = Callable[[Scene], Said]
