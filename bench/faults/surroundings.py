"""What a process finds around it: a clock, memory, a home, a locale, its streams, and other processes."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from typing import Final

from bench.faults.kinds import End, Kind
from bench.faults.privileges import COMMAND, unknown_user
from bench.faults.scene import LIMIT, MOMENTS, ROOT, Inject, Said, Scene

_YEAR: Final = 365 * 86400
# What Python imports first of all things, in a process and in those that it starts.
_CLOCKS: Final = {
    "back": f"import time\nreal = time.time\ntime.time = lambda: real() - {_YEAR}\n",
    "jumping": "import random, time\nreal = time.time\ntime.time = lambda: real() + random.uniform(-1e6, 1e6)\n",
}
_NO_HOME: Final = {"HOME": None, "GP_CACHE_DIR": None, "XDG_CACHE_HOME": None}


def _clock(name: str, scene: Scene) -> str:
    """A PYTHONPATH that has a clock of this kind."""
    folder = scene.folder / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_CLOCKS[name])
    return os.pathsep.join((str(folder), str(ROOT)))


def _resumed_earlier(scene: Scene) -> Said:
    scene.copy_run(scene.base.half)
    scene.note()
    return scene.resume(PYTHONPATH=_clock("back", scene))


def _jumping_clock(scene: Scene) -> Said:
    return scene.begin(PYTHONPATH=_clock("jumping", scene)).wait()


def _files_of_the_future(scene: Scene) -> Said:
    """The clock was set back: all that is in the cache is newer than now."""
    for path in scene.copy_cache().rglob("*"):
        os.utime(path, (time.time() + _YEAR, time.time() + _YEAR))
    return scene.begin().wait()


def _in_surroundings(shell: str = "", **changes: str | None) -> Inject:
    return lambda scene: scene.begin(shell=shell, **changes).wait()


def _on_the_run(*words: str, shell: str = "", **changes: str | None) -> Inject:
    """A command, which may name a finished run."""

    def inject(scene: Scene) -> Said:
        scene.copy_run(scene.base.whole)
        return scene.gp(*(word.replace("RUN", str(scene.run)) for word in words), shell=shell, **changes)

    return inject


def _worker_without_memory(scene: Scene) -> Said:
    """A worker may have no more data than it has."""
    started = scene.begin()
    scene.wait_for(started, MOMENTS["a generation"])
    for worker in started.workers[-1:]:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(worker, resource.RLIMIT_DATA, (1 << 20, 1 << 20))
    return started.wait()


def _stopped_worker(scene: Scene) -> Said:
    """A worker that does nothing any more: its candidate takes too long."""
    started = scene.begin()
    scene.wait_for(started, MOMENTS["tuning"])
    for worker in started.workers[-1:]:
        os.kill(worker, signal.SIGSTOP)
    return started.wait()


def _two_at_once(scene: Scene) -> Said:
    """The first of two goes on, and the second is told so."""
    scene.copy_run(scene.base.half)
    scene.note()
    first = scene.start("resume", str(scene.run), "--quiet", "--log", str(scene.log))
    scene.wait_for(first, MOMENTS["its first evaluation"])
    (scene.folder / "second").mkdir()
    second = Scene(scene.base, scene.folder / "second" / "scene", scene.rng)
    second.run = scene.run
    said = second.resume()
    ended = first.wait()
    return said if ended.status == 0 else ended


def _read_while_it_runs(scene: Scene) -> Said:
    started = scene.begin()
    scene.wait_for(started, MOMENTS["tuning"])
    (scene.folder / "second").mkdir()
    second = Scene(scene.base, scene.folder / "second" / "scene", scene.rng)
    said = second.gp("top", str(scene.run))
    ended = started.wait()
    return said if ended.status == 0 else ended


def _head(*words: str) -> Inject:
    """Into a pipe whose other end closes at once."""

    def inject(scene: Scene) -> Said:
        scene.copy_run(scene.base.whole)
        reader, writer = os.pipe()
        os.close(reader)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "GP_CACHE_DIR": str(scene.cache)}
        command = [sys.executable, "-m", "gp", *(word.replace("RUN", str(scene.run)) for word in words)]
        done = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False)
        os.close(writer)
        return Said(done.returncode, "", done.stderr)

    return inject


_ASCII: Final = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
_LAB: Final = ("lab", "tanh", "--fidelity", "quick", "--workers", "1")
_TINY: Final = ("run", "--population", "4", "--generations", "1", "--steps", "5", "--workers", "1", "--set", "islands=1", "--set", "gate=2",
                "--set", "finalists=1", "--set", "tuned=0", "--out", "RUN2")  # fmt: skip
_HOMELESS: Final = "there is no home folder: compiled code is kept in"

KINDS: Final = [
    Kind("the clock is set back a year, and the run resumed", _resumed_earlier, (0,), "Hall of fame", End.SAME),
    Kind("a clock that jumps back and forth", _jumping_clock, (0,), "Hall of fame", End.SAME),
    Kind("a cache of the future", _files_of_the_future, (0,), "Hall of fame", End.SAME),
    *(Kind(f"gp {words[0]} with {kilobytes // 1000} MB of addresses (ulimit -v)",
           _on_the_run(*words, shell=f"ulimit -v {kilobytes}; {COMMAND}"), (0, 1, 2), ".")
      for words in (_TINY, _LAB, ("top", "RUN"), ("show", "gelu")) for kilobytes in (100_000, 200_000, 300_000, 400_000)),
    Kind("a worker gets no more memory", _worker_without_memory, (0, 1), ".", End.OTHER),
    Kind("a worker hangs", _stopped_worker, (0,), "Hall of fame", End.OTHER),
    Kind("TMPDIR is missing", _in_surroundings(TMPDIR="/nowhere/at/all"), (0,), "Hall of fame", End.SAME),
    Kind("a file in place of TMPDIR", _in_surroundings(TMPDIR="/etc/passwd"), (0,), "Hall of fame", End.SAME),
    *(Kind(f"gp {words[0]} without HOME, by a user without a name", _on_the_run(*words, shell=unknown_user(), **_NO_HOME), (0,), says,
           End.NONE, "unknown user")
      for words, says in ((("doctor",), _HOMELESS), (_LAB, _HOMELESS), (_TINY, _HOMELESS), (("top", "RUN"), "Hall of fame"),
                          (("runs", "RUN"), "."))),
    Kind("HOME is a file", _on_the_run(*_LAB, HOME="/etc/passwd", GP_CACHE_DIR=None, XDG_CACHE_HOME=None), (0,), "not kept on disk"),
    *(Kind(f"gp {words[0]} in an ASCII locale", _on_the_run(*words, **_ASCII), (0,), ".")
      for words in (("top", "RUN"), ("show", "gelu"), ("list",), _LAB)),
    *(Kind(f"a run with standard {name} closed", _in_surroundings(f'exec "$@" {redirection}'), (0,), says, End.SAME)
      for name, redirection, says in (("input", "<&-", "Hall of fame"), ("output", ">&-", ""), ("error", "2>&-", "Hall of fame"))),
    Kind("a run with all streams closed", _in_surroundings('exec "$@" <&- >&- 2>&-'), (0,), "", End.SAME),
    *(Kind(f"gp {' '.join(words)} with standard output closed", _on_the_run(*words, shell='exec "$@" >&-'), (0, 2), "^")
      for words in (("top", "RUN"), ("top", "RUN", "--csv"), ("show", "gelu"), ("runs", "RUN"), _LAB)),
    *(Kind(f"gp {' '.join(words)} into a pipe that is closed", _head(*words), (0, 1, 2, 141, -13), "")
      for words in (("top", "RUN"), ("runs", "RUN"), ("list",), ("show", "gelu", "--emit", "llvm"))),
    Kind("a second process resumes the same run", _two_at_once, (2,), "another process is writing the run", End.SAME),
    Kind("gp top while the run goes on", _read_while_it_runs, (0,), "Best so far.*running", End.SAME),
]  # fmt: skip
