"""Disks that are full, for the record, the cache, the event log, temporary files and output."""

from __future__ import annotations

from typing import Final

from bench.faults.kinds import End, Kind
from bench.faults.privileges import COMMAND, mounted
from bench.faults.scene import Inject, Said, Scene

_FULL: Final = r"cannot write .*(full|disk I/O error|File too large|No space left)"
_NOT_KEPT: Final = "compiled kernels are not kept on disk: .*No space left"


def _record(kilobytes: int) -> Inject:
    """A disk of that size; what is on it in the end is copied to another one, as a user would."""

    def inject(scene: Scene) -> Said:
        disk = scene.folder / "disk"
        disk.mkdir()
        script = f'mount -t tmpfs -o size={kilobytes}k tmpfs "{disk}"; status=0; "$@" || status=$?; '
        script += f'rm -f "{disk}/run/run.lock"; if [ -d "{disk}/run" ]; then cp -a "{disk}/run" "{scene.run}"; fi; exit $status'
        return scene.begin("--out", str(disk / "run"), shell=mounted(script)).wait()

    return inject


def _small_files(kilobytes: int) -> Inject:
    """No file may become larger: what the record asks for then fails as on a full disk."""
    return lambda scene: scene.begin("--log", "events", shell=f"ulimit -f {2 * kilobytes}; {COMMAND}").wait()


def _cache(kilobytes: int) -> Inject:
    def inject(scene: Scene) -> Said:
        scene.cache = scene.folder / "cache"
        scene.cache.mkdir(mode=0o700)
        return scene.begin(shell=mounted(f'mount -t tmpfs -o size={kilobytes}k,mode=700 tmpfs "{scene.cache}"; {COMMAND}')).wait()

    return inject


def _log(scene: Scene) -> Said:
    disk = scene.folder / "disk"
    disk.mkdir()
    return scene.begin("--log", str(disk / "events.jsonl"), shell=mounted(f'mount -t tmpfs -o size=4k tmpfs "{disk}"; {COMMAND}')).wait()


def _temporary(scene: Scene) -> Said:
    folder = scene.folder / "temporary"
    script = f'mount -t tmpfs -o size=4k tmpfs "{folder}"; head -c 8192 /dev/zero > "{folder}/full" 2>/dev/null || true; {COMMAND}'
    return scene.begin(shell=mounted(script)).wait()


def _output(*words: str) -> Inject:
    def inject(scene: Scene) -> Said:
        scene.copy_run(scene.base.whole)
        return scene.gp(*(word.replace("RUN", str(scene.run)) for word in words), shell='exec "$@" > /dev/full')

    return inject


def _run_output(scene: Scene) -> Said:
    return scene.begin(shell='exec "$@" > /dev/full').wait()


def _result_file(scene: Scene) -> Said:
    disk = scene.folder / "disk"
    disk.mkdir()
    full = f'mount -t tmpfs -o size=4k tmpfs "{disk}"; head -c 8192 /dev/zero > "{disk}/full" 2>/dev/null || true; {COMMAND}'
    words = ("lab", "tanh", "--fidelity", "quick", "--workers", "1", "--json", str(disk / "result.json"))
    return scene.gp(*words, shell=mounted(full))


_OUTPUT: Final = "the output cannot be written"

KINDS: Final = [
    Kind("a full disk for the record", _record(16), (2,), "cannot write to .*; choose another directory", End.NONE, "mounts"),
    *(Kind(f"a disk of {size} kB for the record", _record(size), (2,), _FULL, End.RESUMED, "mounts") for size in (160, 400)),
    *(Kind(f"no file above {size} kB (ulimit -f) for the record", _small_files(size), (2,), says, end)
      for size, says, end in ((20, "cannot write to .*; choose another directory", End.NONE), (200, _FULL, End.RESUMED))),
    Kind("a full disk for the cache", _cache(40), (0,), _NOT_KEPT, End.SAME, "mounts"),
    Kind("a disk for the cache that is full after a while", _cache(300), (0,), "Hall of fame", End.SAME, "mounts"),
    Kind("a full disk for the event log", _log, (0,), "the event log is not whole: No space left", End.SAME, "mounts"),
    Kind("a full disk for temporary files", _temporary, (0,), "Hall of fame", End.SAME, "mounts"),
    Kind("an event log that is /dev/full", lambda s: s.begin("--log", "/dev/full").wait(), (0, 2), "/dev/full", End.NONE),
    Kind("output of a run to /dev/full", _run_output, (2,), _OUTPUT, End.SAME),
    Kind("output of gp top to /dev/full", _output("top", "RUN"), (2,), _OUTPUT),
    Kind("output of gp top --csv to /dev/full", _output("top", "RUN", "--csv"), (2,), _OUTPUT),
    Kind("output of gp runs to /dev/full", _output("runs", "RUN"), (2,), _OUTPUT),
    Kind("output of gp show to /dev/full", _output("show", "gelu", "--emit", "numpy"), (2,), _OUTPUT),
    Kind("a full disk for gp lab --json", _result_file, (2,), "cannot write|cannot be written", End.NONE, "mounts"),
]  # fmt: skip
