"""Folders that are write-protected, another user's, open to others, or deleted while they are used."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from bench.faults.kinds import End, Kind
from bench.faults.privileges import COMMAND, mounted, plain_user
from bench.faults.scene import MOMENTS, Inject, Said, Scene

_ELSEWHERE: Final = "cannot write to .*: .*; choose another directory with --out"
_NOT_KEPT: Final = "compiled kernels are not kept on disk: "
_OTHER: Final = 65534  # a user that is neither root nor anybody


def _protected(path: Path) -> str:
    """A script that sees a folder on a disk that is mounted read-only."""
    return mounted(f'mount --bind "{path}" "{path}"; mount -o remount,bind,ro "{path}"; {COMMAND}')


def _run_into(mode: int) -> Inject:
    """Begin a run in a folder with these rights."""

    def inject(scene: Scene) -> Said:
        scene.run.mkdir()
        scene.run.chmod(mode)
        try:
            return scene.begin(shell=plain_user()).wait()
        finally:
            scene.run.chmod(0o700)
            scene.run.rmdir()

    return inject


def _foreign(folder: Path) -> Path:
    """A folder of another user: root can give one away, and others have that of root."""
    if os.geteuid():
        return Path("/usr")
    folder.mkdir(exist_ok=True)
    os.chown(folder, _OTHER, _OTHER)
    return folder


def _foreign_run(scene: Scene) -> Said:
    return scene.begin("--out", str(_foreign(scene.folder / "theirs") / "run"), shell=plain_user()).wait()


def _read_only(model: str, *words: str) -> Inject:
    """A command on a run that is on a read-only disk."""

    def inject(scene: Scene) -> Said:
        run = scene.copy_run(getattr(scene.base, model))
        return scene.gp(*(word.replace("RUN", str(run)) for word in words), shell=_protected(run))

    return inject


def _write_protected(*words: str) -> Inject:
    """A command on a finished run whose folder and files nobody may write."""

    def inject(scene: Scene) -> Said:
        run = scene.copy_run(scene.base.whole)
        (run / "run.lock").unlink(missing_ok=True)
        for path in (*run.iterdir(), run):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            return scene.gp(*(word.replace("RUN", str(run)) for word in words), shell=plain_user())
        finally:
            run.chmod(0o755)

    return inject


def _cache_on_a_read_only_disk(scene: Scene) -> Said:
    return scene.begin(shell=_protected(scene.copy_cache())).wait()


def _empty_cache_on_a_read_only_disk(scene: Scene) -> Said:
    scene.cache = scene.folder / "cache"
    scene.cache.mkdir(mode=0o700)
    return scene.gp("lab", "tanh", "--fidelity", "quick", "--workers", "1", shell=_protected(scene.cache))


def _cache_mode(mode: int) -> Inject:
    def inject(scene: Scene) -> Said:
        scene.copy_cache().chmod(mode)
        try:
            return scene.begin(shell=plain_user()).wait()
        finally:
            scene.cache.chmod(0o700)

    return inject


def _foreign_cache(scene: Scene) -> Said:
    scene.cache = _foreign(scene.copy_cache())
    return scene.begin().wait()


def _log_in(mode: int) -> Inject:
    def inject(scene: Scene) -> Said:
        folder = scene.folder / "logs"
        folder.mkdir(mode=mode)
        return scene.begin("--log", str(folder / "events.jsonl"), shell=plain_user()).wait()

    return inject


def _log_is_a_folder(scene: Scene) -> Said:
    return scene.begin("--log", str(scene.folder)).wait()


def _deleted(name: str) -> Inject:
    """A folder is deleted while the run goes on."""

    def inject(scene: Scene) -> Said:
        scene.copy_cache()
        (scene.folder / "cwd").mkdir()
        started = scene.begin(cwd=scene.folder / "cwd")
        scene.wait_for(started, MOMENTS["a generation"])
        shutil.rmtree(scene.folder / name)
        if name == "run":
            scene.seen = {}
        return started.wait()

    return inject


def _begun_in_a_deleted_folder(scene: Scene) -> Said:
    (scene.folder / "cwd").mkdir()
    return scene.begin(cwd=scene.folder / "cwd", shell=f'rmdir "$PWD"; {COMMAND}').wait()


_READERS: Final = (("top", "RUN"), ("top", "RUN", "--pareto"), ("runs", "RUN"), ("show", "RUN/hall_of_fame/01.act"))
_COMPARE: Final = ("compare", "RUN/hall_of_fame/01.act", "gelu", "--fidelity", "quick", "--workers", "1")

KINDS: Final = [
    Kind("a write-protected folder for the record", _run_into(0o500), (2,), _ELSEWHERE, End.NONE, "plain user"),
    Kind("another user's folder for the record", _foreign_run, (2,), _ELSEWHERE, End.NONE, "plain user"),
    *(Kind(f"gp {' '.join(words)} of a finished run on a read-only disk", _read_only("whole", *words), (0,), ".", End.NONE, "mounts")
      for words in (*_READERS, _COMPARE)),
    *(Kind(f"gp {' '.join(words)} of a write-protected finished run", _write_protected(*words), (0,), ".", End.NONE, "plain user")
      for words in _READERS),
    Kind("gp top of a killed run on a read-only disk", _read_only("half", "top", "RUN"), (0, 2), "Best so far|cannot read", End.NONE,
         "mounts"),
    *(Kind(f"gp resume of a {what} run on a read-only disk", _read_only(model, "resume", "RUN"), (2,), "cannot write to .*; gp top",
           End.RESUMED, "mounts") for what, model in (("finished", "whole"), ("killed", "half"))),
    Kind("a cache on a read-only disk", _cache_on_a_read_only_disk, (0,), _NOT_KEPT, End.SAME, "mounts"),
    Kind("an empty cache on a read-only disk", _empty_cache_on_a_read_only_disk, (0,), _NOT_KEPT, End.NONE, "mounts"),
    Kind("a write-protected cache", _cache_mode(0o500), (0,), _NOT_KEPT, End.SAME, "plain user"),
    Kind("a cache that may not be entered", _cache_mode(0o000), (0,), _NOT_KEPT, End.SAME, "plain user"),
    Kind("a cache that others can write to", _cache_mode(0o777), (0,), f"{_NOT_KEPT}others can write", End.SAME, "plain user"),
    Kind("another user's cache", _foreign_cache, (0,), f"{_NOT_KEPT}.*another user", End.SAME),
    Kind("a write-protected folder for the event log", _log_in(0o500), (2,), "--log .*cannot be written", End.NONE, "plain user"),
    Kind("a folder in place of the event log", _log_is_a_folder, (2,), "--log .*this is a directory"),
    Kind("the run's folder is deleted during the run", _deleted("run"), (2,), "was deleted while the run went on; what was found is lost"),
    Kind("the cache is deleted during the run", _deleted("cache"), (0,), "Hall of fame", End.SAME),
    Kind("the working folder is deleted during the run", _deleted("cwd"), (0,), "Hall of fame", End.SAME),
    Kind("the temporary folder is deleted during the run", _deleted("temporary"), (0,), "Hall of fame", End.SAME),
    Kind("begun in a folder that is deleted", _begun_in_a_deleted_folder, (0,), "Hall of fame", End.SAME),
]  # fmt: skip
