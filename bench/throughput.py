"""Figures 1 and 2: how fast forward and backward run, against torch eager, torch.compile and a memory copy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch

import gp
from bench.functions import COPY_BOUND, FUSED, Contest
from bench.measure import Row, Target, exactly, milliseconds
from gp.timing import Activate, Spread, Work, geometric_mean, interleaved, passes, ratio

FULL: Final = 4_194_304  # elements of the figures
_AGAINST_EAGER: Final = Target(8.0, True), Target(3.0, True)  # geometric mean, each one
_AGAINST_COMPILE: Final = Target(1.2, True), Target(0.9, True)
_BANDWIDTH: Final = Target(0.75, True)
PASSES: Final = ("forward", "backward", "both")


def inputs(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x, which requires a gradient, and a cotangent: standard normal, the same each time."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, generator=generator).requires_grad_()
    return x, torch.randn(size, generator=generator)


def contenders(contest: Contest, compiled: bool) -> dict[str, Activate]:
    """Ours, eager and perhaps torch.compile of eager, by name."""
    found: dict[str, Activate] = {"ours": gp.activation(contest.text), "eager": contest.eager}
    if compiled:
        torch.compiler.reset()  # lest the limit on recompilations is met
        found["compile"] = torch.compile(contest.eager, fullgraph=True, dynamic=False)
    return found


def measure(functions: Mapping[str, Activate], size: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds by pass and contender, round by round."""
    x, cotangent = inputs(size)
    work = {name: passes(function, x, cotangent) for name, function in functions.items()}
    return {kind: interleaved({name: by_pass[kind] for name, by_pass in work.items()}, rounds) for kind in PASSES}


@dataclass(frozen=True, slots=True)
class _Alternative:
    key: str
    name: str
    mean: Target
    each: Target


_ALTERNATIVES: Final = (
    _Alternative("eager", "torch eager", *_AGAINST_EAGER),
    _Alternative("compile", "torch.compile", *_AGAINST_COMPILE),
)


def figure_1(rounds: int, compiled: bool) -> Iterator[Row]:
    """Forward plus backward at 4,194,304 float32, and each alone, against torch."""
    ratios: dict[str, list[float]] = {}
    for contest in FUSED:
        functions = contenders(contest, compiled)
        if compiled:
            yield _cold_compile(contest, functions["compile"])
        for kind, seconds in measure(functions, FULL, rounds).items():
            for alternative in _ALTERNATIVES:
                if alternative.key in seconds:
                    row = _row(f"{contest.name}, {kind}", seconds, alternative, alternative.each if kind == "both" else None)
                    if kind == "both":
                        ratios.setdefault(alternative.key, []).append(row.value.median)
                    yield row
    for alternative in _ALTERNATIVES:
        if alternative.key in ratios:
            what = f"geometric mean, both, against {alternative.name}"
            yield Row("1", what, "", "", exactly(geometric_mean(ratios[alternative.key])), "x", alternative.mean)


def other_sizes(rounds: int) -> Iterator[Row]:
    """Forward plus backward over sizes against eager; no target, but small tensors show what a call costs."""
    for contest in FUSED[:1] + COPY_BOUND[:1]:
        functions = contenders(contest, compiled=False)
        for size in (256, 4096, 65_536, 1_048_576):
            for kind, seconds in measure(functions, size, rounds).items():
                yield _row(f"{contest.name}, {kind}, {size:,} elements", seconds, _ALTERNATIVES[0], None)


def figure_2(rounds: int) -> Iterator[Row]:
    """Copy-bound kernels against torch's parallel copy of as many bytes, into memory that is there already and into new memory.

    Ours always writes new memory, as a torch function does. Backward reads two tensors and writes one.
    """
    x, cotangent = inputs(FULL)
    for contest in COPY_BOUND:
        by_pass = passes(gp.activation(contest.text), x, cotangent)
        for kind, moved in (("forward", 2 * x.nbytes), ("backward", 3 * x.nbytes)):
            seconds = interleaved({"ours": by_pass[kind], **copies(moved // 8)}, rounds)
            for copy, target in (("copy", _BANDWIDTH), ("copy to new memory", None)):
                share = ratio(seconds[copy], seconds["ours"])
                theirs = f"{copy} {_rate(moved, seconds[copy])}"
                yield Row("2", f"{contest.name}, {kind}", _rate(moved, seconds["ours"]), theirs, share, "x", target)


def copies(size: int) -> dict[str, Work]:
    """A copy of so many float32, which moves twice their bytes: into memory that is there already, and into new memory."""
    source, target = torch.ones(size), torch.ones(size)
    return {"copy": Work(lambda _: target.copy_(source)), "copy to new memory": Work(lambda _: torch.empty_like(source).copy_(source))}


def _rate(size: int, seconds: list[float]) -> str:
    return f"{size / Spread.of(seconds).median / 1e9:.3g} GB/s"


def _row(what: str, seconds: Mapping[str, list[float]], alternative: _Alternative, target: Target | None) -> Row:
    ours, theirs = seconds["ours"], seconds[alternative.key]
    shown = f"{alternative.name} {milliseconds(Spread.of(theirs).median)}"
    return Row("1", what, milliseconds(Spread.of(ours).median), shown, ratio(theirs, ours), "x", target)


def _cold_compile(contest: Contest, function: Activate) -> Row:
    """What the first forward and backward pass of torch.compile takes: with inductor's cache on disk, or without, as it is found."""
    x, cotangent = inputs(FULL)
    start = time.perf_counter()
    torch.autograd.grad(function(x), x, cotangent)
    seconds = time.perf_counter() - start
    return Row("1", f"{contest.name}, first call of torch.compile", "", milliseconds(seconds), exactly(seconds), "s")
