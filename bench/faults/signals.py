"""Processes that are killed, stopped and asked to end, in each part of a run."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Final

from bench.faults.kinds import End, Kind
from bench.faults.scene import HALL, MOMENTS, Inject, Moment, Said, Scene

_INTERRUPTED: Final = 130
_KILLS: Final = 6


def _to_driver(number: signal.Signals, moment: Moment) -> Inject:
    def inject(scene: Scene) -> Said:
        started = scene.begin()
        scene.wait_for(started, moment)
        started.process.send_signal(number)
        return started.wait()

    return inject


def _to_workers(number: signal.Signals, moment: Moment, count: int) -> Inject:
    def inject(scene: Scene) -> Said:
        started = scene.begin()
        scene.wait_for(started, moment)
        deadline = time.monotonic() + 10
        while not (workers := started.workers) and time.monotonic() < deadline:
            time.sleep(0.005)
        for worker in workers[-count:]:
            with contextlib.suppress(ProcessLookupError):  # it has just been replaced
                os.kill(worker, number)
        return started.wait()

    return inject


def _again_and_again(scene: Scene) -> Said:
    """Killed and resumed at moments that are drawn, then let go on to its end."""
    said = scene.begin()
    scene.wait_for(said, MOMENTS["a generation"])
    for _ in range(_KILLS):
        said.process.kill()
        said.wait()
        said = scene.start("resume", str(scene.run), "--quiet")
        time.sleep(scene.rng.uniform(0.5, 2.0))
        scene.note()
        if (scene.run / HALL).exists():
            break
    return said.wait()


def _twice(scene: Scene) -> Said:
    started = scene.begin()
    scene.wait_for(started, MOMENTS["the finals"])
    for _ in range(2):
        started.process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    return started.wait()


def _stopped_for_a_while(scene: Scene) -> Said:
    started = scene.begin()
    scene.wait_for(started, MOMENTS["tuning"])
    started.process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    started.process.send_signal(signal.SIGCONT)
    return started.wait()


def _out_of_processor_time(scene: Scene) -> Said:
    return scene.begin(shell='ulimit -t 1; exec "$@"').wait()


KINDS: Final = [
    *(Kind(f"kill -9 of a run in {name}", _to_driver(signal.SIGKILL, m), (-9,), "", End.RESUMED) for name, m in MOMENTS.items()),
    *(Kind(f"kill -9 of a worker in {name}", _to_workers(signal.SIGKILL, m, 1), (0,), "Hall of fame", End.SAME)
      for name, m in MOMENTS.items()),
    Kind("kill -9 of all workers", _to_workers(signal.SIGKILL, MOMENTS["a generation"], 9), (0,), "Hall of fame", End.SAME),
    Kind("kill -9 of a run again and again", _again_and_again, (0,), "Hall of fame", End.SAME),
    *(Kind(f"SIGTERM in {name}", _to_driver(signal.SIGTERM, MOMENTS[name]), (-15, 143), "", End.RESUMED)
      for name in ("a generation", "tuning", "the finals")),
    *(Kind(f"SIGHUP in {name}", _to_driver(signal.SIGHUP, MOMENTS[name]), (-1, 129), "", End.RESUMED)
      for name in ("a generation", "the finals")),
    *(Kind(f"Ctrl-C in {name}", _to_driver(signal.SIGINT, m), (_INTERRUPTED,), "goes on|Best so far|Hall of fame|gp resume", End.RESUMED)
      for name, m in MOMENTS.items()),
    Kind("Ctrl-C twice", _twice, (_INTERRUPTED,), "", End.RESUMED),
    Kind("SIGTERM of a worker", _to_workers(signal.SIGTERM, MOMENTS["tuning"], 1), (0,), "Hall of fame", End.SAME),
    Kind("Ctrl-Z and fg", _stopped_for_a_while, (0,), "Hall of fame", End.SAME),
    # Each worker dies of it, and a candidate whose workers die three times counts as failed.
    Kind("a limit on processor time (ulimit -t)", _out_of_processor_time, (0, 1, 2, -24, -9), "^", End.OTHER),
]  # fmt: skip
