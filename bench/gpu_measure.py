"""What `python -m bench.gpu` predicts and measures, case by case, and how time is taken on a GPU.

A case says what its time should be by the model, and what to run: ours first, then the alternatives that a user has. So predictions need
no GPU, and a case that fails says why and harms no other. Measuring works on the CPU too, where GPU kernels are interpreted, for tests.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from triton.errors import TritonError

from bench.functions import COPY_BOUND, FUSED, Contest
from bench.gpu_model import FLOAT, Work, pass_work, seconds
from codegen.kernel import Storage
from codegen.triton import print_kernel
from gp.timing import Activate, passes
from kernels.dtypes import DTYPES
from kernels.gpus import Gpu
from kernels.module import activation
from kernels.programs import make_plan, program
from kernels.triton_compiler import choose_tile, compile_options, load_function
from kernels.triton_interpreter import gpu_rounding, interpreted
from kernels.tuning import ANY, VECTOR

# What compilers, drivers and a lack of memory raise. A mistake in this package is none of these, and ends the command.
FAILURES: Final = (RuntimeError, ValueError, OSError, TritonError, subprocess.CalledProcessError)
_SAMPLE_SECONDS: Final = 2e-3  # a shorter call is repeated within a sample: an event is about a microsecond wide
_MAX_REPEATS: Final = 100
_PASSES: Final = {"forward": (0,), "forward + backward": (0, 1)}
_WORK: Final = {"forward": "forward", "forward + backward": "both"}  # the names in `gp.timing.passes`
_STORAGES: Final[dict[Storage, str]] = {"f32": "float32", "bf16": "bfloat16"}
_TUNED: Final = (COPY_BOUND[0], FUSED[3], FUSED[2])  # relu, mish, gmtu: bound by memory, in between, by instructions


@dataclass(frozen=True, slots=True)
class Timed:
    """Something to time; its time is divided by `parts`, such as steps."""

    run: Callable[[], object]
    parts: float = 1.0


# Seconds of one call of each contender, after so many rounds (0: as many as the command was told); 1 is a single call without warm-up.
Clock = Callable[[Mapping[str, Callable[[], object]], int], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what is predicted and what is run. Nothing is compiled or allocated before these functions are called.

    `contenders`: ours first; none where only `figures` are found out. `rates`: what is done in one unit, by name with its unit of time.
    `rounds`: see `Clock`.
    """

    section: str
    what: str
    unit: str
    predict: Callable[[Gpu], float] | None = None
    contenders: Callable[[], Mapping[str, Timed]] = dict
    figures: Callable[[], Mapping[str, float]] = dict
    rates: Mapping[str, float] = field(default_factory=dict)
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A case on a card. Seconds are None where there is no prediction or nothing was measured; `error` says what went wrong."""

    section: str
    what: str
    unit: str
    gpu: str
    predicted_seconds: float | None = None
    measured_seconds: float | None = None
    alternatives: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error: str = ""

    @property
    def ratio(self) -> float | None:
        """Predicted over measured."""
        return None if self.predicted_seconds is None or not self.measured_seconds else self.predicted_seconds / self.measured_seconds

    def as_json(self) -> dict[str, Any]:
        names = ("section", "what", "unit", "gpu", "predicted_seconds", "measured_seconds", "ratio", "alternatives", "figures", "rates")
        return {**{name: getattr(self, name) for name in names}, "error": self.error}


def row(case: Case, name: str, gpu: Gpu | None, clock: Clock | None) -> Row:
    """Predict where there is a GPU's description, measure where there is a clock."""
    predicted: float | None = None
    found: dict[str, float] = {}
    figures: Mapping[str, float] = {}
    error = ""
    try:
        if gpu is not None and case.predict is not None:
            predicted = case.predict(gpu)
        if clock is not None:
            figures = case.figures()
            contenders = case.contenders()
            if contenders:
                taken = clock({key: timed.run for key, timed in contenders.items()}, case.rounds)
                found = {key: taken[key] / timed.parts for key, timed in contenders.items()}
    except FAILURES as failure:
        error = f"{type(failure).__name__}: {failure}"
    measured = next(iter(found.values()), None)
    times = {"predicted": predicted, "measured": measured}
    rates = {unit: {key: count / value for key, value in times.items() if value} for unit, count in case.rates.items()}
    others = dict(list(found.items())[1:])
    return Row(case.section, case.what, case.unit, name, predicted, measured, others, figures, rates, error)


def event_clock(rounds: int) -> Clock:
    """A clock of the GPU's own events: medians over rounds, in which the contenders take turns."""

    def sample(run: Callable[[], object], repeats: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start.record()
        for _ in range(repeats):
            run()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / repeats

    def clock(contenders: Mapping[str, Callable[[], object]], wanted: int) -> Mapping[str, float]:
        if wanted == 1:
            return {name: sample(run, 1) for name, run in contenders.items()}
        repeats = {}
        for name, run in contenders.items():
            sample(run, 1)  # compiles, allocates
            repeats[name] = max(1, min(_MAX_REPEATS, round(_SAMPLE_SECONDS / max(sample(run, 1), 1e-6))))
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(wanted or rounds):
            for name, run in contenders.items():
                taken[name].append(sample(run, repeats[name]))
        return {name: statistics.median(values) for name, values in taken.items()}

    return clock


def copy_case(elements: int, device: torch.device) -> Case:
    """A copy of float32 numbers: what the bandwidth is in practice."""

    def contenders() -> Mapping[str, Timed]:
        source = torch.ones(elements, device=device)
        target = torch.empty_like(source)
        return {"copy": Timed(lambda: target.copy_(source))}

    size = 2.0 * FLOAT * elements
    what = f"copy of {elements:,} float32"
    return Case("kernels", what, "s/call", lambda gpu: seconds(gpu, Work("copy", size)), contenders, rates={"GB/s": size / 1e9})


def kernel_cases(elements: int, device: torch.device, compiled: bool) -> Iterator[Case]:
    """Functions of the catalogue, as a module on one tensor, against torch eager and perhaps torch.compile."""
    for storage, dtype in _STORAGES.items():
        for contest in (*COPY_BOUND, *FUSED):
            for kind in _PASSES:
                yield _kernel_case(contest, storage, kind, f"{contest.name}, {kind}, {dtype}", elements, device, compiled)


def _kernel_case(contest: Contest, storage: Storage, kind: str, what: str, elements: int, device: torch.device, compiled: bool) -> Case:
    def predict(gpu: Gpu) -> float:
        return sum(seconds(gpu, pass_work(program(contest.text), order, storage, elements, gpu)) for order in _PASSES[kind])

    def contenders() -> Mapping[str, Timed]:
        x = torch.randn(elements, device=device, dtype=DTYPES[storage]).requires_grad_()
        cotangent = torch.randn_like(x)
        functions: dict[str, Activate] = {"ours": activation(contest.text, backend=_backend(device)), "torch eager": contest.eager}
        if compiled:
            torch.compiler.reset()  # lest the limit on recompilations is met
            functions["torch.compile"] = torch.compile(contest.eager, fullgraph=True, dynamic=False)
        work = {name: passes(function, x, cotangent)[_WORK[kind]] for name, function in functions.items()}
        return {name: Timed(lambda each=each: each.run(None)) for name, each in work.items()}  # type: ignore[misc]

    return Case("kernels", what, "s/call", predict, contenders)


def _backend(device: torch.device) -> str:
    return "interpret" if device.type == "cpu" else "triton"


def tuning_cases(elements: int, device: torch.device) -> Iterator[Case]:
    """Forward kernels with each of the tiles among which the launcher chooses (`kernels.tuning`)."""
    for contest in _TUNED:
        for choice in ANY:
            yield _tuning_case(contest, choice.num_warps, choice.vectors * VECTOR // FLOAT, elements, device)


def _tuning_case(contest: Contest, warps: int, each: int, elements: int, device: torch.device) -> Case:
    kernel = make_plan(program(contest.text), 0, "f32").stages[-1].kernel

    def predict(gpu: Gpu) -> float:
        return seconds(gpu, pass_work(program(contest.text), 0, "f32", elements, gpu, each))

    def contenders() -> Mapping[str, Timed]:
        target = None if device.type == "cpu" else _target()
        x = torch.randn(elements, device=device)
        y = torch.empty_like(x)
        warp = 32 if target is None else int(target.warp_size)
        tile = choose_tile(kernel, warp, num_warps=warps, block=warps * warp * each)
        grid = (-(-elements // tile.channels),)
        text = print_kernel(kernel)
        if target is None:
            function = interpreted(text, load_function(kernel, text).__name__)
            options: dict[str, Any] = {}
        else:
            function, options = load_function(kernel, text), {"num_warps": warps, **compile_options(target)}

        def run() -> None:
            function[grid](x, y, elements, **tile.constants(kernel), **options)

        def run_interpreted() -> None:
            with gpu_rounding():
                run()

        return {"ours": Timed(run if target is not None else run_interpreted)}

    usual = choose_tile(kernel, 32)
    mark = ", the static choice" if (usual.num_warps, usual.channels) == (warps, warps * 32 * each) else ""
    what = f"{contest.name}, forward, float32, {warps} warps of {each} elements a thread{mark}"
    return Case("tuning", what, "s/call", predict, contenders)


def _target() -> Any:
    from triton.runtime import driver  # noqa: PLC0415 - asks for a GPU

    return driver.active.get_current_target()
