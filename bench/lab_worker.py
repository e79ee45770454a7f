"""Scores programs whose kernels are not compiled yet, and prints the seconds as JSON: `python -m bench.lab_worker FIDELITY TEXT...`

Run by `bench.lab_processes`, with an empty kernel cache. One program that is not counted comes first: it loads what a process needs.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from gp.lab.problems import problems
from gp.lab.protocol import FIDELITIES, FidelityName, Measurement, measurement
from gp.lab.score import Outcome, score
from gp.lab.trainer import Trainer
from kernels.native import counters
from kernels.programs import program

_WARM_UP = "tanh(x) + 0.5*erf(x)"


def peak_memory() -> int:
    """Bytes of memory that this process held at its peak.

    Linux counts them anew when a process becomes another program; `getrusage` would add what its parent held as it started it.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def timed(text: str, what: Measurement) -> dict[str, float]:
    """Seconds of the parts of a measurement, all seeds together, and under "share" how much of the training networks went through."""
    tasks = problems(what.instances, what.seeds, what.architecture, what.standardise)
    start = time.perf_counter()
    function = program(text)
    parsed = time.perf_counter()
    trainer = Trainer(function, tasks, what.training)
    compiled = time.perf_counter()
    losses = trainer.train()
    trained = time.perf_counter()
    variance, constant = np.array([(p.variance, p.constant_error) for p in tasks.problems]).T
    inside, outside, variance, constant = (a.reshape(len(what.seeds), -1) for a in (losses.inside, losses.outside, variance, constant))
    score(Outcome(inside, outside, variance, constant, (trained - start,)), what)
    scored = time.perf_counter()
    return {
        "all": scored - start,
        "parse": parsed - start,
        "compile": compiled - parsed,
        "train": trained - compiled,
        "score": scored - trained,
        "share": float(losses.steps.mean()) / what.training.steps,
    }


def main(fidelity: FidelityName, texts: list[str]) -> None:
    what = measurement(fidelity)
    timed(_WARM_UP, what)
    before = counters.compiled
    seconds = [timed(text, what) for text in texts]
    if counters.compiled - before < len(texts):
        raise RuntimeError(f"{counters.compiled - before} functions were compiled for {len(texts)} programs")
    print(json.dumps(seconds))


if __name__ == "__main__":
    name = next(f for f in FIDELITIES if f == sys.argv[1])
    main(name, sys.argv[2:])
