"""The model of time on GPUs against numbers by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.functions import ROUND
from bench.gpu import kernels
from bench.gpu.command import TINY_POPULATION as TINY
from bench.gpu.counts import kernel_counts, member_counts
from bench.gpu.kernels import ceiling_cases, large_cases
from bench.gpu.measure import Case, Row, row
from bench.gpu.model import GRAPH_GAP, SMALL, Work, pass_work, passes_work, seconds, step_seconds, step_work, total
from bench.gpu.population import Sizes, candidates, group_cases, training_cases
from gp.lab.network import Architecture
from gp.lab.stack import Stack
from kernels.gpus import A100, H100, H200, MI300X, Gpu
from kernels.programs import SLOPE, make_plan, program
from kernels.report import KINDS

pytestmark = pytest.mark.usefixtures("one_torch_thread")
CPU = torch.device("cpu")
CARDS = (A100, H100, H200, MI300X)
KERNELS = kernels.Sizes(copied=(1 << 20,), large=(1 << 24,))


def test_a_copy_takes_bytes_over_bandwidth_and_a_gap() -> None:
    """2 GB at 3.35 TB/s are 597 us, and 3 us pass to the next kernel; a relu of as many numbers is not longer."""
    assert seconds(H100, Work("copy", 2e9)) == pytest.approx(2e9 / 3.35e12 + 3e-6)
    assert seconds(H100, Work("copy", 2e9), GRAPH_GAP) == pytest.approx(2e9 / 3.35e12 + 0.5e-6)
    relu = pass_work(program("relu(x)"), 0, "f32", 250_000_000, H100)
    assert relu.bytes == 2e9
    assert seconds(H100, relu) == pytest.approx(2e9 / 3.35e12 + 3e-6)


def test_a_long_kernel_takes_its_instructions_over_the_rate_of_their_unit() -> None:
    """264 float32 instructions an element at 128 results a clock: on 132 multiprocessors 1/64 clock an element, 7.9 ms for 1e9."""
    kinds = {**dict.fromkeys(KINDS, 0.0), "fp32": 264.0}
    work = Work("long", 8e9, clocks=1e9 * H100.clocks(kinds))
    assert seconds(H100, work, 0) == pytest.approx(1e9 / 64 / 1.98e9)
    assert seconds(H100, dataclasses.replace(work, times=3), 1e-3) == pytest.approx(3 * (1e9 / 64 / 1.98e9 + 1e-3))
    # Four sines in a row are bound by instructions where memory is fast, by what cuobjdump shows: more than 1 clock an element.
    sines = pass_work(program("sin(sin(sin(sin(x))))"), 0, "f32", 1 << 24, H200)
    assert seconds(H200, sines, 0) == pytest.approx(sines.clocks / (132 * 1.98e9))
    assert seconds(H200, sines, 0) > 1.2 * sines.bytes / H200.bandwidth


def test_products_take_their_operations() -> None:
    """An H100 makes 66.9 TFLOPS of float32."""
    assert seconds(H100, Work("bmm", 0, operations=66.9e12), 0) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("text", ["relu(x)", "x*tanh(softplus(x))"])
def test_time_grows_with_the_size(text: str) -> None:
    for order, (small, large) in itertools.product((0, 1), itertools.pairwise((1 << 10, 1 << 16, 1 << 22, 1 << 28))):
        times = [seconds(A100, pass_work(program(text), order, "f32", n, A100)) for n in (small, large)]
        assert times[0] < times[1]


def test_bytes_of_passes_and_types() -> None:
    """Forward reads one tensor and writes one, backward reads two; bfloat16 is half of it."""
    function = program("x*sigmoid(x)")
    assert [pass_work(function, order, "f32", 1000, H100).bytes for order in (0, 1)] == [8000, 12_000]
    assert [pass_work(function, order, "bf16", 1000, H100).bytes for order in (0, 1)] == [4000, 6000]


def test_statistics_take_a_kernel_for_each_level() -> None:
    """turbulent reads x for the mean, x for the deviation, then reads and writes it; backward has four levels, of which two read dy too."""
    turbulent = program(ROUND[-1].text)
    works = passes_work(turbulent, (0, 1), "f32", 1000, H100)
    assert [work.bytes / 4000 for work in works] == [1, 1, 2, 1, 1, 2, 2, 3]
    assert total(H100, works) == pytest.approx(sum(seconds(H100, work) for work in works))
    assert passes_work(program("silu(x)"), (1,), "bf16", 1000, H100) == [pass_work(program("silu(x)"), 1, "bf16", 1000, H100)]


@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
def test_members_of_groups_are_counted_with_what_they_call(target: str) -> None:
    """`x` alone costs the way to it and a share of its tile; a function that is called its own kernel's instructions, and a bit more."""
    total = {text: sum(member_counts(program(text), target).values()) for text in ("x", "sin(x)", "sin(3*sin(x))")}
    alone = sum(kernel_counts(make_plan(program("sin(x)"), 0, "f32").stages[-1].kernel, target).values())
    assert total["x"] < 30
    # Value and slope: sin and cos; then sin twice and cos twice. A way that misses a loop or a call would be shorter.
    assert 1.6 * alone < total["sin(x)"] < 4 * alone
    assert 1.6 < (total["sin(3*sin(x))"] - total["x"]) / (total["sin(x)"] - total["x"]) < 2.4
    # What calls nothing costs what it costs alone (on AMD two elements an instruction), and what `x` costs.
    polynomial = program("1.1 + x*(1.2 + x*(1.3 + x*(1.4 + x*(1.5 + x*x))))")
    own = sum(kernel_counts(make_plan(polynomial, SLOPE, "f32").stages[-1].kernel, target).values())
    assert own / 2 < sum(member_counts(polynomial, target).values()) - total["x"] < 2 * own + 4


class Operators(TorchDispatchMode):
    """Notes the operators that would launch a kernel on a GPU, with the bytes of the tensors that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in (*args, result) if isinstance(t, torch.Tensor)]
        self.found.append((func.__name__.split(".")[0], sum(t.numel() * t.element_size() for t in tensors)))
        return result


def test_a_step_has_the_kernels_that_the_model_counts() -> None:
    """Names, numbers and bytes of torch's operators, in a step of two candidates with two networks each."""
    tasks = dataclasses.replace(TINY, architecture=Architecture((6, 5))).tasks()
    stack = Stack([candidates(2)], tasks.problems, tasks.architecture, TINY.training, CPU)
    stack.step()
    with Operators() as seen:
        stack.step()
    inputs = max(p.train.x.shape[1] for p in tasks.problems)
    step = step_work(tasks.architecture, inputs, 8, 4, 2, 0.0, 1)
    counted = Counter(name for name, _ in seen.found)
    predicted = Counter(work.name for work in step)
    for name in ("clone", "baddbmm", "bmm", "sum", "_fused_adam_", "sub", "pow", "mean", "where"):
        assert counted[name] == predicted[name], name
    assert counted["mul"] == predicted["mul"] + 1  # the small one of `isfinite`
    assert predicted["group"] == 2
    small = {"remainder": 1, "abs": 1, "ne": 1, "eq": 1, "bitwise_and_": 1, "scalar_tensor": 1, "_foreach_add_": 1}
    assert all(counted[name] == number for name, number in small.items())
    assert sum(small.values()) + 5 == SMALL  # index_select and copy_ of the rate, mul of `isfinite`, add_ of alive steps and of the step
    assert counted["index_select"] == predicted["index_select"] + 1
    # What is the same for several networks: the operator sees it in each, or as small as it is; the model the other way round.
    for name, tolerance in (("bmm", 0), ("pow", 0), ("mul", 0.01), ("clone", 0.35), ("sub", 0.35)):
        bytes_seen = sum(size for seen_name, size in seen.found if seen_name == name)
        assert bytes_seen == pytest.approx(sum(w.bytes for w in step if w.name == name), rel=tolerance), name
    parameters = sum(p.numel() for p in stack._parameters)
    assert sum(w.bytes for w in step if w.name == "_fused_adam_") == 7 * 4 * parameters


def test_more_candidates_take_longer_and_a_graph_less() -> None:
    def step(networks: int) -> list[Work]:
        return step_work(Architecture(), 5, 64, networks, 84, 1.0, 1)

    times = [step_seconds(H100, step(84 * count)) for count in (1, 32, 256)]
    assert times == sorted(times)
    assert times[2] < 256 * times[0]  # per candidate it is cheaper
    kernels = sum(work.times for work in step(84))
    assert step_seconds(H100, step(84), graph=False) - times[0] == pytest.approx(kernels * (3e-6 - GRAPH_GAP))


def predicted(cards: tuple[Gpu, ...]) -> list[Row]:
    """A few cases of each kind, predicted."""
    sizes = dataclasses.replace(Sizes(), groups=(3,), members=3, candidates=(3,))
    some: Iterator[Case] = itertools.chain(
        ceiling_cases(KERNELS, CPU), list(large_cases(KERNELS, CPU))[8:10], group_cases(sizes, CPU), training_cases(sizes, CPU)
    )
    return [row(case, card.name, card, None) for case in some if case.predict for card in cards]


def test_four_cards_have_predictions_and_an_h200_is_not_slower_than_an_h100() -> None:
    rows = predicted(CARDS)
    assert {r.section for r in rows} == {"ceiling", "kernels", "decisions", "population"}
    assert all(r.predicted_seconds and math.isfinite(r.predicted_seconds) and not r.error for r in rows), [r.error for r in rows]
    by_card = {name: [r.predicted_seconds or 0 for r in rows if r.gpu == name] for name in dict.fromkeys(r.gpu for r in rows)}
    assert len(by_card) == 4
    pairs = list(zip(by_card["H100 SXM"], by_card["H200 SXM"], strict=True))
    assert all(h200 <= h100 for h100, h200 in pairs)
    assert any(h200 < 0.75 * h100 for h100, h200 in pairs)  # 3.35 TB/s are 0.70 of 4.8
    assert all(a100 > h100 for a100, h100 in zip(by_card["A100 SXM 80GB"], by_card["H100 SXM"], strict=True))


def test_candidates_are_distinct_functions_of_x_alone() -> None:
    first = candidates(32)
    assert len({f.key for f in first}) == 32
    assert all(f.of_x_alone for f in first)
    assert {f.key for f in candidates(80)} == {f.key for f in first}
    assert len({(f.key, f.constants) for f in candidates(64)}) > 40
