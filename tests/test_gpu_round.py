"""The round on a GPU, `python -m bench.gpu`: dry on the CPU, its clock on made-up events, its schedule, and what it says of its rows."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_card import Card, card
from typer.testing import CliRunner

from bench.gpu import command as gpu
from bench.gpu import decisions, kernels, liger, population, prepare, search
from bench.gpu.measure import COPY, Case, Clock, Row, Sample, Timed, row
from bench.gpu.report import LARGE, goals, markdown, model_errors
from bench.gpu.round import FILE, LOST, OUT_OF_TIME, Round, line, shares
from bench.gpu.shares import GAPS, OTHERS, Span
from bench.gpu.shares import shares as step_parts
from kernels.gpus import A100, B200, H100, H200, MI300X
from kernels.programs import program

__all__ = ["card"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")
CPU = torch.device("cpu")
DRY = Clock(2, on_gpu=False)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(gpu.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_whole_round_runs_dry(tmp_path: Path) -> None:
    """Every case of every section at a tiny size on the CPU, its kernels interpreted, and a search: none fails."""
    output = run("--dry-run", "--out", str(tmp_path))
    made = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert [r["error"] for r in made["rows"]] == [""] * len(made["rows"])
    assert list(dict.fromkeys(r["section"] for r in made["rows"])) == list(gpu.Section)[:-1]
    assert made["rows"][-1]["kind"] == "shares"
    assert {"date", "command", "machine", "versions", "card", "measured"} < set(made)
    assert not made["measured"]
    by_what = {r["what"]: r for r in made["rows"]}
    contest = by_what["squared_relu, forward + backward, 64 bfloat16"]
    assert set(contest["alternatives"]) == {"torch eager", "torch.compile", COPY}
    assert contest["clone_share"] == pytest.approx(2.5 * contest["alternatives"][COPY] / contest["measured_seconds"])
    assert set(contest["host"]) == {"ours", *contest["alternatives"]}
    assert sum(name.startswith("random ") for name in by_what) == 5 * 4
    losses = next(r for r in made["rows"] if r["kind"] == "agreement")
    assert losses["figures"]["largest difference"] < 1e-4
    found = by_what["gp run --preset quick"]["figures"]
    assert (found["generations"], found["ended"]) == (2, "by itself")
    assert found["programs trained"] > 8
    page = (tmp_path / gpu.PAGE).read_text(encoding="utf-8")
    assert all(f"## {section.capitalize()}" in page for section in list(gpu.Section)[:-1])
    assert f"{len(made['rows'])} rows" in output


def test_without_a_gpu_the_command_says_so_and_writes_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = kernels.Sizes(copied=(1 << 20,), large=(1 << 20,), small=())
    tiny = dataclasses.replace(population.Sizes(), candidates=(2,), groups=(2,), members=2)
    monkeypatch.setattr(gpu, "FULL", gpu.Sizes(few, tiny, 1 << 20))
    monkeypatch.setattr(kernels, "ROUND", kernels.ROUND[:1])
    monkeypatch.setattr(kernels, "_RANDOM", [])
    monkeypatch.setattr(decisions, "_TUNED", ())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    output = run("--out", str(tmp_path))
    assert "nothing was measured" in output
    assert output.count("predicted, not measured") == 4  # there is nothing to be predicted of small tensors here, nor of a search
    assert all(card.name in output for card in gpu.PREDICTED)
    made = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert (made["measured"], made["card"]) == (False, None)
    assert all(r["measured_seconds"] is r["ratio"] is None and r["predicted_seconds"] > 0 for r in made["rows"])


def a_case(what: str = "a case", **changes: Any) -> Case:
    return dataclasses.replace(Case("kernels", what, contenders=lambda: {"ours": Timed(lambda: None)}), **changes)


def schedule(folder: Path, seconds: float, monkeypatch: pytest.MonkeyPatch) -> tuple[Round, Callable[[float], Callable[[], object]]]:
    """A round, and what makes something to run that takes so many of its seconds."""
    now = [0.0]
    monkeypatch.setattr(Round, "elapsed", property(lambda _: now[0]))

    def takes(seconds: float) -> Callable[[], object]:
        def run() -> None:
            now[0] += seconds

        return run

    return Round(folder, {"measured": True}, "a card", None, Clock(1, on_gpu=False), seconds, say=lambda _: None), takes


def test_what_has_no_time_in_its_section_is_made_at_the_end_or_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, takes = schedule(tmp_path, 100.0, monkeypatch)

    def cases(section: str, count: int, seconds: float) -> Iterator[Case]:
        for k in range(count):
            yield a_case(f"{section} {k}", contenders=lambda: {"ours": Timed(takes(seconds))})

    made.section(cases("first", 5, 20.0), until=40.0)
    made.section(cases("second", 1, 10.0), until=60.0)
    assert [r.what for r in made.rows] == ["first 0", "first 1", "second 0"]
    made.finish()
    assert [(r.what, r.error) for r in made.rows[3:]] == [("first 2", ""), ("first 3", ""), ("first 4", "")]
    made, takes = schedule(tmp_path, 30.0, monkeypatch)
    made.section(cases("first", 5, 20.0), until=20.0)
    made.finish()
    assert [r.error for r in made.rows] == ["", "", *[OUT_OF_TIME] * 3]
    assert [r["error"] for r in json.loads((tmp_path / FILE).read_text())["rows"]] == [r.error for r in made.rows]


def test_a_round_that_is_cut_off_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is whole after every row, and a failing case harms no other."""
    made, _ = schedule(tmp_path, 100.0, monkeypatch)

    def fails() -> Mapping[str, Timed]:
        raise torch.OutOfMemoryError("no room")

    def killed() -> Mapping[str, Timed]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.section([a_case("bad", contenders=fails), a_case("good"), a_case("last", contenders=killed)], until=50.0)
    found = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["rows"]
    assert [(r["what"], r["error"]) for r in found] == [("bad", "OutOfMemoryError: no room"), ("good", "")]


def test_a_mistake_of_our_own_costs_no_other_row_and_is_raised_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> Mapping[str, Timed]:
        return {"ours": Timed(lambda: {}["ours"])}

    monkeypatch.setattr(gpu, "cases", lambda *_: iter([a_case("wrong", contenders=wrong), a_case("good")]))
    with pytest.raises(ExceptionGroup, match="not foreseen") as raised:
        run("--dry-run", "--only", "small", "--out", str(tmp_path))
    assert [type(fault) for fault in raised.value.exceptions] == [KeyError]
    found = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["rows"]
    assert [(r["what"], r["error"]) for r in found] == [("wrong", "fault: KeyError: 'ours'"), ("good", "")]
    with pytest.raises(ZeroDivisionError):
        row(a_case(predict=lambda card: 1 / 0), "none", H100, None)


def test_sections_share_what_is_left() -> None:
    assert shares(100.0, 20.0, [("a", 1.0), ("b", 3.0)]) == {"a": 40.0, "b": 100.0}
    assert shares(10.0, 20.0, [("a", 1.0)]) == {"a": 20.0}
    assert sum(gpu._SHARES.values()) == pytest.approx(1)


class Events:
    """In place of CUDA's events and of `perf_counter`: a device that works off a queue while the host goes on."""

    def __init__(self, launch: float, kernel: float) -> None:
        self.launch, self.kernel = launch, kernel
        self.host = self.device = 0.0

    def Event(self, enable_timing: bool) -> Any:
        assert enable_timing
        return _Event(self)

    def run(self) -> None:
        self.host += self.launch
        self.device = max(self.device, self.host) + self.kernel

    def synchronize(self) -> None:
        self.host = max(self.host, self.device)

    def sleep(self, cycles: int) -> None:
        self.device = max(self.device, self.host) + cycles / 2e9


class _Event:
    def __init__(self, events: Events) -> None:
        self.events = events

    def record(self) -> None:
        self.at = max(self.events.device, self.events.host)

    def elapsed_time(self, other: _Event) -> float:
        return 1e3 * (other.at - self.at)


@pytest.mark.parametrize("kernel", [2e-6, 5e-4, 0.1])
def test_the_clock_of_the_device_sees_kernels_alone(kernel: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches of 40 us leave no gaps in it, for the host is ahead; the whole time has them."""
    events = Events(launch=4e-5, kernel=kernel)
    for name in ("Event", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, getattr(events, name))
    monkeypatch.setattr(torch.cuda, "_sleep", events.sleep)
    monkeypatch.setattr("time.perf_counter", lambda: events.host)
    found = Clock(5, on_gpu=True)({"ours": events.run, "other": events.run}, "device")
    assert [len(samples) for samples in found.values()] == [5, 5]
    for sample in found["other"]:
        assert sample.done == pytest.approx(kernel, rel=1e-6)
        assert sample.returned == pytest.approx(4e-5)
    (alone,) = Clock(5, on_gpu=True)({"ours": events.run}, "whole", 1)["ours"]
    assert alone == Sample(pytest.approx(kernel + 4e-5), pytest.approx(4e-5))  # type: ignore[arg-type]


def test_ratios_are_taken_round_by_round() -> None:
    class Times:
        def __call__(self, contenders: object, how: object, rounds: int) -> dict[str, list[Sample]]:
            return {"ours": [Sample(t, 0.1) for t in (1.0, 2.0, 4.0)], "eager": [Sample(2 * t, 0.2) for t in (1.0, 2.0, 4.0)]}

    made = row(a_case(contenders=lambda: {"ours": Timed(lambda: None, 2.0), "eager": Timed(lambda: None, 2.0)}), "a", None, Times())  # type: ignore[arg-type]
    assert made.measured_seconds == 1.0
    assert made.times_ours == {"eager": (2.0, 2.0, 2.0)}
    assert made.host == {"ours": 0.05, "eager": 0.1}


def large(what: str, share: float, times: Mapping[str, tuple[float, float, float]]) -> Row:
    return Row("kernels", what, "s/call", "a card", f"forward, float32, {LARGE:,}", 1.0, 1.25, times_ours=times, clone_share=share)


def test_goals_say_what_is_below() -> None:
    good = large("good", 0.96, {"torch.compile": (0.97, 0.99, 1.01), "torch eager": (0.1, 0.1, 0.1)})
    bad = large("bad", 0.90, {"Liger": (0.8, 0.9, 0.95)})
    step = Row("population", "256 candidates", "s/step", "a card", "training step", 0.8, 1.0)
    slow = dataclasses.replace(step, measured_seconds=1.2)
    assert [(g.met, g.measured, g.wanted) for g in goals([good, step])] == [(True, 1, 1)] * 3
    assert [(g.met, len(g.missed)) for g in goals([good, bad, slow])] == [(False, 1)] * 3
    assert [g.met for g in goals([])] == [None] * 3
    page = markdown({"measured": True, "name": "a card", "machine": {}, "versions": {}}, [good, bad])
    assert "bad: Liger takes 0.90 times as long" in page
    assert "NOT met, 1 below (2 of 2 measured)" in page


def test_what_was_not_measured_or_failed_does_not_meet_a_goal() -> None:
    good = large("good", 0.96, {})
    late, failed = (dataclasses.replace(good, measured_seconds=None, clone_share=None, error=e) for e in (OUT_OF_TIME, "RuntimeError: no"))
    assert [(g.met, g.measured, g.wanted) for g in goals([good, late])[:2]] == [(None, 1, 2)] * 2
    assert [g.missed for g in goals([good, failed])[:2]] == [("good: RuntimeError: no",)] * 2
    turbulent = dataclasses.replace(late, what="turbulent, forward")
    assert goals([good, turbulent])[0].met


def test_a_gpu_that_is_lost_ends_the_measuring_and_no_row_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", lost)
    made = Round(tmp_path, {}, "a card", None, Clock(1, on_gpu=False), 100.0, say=lambda _: None)
    made.clock = dataclasses.replace(made.clock, on_gpu=True)
    some = [a_case(what, contenders=dict) for what in ("first", "second", "third")]
    made.section(some, until=50.0)
    made.finish()
    assert [(r.what, r.error) for r in made.rows] == [("first", ""), ("second", LOST), ("third", LOST)]
    assert len(json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["rows"]) == 3


def test_a_row_may_have_no_number(tmp_path: Path) -> None:
    """JSON has neither NaN nor infinity."""
    made = Round(tmp_path, {}, "a card", None, DRY, 100.0, say=lambda _: None)
    made.add(Row("s", "w", "u", "g", figures={"largest": float("inf")}, alternatives={"x": float("nan")}))
    (found,) = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["rows"]
    assert (found["figures"], found["alternatives"]) == ({"largest": "inf"}, {"x": "nan"})


def test_a_folder_that_cannot_be_written_to_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(gpu.app, ["--dry-run", "--out", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "cannot be written to" in result.output


def test_errors_of_the_model_by_kind() -> None:
    rows = [Row("s", "w", "u", "g", kind, predicted, 1.0) for kind, predicted in (("a", 0.5), ("b", 1.0), ("a", 0.7), ("a", 0.6))]
    found = {e.kind: (e.rows, e.low, e.median, e.high) for e in model_errors([*rows, Row("s", "w", "u", "g", "c", None, 1.0)])}
    assert found == {"a": (3, 0.5, 0.6, 0.7), "b": (1, 1.0, 1.0, 1.0)}


def test_shares_of_a_step_leave_the_warm_up_out() -> None:
    names = ["sm80_xmma_gemm_f32f32", "group_slope", "void at::native::multi_tensor_apply_kernel<FusedAdam>", "reduce_kernel"]
    warm = [Span("group_slope", 0, 500), Span("reduce_kernel", 600, 700)]
    steps = [Span(name, 10_000 + 100 * k, 10_000 + 100 * k + 80) for k, name in enumerate(names * 2)]
    found = step_parts([*steps[::-1], *warm], 2)
    assert found.pop("kernels") == 4
    assert sum(found.values()) == pytest.approx(1)
    assert [found[name] for name in ("matrix products", "activations", "optimiser", OTHERS)] == pytest.approx([160 / 780] * 4)
    assert found[GAPS] == pytest.approx(7 * 20 / 780)
    with pytest.raises(RuntimeError, match="no kernels"):
        step_parts([], 1)


def test_a_search_that_fails_says_why() -> None:
    (made,) = search.search_case("cpu", lambda: 60.0)
    assert made.what == "gp run --preset quick"
    with pytest.raises(RuntimeError, match=r"status 2: gp: population must be"):
        search.found([sys.executable, "-m", "gp", "run", "--population", "1", "--device", "cpu"], 60.0)
    assert row(made, "none", None, None).figures == {}


def test_a_search_that_takes_too_long_is_interrupted_and_what_it_did_is_kept() -> None:
    command = [sys.executable, "-m", "gp", "run", "--preset", "quick", "--device", "cpu", "--workers", "1", "--json", "--quiet"]
    found = search.found([*command, "--population", "16", "--set", "islands=1"], 12.0)
    assert found["ended"] in ("interrupted: out of time", "killed: out of time")
    assert 12.0 <= float(found["seconds"]) < 45.0
    assert int(found["generations"]) >= 1


def test_lines_are_short() -> None:
    made = Row(
        "kernels", "gelu", "s/call", "a card", "", 3e-4, 4e-4, {"torch eager": 8e-4}, {"torch eager": (1.9, 2.0, 2.1)}, clone_share=0.97
    )
    assert line(made) == "kernels: gelu: 400 us (s/call), predicted 300 us, 97% of a copy, torch eager 2.00x"
    assert line(dataclasses.replace(made, error="no room")).endswith("no room")


def test_what_can_be_compiled_ahead_is_listed(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kernel of the kernels' and decisions' cases with every tile that it may have, and what their launches then look for."""
    monkeypatch.setattr(kernels, "_RANDOM", [])
    monkeypatch.setattr(kernels, "ROUND", kernels.ROUND[1:3])
    jobs = set(kernels.jobs(kernels.Sizes()))
    assert {job.num_warps for job in jobs} == {2, 4, 8}
    assert {job.types for job in jobs} >= {("*bf16", "*bf16"), ("*fp32", "*fp32", "*fp32")}
    tiles = decisions.jobs(1 << 26)
    assert {job.num_warps for job in tiles} == {2, 4, 8, 16}
    assert len({job.source for job in tiles}) == 2 * (3 + 3)


def test_compiling_by_torch_is_waited_for_no_longer_than_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = dataclasses.replace(gpu.TINY_KERNELS, inductor="eager")
    assert prepare._inductor(dataclasses.replace(sizes, inductor=None), 1.0) == 0
    begin = time.monotonic()
    monkeypatch.setattr(prepare, "_forget_choices", lambda: None)
    assert prepare._inductor(sizes, 0.2) < 28
    monkeypatch.setattr(prepare.kernels, "STORAGES", {"f32": "float32"})
    monkeypatch.setattr(prepare.kernels, "contests", lambda: kernels.ROUND[:2])
    assert prepare._inductor(sizes, 120.0) == 2
    assert time.monotonic() - begin < 20
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert prepare._until(60.0, pool.imap_unordered(bool, [1, 2, 0]), 3) == 2


def test_a_part_that_hangs_is_given_up_and_one_that_fails_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = threading.Event()
    monkeypatch.setattr(prepare, "_BEHIND", 0.2)
    monkeypatch.setattr(prepare, "_kernels", lambda sizes: hanging.wait() and 1)
    monkeypatch.setattr(prepare, "_counts", lambda candidates, target: 1 // 0)
    monkeypatch.setattr(prepare, "_inductor", lambda sizes, limit: 3)
    monkeypatch.setattr(prepare, "_trainer", lambda: 1)
    made = Round(tmp_path, {}, "a card", None, DRY, 100.0, say=lambda _: None)
    prepare.prepare(made, gpu.TINY_KERNELS, 2, "sm_90", 0.3)
    hanging.set()
    errors = {r.what: r.error for r in made.rows}
    assert errors == {
        "kernels": "not done after 0 s", "instruction counts": "fault: ZeroDivisionError: integer division or modulo by zero",
        "torch.compile": "", "the CPU trainer": "",
    }  # fmt: skip
    assert [type(fault) for fault in made.faults] == [ZeroDivisionError]
    assert all(fault.__traceback__ is None for fault in made.faults), "frames would keep tensors"
    assert "1 // 0" in "".join(made.faults[0].__notes__)


def test_choices_made_under_load_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    (tmp_path / "ab").mkdir()
    for name in ("ab/kernel.best_config", "ab/kernel.py"):
        (tmp_path / name).touch()
    prepare._forget_choices()
    assert [path.name for path in (tmp_path / "ab").iterdir()] == ["kernel.py"]


def test_liger_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert liger.liger_function("gelu") is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert liger.liger_function("squared_relu") is None


def test_losses_that_differ_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a trainer of another function is further away than is allowed."""
    train = population.trainer.train
    monkeypatch.setattr(population.trainer, "train", lambda function, *rest: train(program("sin(3*x)"), *rest))
    assert population.agreement(gpu.TINY_POPULATION, CPU)["largest difference"] > 1e-3


def driver(multiprocessors: int, clock: float, memory: float, bits: int) -> dict[str, int]:
    """What Triton's driver says; clocks in MHz."""
    khz = {"sm_clock_rate": int(clock * 1e3), "mem_clock_rate": int(memory * 1e3)}
    return {"multiprocessor_count": multiprocessors, "mem_bus_width": bits, **khz}


def test_cards_are_identified() -> None:
    from bench.gpu.cards import identify

    assert identify("NVIDIA H100 80GB HBM3", "sm_90", driver(132, 1980, 2619, 5120)) is H100
    assert identify("NVIDIA H200", "sm_90", driver(132, 1980, 3201, 6144)) is H200
    assert identify("NVIDIA A100-SXM4-80GB", "sm_80", driver(108, 1410, 1593, 5120)) is A100
    assert identify("NVIDIA B200", "sm_100", driver(148, 1965, 3996, 8192)) is B200
    assert identify("AMD Instinct MI300X", "gfx942", driver(304, 2100, 1300, 8192)) is MI300X
    small = identify("NVIDIA A100-SXM4-40GB", "sm_80", driver(108, 1410, 1215, 5120))
    assert small is not None
    assert small.bandwidth == pytest.approx(1.555e12, rel=1e-3)
    grace = identify("NVIDIA GH200 480GB", "sm_90", driver(132, 1980, 2619, 6144))  # no H200: its bandwidth is its driver's
    assert grace is not None
    assert grace.bandwidth == pytest.approx(4.02e12, rel=1e-2)
    assert identify("NVIDIA GeForce RTX 4090", "sm_89", driver(128, 2520, 10501, 384)) is None
