"""The round's search: `gp run --preset quick` on the GPU, for as long as there is, and what it found."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.gpu.measure import Case

_TINY: Final = (
    *("--population", "8", "--generations", "2", "--steps", "10", "--workers", "1"),
    *("--set", "islands=1", "--set", "finalists=2", "--set", "hall=2", "--set", "tuned=0"),
)
_SPARE: Final = 20.0  # seconds for the generation in which the time is over, and for the finals


def search_case(device: str, seconds: float, tiny: bool = False) -> Iterator[Case]:
    """A whole run in a process of its own. `seconds`: when it is to end, if it has not by then; `tiny`: a small one."""
    limit = max(1.0, seconds - _SPARE)
    command = [sys.executable, "-m", "gp", "run", "--preset", "quick", "--seed", "1", "--device", device, "--json", "--quiet"]
    command += [*_TINY] if tiny else ["--set", f"seconds={limit:.0f}"]
    yield Case(
        "search", "gp run --preset quick", "the run", kind="search", figures=lambda: found(command, None if tiny else seconds + _SPARE)
    )


def found(command: Sequence[str], timeout: float | None) -> Mapping[str, float | str]:
    """How long the run took and where the time went, and its best function. Raises RuntimeError with what it said last if it fails,
    TimeoutExpired (a SubprocessError) if it takes longer."""
    with tempfile.TemporaryDirectory(prefix="actgp-round-", ignore_cleanup_errors=True) as folder:
        log = Path(folder, "events.jsonl")
        begin = time.perf_counter()
        done = subprocess.run(
            [*command, "--out", str(Path(folder, "run")), "--log", str(log)], capture_output=True, text=True, timeout=timeout, check=False
        )
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise RuntimeError(f"status {done.returncode}: {done.stderr.strip().rpartition(chr(10))[2]}")
        events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return {"seconds": round(seconds, 1), **progress(events), **best(json.loads(done.stdout))}


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
