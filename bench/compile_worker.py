"""Times programs from text to the first gradient, and prints the seconds as JSON: `python -m bench.compile_worker cold|disk`.

Run by `bench.compile`, with GP_CACHE_DIR set: `cold` with an empty cache, which it fills for `disk`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import torch

from bench.compile import COUNT, LARGEST, SMALLEST, programs
from bench.programs import random_programs
from gp.timing import first_gradient
from kernels.native import counters


def timed(texts: Iterable[str], x: torch.Tensor) -> dict[str, list[float]]:
    """The seconds of each, by clock."""
    wall, cpu = zip(*(first_gradient(text, x) for text in texts), strict=True)
    return {"wall": list(wall), "cpu": list(cpu)}


def main(way: str) -> None:
    torch.set_num_threads(1)  # x is small: a helper thread of torch's that spins would be counted
    x = torch.linspace(-2, 2, 64).requires_grad_()
    warm_up = timed(random_programs(10, SMALLEST, LARGEST, seed=0), x)
    result = {way: timed(programs(), x)}
    expected = (COUNT, 0) if way == "cold" else (0, COUNT)
    compiled, disk = counters.compiled, counters.disk
    if way == "cold":
        result["constants"] = timed(programs(constants=1), x)
        if counters.compiled != compiled:
            raise RuntimeError(f"other constants compiled {counters.compiled - compiled} kernels")
    for found, wanted in zip((compiled, disk), expected, strict=True):
        if found < wanted:
            raise RuntimeError(f"{found} functions, not {wanted}, were {'compiled' if way == 'cold' else 'on disk'}")
    result[way]["first"] = warm_up["wall"][:1]
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
