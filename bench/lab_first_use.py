"""The first use of the trainer in a process, which prints its seconds as JSON: `python -m bench.lab_first_use`."""

from __future__ import annotations

import json
import time


def main() -> None:
    """The import, the data sets, and two trainings at quick fidelity: what the first takes longer is loading."""
    clock = [time.perf_counter()]
    from gp.lab import trainer  # noqa: PLC0415 - the import is what is timed

    clock.append(time.perf_counter())
    from gp.lab.problems import problems  # noqa: PLC0415
    from gp.lab.protocol import measurement  # noqa: PLC0415
    from kernels.programs import program  # noqa: PLC0415

    what = measurement("quick")
    tasks = problems(what.instances, what.seeds, what.architecture)
    clock.append(time.perf_counter())
    for _ in range(2):
        trainer.train(program("gelu(x) + 0.1*sin(x)"), tasks, what.training)
        clock.append(time.perf_counter())
    names = ("import", "data", "first", "second")
    print(json.dumps({name: end - begin for name, begin, end in zip(names, clock, clock[1:], strict=False)}))


if __name__ == "__main__":
    main()
