"""A terminal that a run was drawn on is as before, whatever ends the run or stops it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = ["run", "--population", "8", "--set", "islands=2", "--steps", "20", "--set", "gate=2", "--generations", "9999", "--workers", "1"]
SCREEN, NO_SCREEN, SHOW = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """A command on a terminal of its own, and what it has written there."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gp", *arguments], cwd=folder, env=environment, stdout=slave, stderr=slave, process_group=0
        )
        os.close(slave)
        self.written = b""

    def until(self, condition: Callable[[bytes], bool]) -> None:
        limit = time.monotonic() + 60
        while not condition(self.written):
            assert time.monotonic() < limit, self.written[-500:]
            if select.select([self._master], [], [], 0.05)[0]:
                try:
                    self.written += os.read(self._master, 65536)
                except OSError:  # the other end is closed
                    return

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def is_stopped(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.skipif(sys.platform != "linux", reason="the state of a process is read from /proc")
def test_ctrl_z_and_sigterm_leave_the_terminal_as_it_was(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, *RUN)
    try:
        terminal.until(lambda text: text.count(SCREEN) == 1 and b"generation" in text)
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.until(lambda text: is_stopped(terminal.process.pid))
        terminal.until(lambda text: text.count(NO_SCREEN) == 1 and text.rfind(SHOW) > text.rfind(SCREEN))
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until(lambda text: text.count(SCREEN) == 2)
        terminal.process.send_signal(signal.SIGTERM)
        terminal.until(lambda text: terminal.process.poll() is not None and text.count(NO_SCREEN) == 2)
        assert terminal.process.wait(20) == 128 + signal.SIGTERM
        assert terminal.written.rfind(NO_SCREEN) > terminal.written.rfind(SCREEN)
        assert b"Traceback" not in terminal.written
    finally:
        terminal.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the state of a process is read from /proc")
def test_a_bar_shows_the_cursor_again(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "lab", "x*tanh(x)", "--seeds", "0:900", "--fidelity", "full", "--workers", "1")
    try:
        terminal.until(lambda text: b"seeds" in text)
        shown = terminal.written.count(SHOW)
        terminal.process.send_signal(signal.SIGTERM)
        terminal.until(lambda text: terminal.process.poll() is not None and text.count(SHOW) > shown)
        assert terminal.process.wait(20) == 128 + signal.SIGTERM
        assert b"Traceback" not in terminal.written
    finally:
        terminal.close()
