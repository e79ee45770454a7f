"""Where the time of a training step goes on a GPU, from what torch's profiler saw of its kernels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch.profiler import ProfilerActivity, profile

from gp.lab import batched
from gp.lab.stack import Stack

# Part of a step -> what the names of its kernels have in them, in small letters. The first that fits counts.
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "matrix products": ("gemm", "gemv", "bmm", "cutlass", "xmma", "nvjet"),
    "optimiser": ("adam", "multi_tensor"),
    "activations": ("group_", "mulfunctor", "aten::mul"),  # backward of functions of x alone is a product
}
OTHERS: Final = "other kernels"
GAPS: Final = "launch gaps"


@dataclass(frozen=True, slots=True)
class Span:
    """A kernel that ran, with its begin and end in microseconds."""

    name: str
    begin: float
    end: float


def part(name: str) -> str:
    """The part of a step that a kernel belongs to."""
    small = name.lower()
    return next((part for part, words in _PARTS.items() if any(word in small for word in words)), OTHERS)


def shares(spans: Sequence[Span], steps: int) -> dict[str, float]:
    """The share of each part in the time from the first kernel to the last of so many steps, and the kernels of a step.

    What comes before the longest gap is left out: the steps of the warm-up, after which the graph is captured.
    """
    ordered = sorted(spans, key=lambda span: span.begin)
    if len(ordered) < 2:
        raise RuntimeError("the profiler saw no kernels")
    gaps = [after.begin - before.end for before, after in itertools.pairwise(ordered)]
    ordered = ordered[gaps.index(max(gaps)) + 1 :]
    whole = max(ordered[-1].end - ordered[0].begin, 1e-9)
    found = dict.fromkeys((*_PARTS, OTHERS), 0.0)
    for span in ordered:
        found[part(span.name)] += (span.end - span.begin) / whole
    return {**found, GAPS: 1.0 - sum(found.values()), "kernels": len(ordered) / steps}


def step_shares(stack: Stack) -> dict[str, float]:
    """Of the training steps of a stack. Raises RuntimeError where there is nothing to be seen."""
    on_gpu = stack.device.type == "cuda"
    stack.reset()
    with batched.exact_products():
        batched.run_steps(stack)  # what is set up at the first step is not part of it
        stack.reset()
        with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU], acc_events=True) as seen:
            batched.run_steps(stack)
            if on_gpu:
                torch.cuda.synchronize()
    events = [event for event in seen.events() or () if event.device_type.name == ("CUDA" if on_gpu else "CPU")]
    spans = [Span(event.name, event.time_range.start, event.time_range.end) for event in events]
    return shares(spans, max(1, stack.training.steps - batched.WARM_UP))
