"""The round's search: `gp run --preset quick` on the GPU, for as long as there is, and what it found."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.gpu.measure import Case

_TINY: Final = (
    *("--population", "8", "--generations", "2", "--steps", "10", "--workers", "1"),
    *("--set", "islands=1", "--set", "finalists=2", "--set", "hall=2", "--set", "tuned=0"),
)
_FINALS: Final = 30.0  # seconds for the generation in which the time is over, and for the finals
_GRACE: Final = 15.0  # seconds from an interrupt to the end


def search_case(device: str, seconds: Callable[[], float], tiny: bool = False) -> Iterator[Case]:
    """A whole run in a process of its own. `seconds`: how long it may take, asked when it begins; `tiny`: a small one."""

    def figures() -> Mapping[str, float | str]:
        limit = seconds()
        command = [sys.executable, "-m", "gp", "run", "--preset", "quick", "--seed", "1", "--device", device, "--json", "--quiet"]
        command += [*_TINY] if tiny else ["--set", f"seconds={max(1.0, limit - _FINALS):.0f}"]
        return found(command, None if tiny else limit)

    yield Case("search", "gp run --preset quick", "the run", kind="search", figures=figures)


def found(command: Sequence[str], limit: float | None) -> Mapping[str, float | str]:
    """How long the run took and where the time went, and its best function. After `limit` seconds it is interrupted, as by Ctrl-C, and in
    the end killed; what it had done by then is in the result. Raises RuntimeError with what it said last if it fails by itself."""
    with tempfile.TemporaryDirectory(prefix="actgp-round-", ignore_cleanup_errors=True) as folder:
        log, begin, ended = Path(folder, "events.jsonl"), time.perf_counter(), "by itself"
        arguments = [*command, "--out", str(Path(folder, "run")), "--log", str(log)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            output, said = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            ended = "interrupted: out of time"
            process.send_signal(signal.SIGINT)
            try:
                output, said = process.communicate(timeout=_GRACE)
            except subprocess.TimeoutExpired:
                ended = "killed: out of time"
                process.kill()
                output, said = process.communicate()
        finally:
            process.kill()
        seconds = time.perf_counter() - begin
        if ended == "by itself" and process.returncode:
            raise RuntimeError(f"status {process.returncode}: {said.strip().rpartition(chr(10))[2]}")
        events = [json.loads(text) for text in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    halls = best(json.loads(output)) if output.strip() else {}
    return {"seconds": round(seconds, 1), "ended": ended, **progress(events), **halls}


def progress(events: Sequence[Mapping[str, Any]]) -> dict[str, float | str]:
    """From the log: the generations that were begun, what was trained, and the seconds until each purpose's batches were done."""
    trained, failed, by_purpose = 0, 0, Counter[str]()
    for event in events:
        if event["event"] == "batch":
            trained += event["tasks"]
            failed += event["failures"]
            by_purpose[event["purpose"]] += event["seconds"]
    generations = sum(event["event"] == "generation" for event in events)
    parts = {f"seconds of {purpose}": round(seconds, 1) for purpose, seconds in by_purpose.items()}
    return {"generations": generations, "programs trained": trained, "failures": failed, **parts}


def best(hall: Mapping[str, Any]) -> dict[str, float | str]:
    """The best function, with its difference to gelu on unseen data and the 95% interval of that."""
    if not hall["entries"]:
        return {"best": "none"}
    first = hall["entries"][0]
    difference = first["unseen_difference"]
    shown = "not measured" if difference is None else "{:.3f} [{:.3f}, {:.3f}]".format(*difference)
    return {"best": first["formula"], "difference to gelu on unseen data": shown}
