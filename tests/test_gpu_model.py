"""The model of time on GPUs against numbers by hand, and `python -m bench.gpu`: without a GPU, and its measuring code on the CPU."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from typer.testing import CliRunner

from bench import gpu, gpu_groups
from bench.gpu_counts import kernel_counts, member_counts
from bench.gpu_groups import Sizes, candidates, compile_cases, group_cases, training_cases
from bench.gpu_measure import Case, Row, Timed, copy_case, event_clock, kernel_cases, row, tuning_cases
from bench.gpu_model import GRAPH_GAP, SMALL, Work, pass_work, seconds, step_seconds, step_work
from gp.lab.network import Architecture
from gp.lab.stack import Stack
from gp.lab.training import Training
from kernels.gpus import A100, B200, H100, H200, MI300X, Gpu
from kernels.programs import SLOPE, make_plan, program
from kernels.report import KINDS

pytestmark = pytest.mark.usefixtures("one_torch_thread")
CPU = torch.device("cpu")
CARDS = (A100, H100, H200, MI300X)
TINY = Sizes(
    groups=(2,), slices=2, rows=4, channels=8, candidates=(2,), problems=2, architecture=Architecture((3,)),
    training=Training(steps=2, learning_rate=5e-3, batch=8), agreeing=1,
)  # fmt: skip


def fake_clock(taken: list[str]) -> Callable[[Mapping[str, Callable[[], object]], int], Mapping[str, float]]:
    """A clock that calls everything once, notes its name, and says it took a millisecond for ours and two for the others."""

    def clock(contenders: Mapping[str, Callable[[], object]], rounds: int) -> Mapping[str, float]:
        for name, run in contenders.items():
            run()
            taken.append(name)
        return {name: 2e-3 if k else 1e-3 for k, name in enumerate(contenders)}

    return clock


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
    sizes = dataclasses.replace(Sizes(), groups=(3,), candidates=(3,))
    some: Iterator[Case] = itertools.chain(
        [copy_case(1 << 20, CPU)], list(kernel_cases(1 << 24, CPU, False))[8:10], group_cases(sizes, CPU), training_cases(sizes, CPU)
    )
    return [row(case, card.name, card, None) for case in some if case.predict for card in cards]


def test_four_cards_have_predictions_and_an_h200_is_not_slower_than_an_h100() -> None:
    rows = predicted(CARDS)
    assert {r.section for r in rows} == {"kernels", "groups", "training"}
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


def test_the_measuring_code_runs_on_the_cpu() -> None:
    """Every case at a tiny size, its kernels interpreted: it has contenders or figures, and no error."""
    taken: list[str] = []
    kernels = [case for case in kernel_cases(64, CPU, False) if case.what.startswith(("relu", "mish"))]
    some = [copy_case(64, CPU), *kernels, *list(tuning_cases(64, CPU))[:1]]
    some += [*group_cases(TINY, CPU), *compile_cases(TINY, "sm_90"), *training_cases(TINY, CPU)]
    found = list(gpu.measurements(some, "none", None, fake_clock(taken)))
    assert [r.error for r in found] == [""] * len(found)
    assert len(found) == 1 + 8 + 1 + 2 + 1 + 3
    by_what = {r.what: r for r in found}
    assert by_what["relu, forward, float32"].alternatives == {"torch eager": 2e-3}
    assert by_what["copy of 64 float32"].rates["GB/s"]["measured"] == pytest.approx(512e-9 / 1e-3)
    (step,) = (r for r in found if r.unit == "s/step")
    assert (step.measured_seconds, step.alternatives) == (0.5e-3, {"launched one by one": 1e-3})
    assert step.rates["candidates/s"] == {"measured": pytest.approx(2 / (2 * 0.5e-3))}
    (losses,) = (r for r in found if r.figures)
    assert losses.measured_seconds is None
    assert losses.figures["largest difference"] < 1e-4
    assert losses.figures["diverged on one side alone"] == 0
    assert {"ours", "torch eager", "copy", "one kernel", "a kernel for each candidate", "graph", "launched one by one"} < set(taken)


def test_losses_that_differ_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a trainer of another function is further away than that."""
    train = gpu_groups.trainer.train
    monkeypatch.setattr(gpu_groups.trainer, "train", lambda function, *rest: train(program("sin(3*x)"), *rest))
    assert gpu_groups.agreement(TINY, CPU)["largest difference"] > 1e-3


def test_a_failing_case_harms_no_other() -> None:
    def fails() -> Mapping[str, Timed]:
        raise torch.OutOfMemoryError("no room")

    good = Case("kernels", "good", "s/call", lambda card: 2.0, lambda: {"ours": Timed(lambda: None)})
    bad = dataclasses.replace(good, what="bad", contenders=fails)
    rows = list(gpu.measurements([bad, good], "none", H100, fake_clock([])))
    assert [r.error for r in rows] == ["OutOfMemoryError: no room", ""]
    assert (rows[0].predicted_seconds, rows[0].measured_seconds, rows[0].ratio) == (2.0, None, None)
    assert rows[1].ratio == pytest.approx(2.0 / 1e-3)
    console = gpu.Console(record=True, width=160)
    gpu.print_measurements(console, "title", rows)
    assert re.search(r"good.*2e\+03 ms.*1 ms", console.export_text())
    with pytest.raises(ZeroDivisionError):  # a mistake of our own is not hidden
        row(dataclasses.replace(good, predict=lambda card: 1 / 0), "none", H100, None)


class Event:
    """A CUDA event on a clock that every call of `Event.run` moves on by a millisecond."""

    now = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = Event.now

    def elapsed_time(self, other: Event) -> float:
        return other.at - self.at

    @staticmethod
    def run() -> None:
        Event.now += 1.0


def test_the_clock_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of a millisecond is one of two in a sample; a single call has no warm-up."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    Event.now = 0.0
    assert event_clock(5)({"ours": Event.run}, 0) == {"ours": pytest.approx(1e-3)}
    assert Event.now == 2 + 5 * 2
    Event.now = 0.0
    assert event_clock(5)({"ours": Event.run}, 1) == {"ours": pytest.approx(1e-3)}
    assert Event.now == 1


def driver(multiprocessors: int, clock: float, memory: float, bits: int) -> dict[str, int]:
    """What Triton's driver says; clocks in MHz."""
    khz = {"sm_clock_rate": int(clock * 1e3), "mem_clock_rate": int(memory * 1e3)}
    return {"multiprocessor_count": multiprocessors, "mem_bus_width": bits, **khz}


def test_cards_are_identified() -> None:
    assert gpu.identify("NVIDIA H100 80GB HBM3", "sm_90", driver(132, 1980, 2619, 5120)) is H100
    assert gpu.identify("NVIDIA H200", "sm_90", driver(132, 1980, 3201, 6144)) is H200
    assert gpu.identify("NVIDIA A100-SXM4-80GB", "sm_80", driver(108, 1410, 1593, 5120)) is A100
    assert gpu.identify("NVIDIA B200", "sm_100", driver(148, 1965, 3996, 8192)) is B200
    assert gpu.identify("AMD Instinct MI300X", "gfx942", driver(304, 2100, 1300, 8192)) is MI300X
    small = gpu.identify("NVIDIA A100-SXM4-40GB", "sm_80", driver(108, 1410, 1215, 5120))
    assert small is not None
    assert small.bandwidth == pytest.approx(1.555e12, rel=1e-3)
    grace = gpu.identify("NVIDIA GH200 480GB", "sm_90", driver(132, 1980, 2619, 6144))  # no H200: its bandwidth is its driver's
    assert grace is not None
    assert grace.bandwidth == pytest.approx(4.02e12, rel=1e-2)
    assert gpu.identify("NVIDIA GeForce RTX 4090", "sm_89", driver(128, 2520, 10501, 384)) is None


def test_without_a_gpu_the_command_says_so_and_writes_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few(section: gpu.Section, device: torch.device, target: str) -> Iterator[Case]:
        sizes = dataclasses.replace(Sizes(), groups=(2,), candidates=(2,))
        makers = {
            gpu.Section.KERNELS: lambda: itertools.islice(kernel_cases(1 << 24, device, False), 2),
            gpu.Section.GROUPS: lambda: group_cases(sizes, device),
            gpu.Section.TRAINING: lambda: training_cases(sizes, device),
        }
        return makers[section]()

    monkeypatch.setattr(gpu, "cases", few)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = tmp_path / "gpu.json"
    result = CliRunner().invoke(gpu.app, ["--json", str(path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "nothing was measured" in result.output
    assert result.output.count("predicted, not measured") == 3
    assert all(card.name in result.output for card in CARDS)
    made = json.loads(path.read_text(encoding="utf-8"))
    assert (made["measured"], made["card"]) == (False, None)
    assert {"torch", "triton"} < set(made["machine"])
    assert {"cuda", "rocm", "driver"} == set(made["versions"])
    assert {r["section"] for r in made["rows"]} == {"kernels", "groups", "training"}
    assert all(r["measured_seconds"] is r["ratio"] is None and r["predicted_seconds"] > 0 for r in made["rows"])


def test_with_a_gpu_the_command_measures_each_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one(section: gpu.Section, device: torch.device, target: str, compiled: bool) -> list[Case]:
        assert (device.type, target, compiled) == ("cuda", "sm_90", False)
        return [Case(section, section, "s/call", lambda card: 1e-3, lambda: {"ours": Timed(lambda: None)}, rates={"calls/s": 1})]

    monkeypatch.setattr(gpu, "cases", one)
    monkeypatch.setattr(gpu, "this_card", lambda: ("NVIDIA H100", "sm_90", H100))
    monkeypatch.setattr(gpu, "event_clock", lambda rounds: fake_clock([]))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    path = tmp_path / "gpu.json"
    result = CliRunner().invoke(gpu.app, ["--json", str(path), "--only", "training", "--only", "tuning"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "predictions for H100 SXM" in result.output
    made = json.loads(path.read_text(encoding="utf-8"))
    assert made["measured"]
    assert made["card"]["bandwidth"] == 3.35e12
    assert [(r["what"], r["ratio"], r["rates"]["calls/s"]["measured"]) for r in made["rows"]] == [("training", 1, 1e3), ("tuning", 1, 1e3)]


def test_all_cases_of_the_command_are_made() -> None:
    """Sections as the command has them: nothing is compiled or allocated when a case is made."""
    numbers = {section: len(list(gpu.cases(section, CPU, "sm_90"))) for section in gpu.Section}
    assert numbers == {"kernels": 45, "groups": 6, "training": 4, "tuning": 12}
