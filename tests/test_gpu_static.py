"""The stored table of GPU code against what the compilers make today; and that lost width and spilling are noticed."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench import gpu_functions, gpu_static
from bench.gpu_static import COLUMNS, Item, Job, Row, faults, items, narrowest, program_jobs, row, stored, versions, worse
from codegen.kernel import Kernel
from grammar import catalog
from kernels.cache import DiskCache
from kernels.gpus import A100, BY_TARGET, GPUS, H100, MI300X
from kernels.programs import make_plan, program
from kernels.report import INTEGER, KINDS, OTHER, kinds, static_report
from kernels.triton_compiler import MAX_REGISTERS, NUM_WARPS, TARGETS

MADE_BY, TABLE = stored()
KEY = ("name", "kernel", "target")
STORED = {tuple(r[k] for k in KEY): r for r in TABLE}
# Of the catalogue a few, one with a parameter per channel and one with statistics; of the random programs every 40th.
SAMPLE = ("gelu", "mish", "prelu", "turbulent", *(f"random {k}" for k in range(0, gpu_static.PROGRAMS, 40)))


@functools.cache
def every_item() -> dict[str, Item]:
    return {item.name: item for item in items()}


def today(name: str, target: str) -> list[Row]:
    """The rows of an item as compiled now."""
    item = every_item()[name]
    return [row(item, target, job) for job in item.jobs(target)]


def kernel_of(name: str) -> Kernel:
    return make_plan(program(catalog.entry(name).text), 1, "f32").stages[-1].kernel


def made(kernel: Kernel, target: str, elements: int) -> Row:
    """The row of a kernel compiled with so many elements a thread, whatever would be chosen for it."""
    [job] = [j for j in program_jobs(catalog.entry("gelu").text, target) if j.kernel == kernel.name]
    block = elements * NUM_WARPS * TARGETS[target].warp_size
    forced = dataclasses.replace(job, compile=functools.partial(static_report, kernel, target, block))
    return row(Item("gelu", "catalogue", lambda _: [forced]), target, forced)


def test_the_table_has_every_kernel() -> None:
    """A new entry of the catalogue, or other random programs: run `python -m bench.gpu_static`."""
    expected = {(item.name, job.kernel, target) for item in every_item().values() for target in TARGETS for job in item.jobs(target)}
    assert set(STORED) == expected
    assert len(TABLE) == len(expected)


def test_faults_in_the_table_are_known() -> None:
    """So that making the table again does not hide a new one."""
    assert not [r for r in TABLE if r["local"]]
    lanes = [r for r in TABLE if r["spills"]]
    assert {r["target"] for r in lanes} <= {"gfx942"}, "scalar registers, kept in lanes of a vector register"
    assert "catalogue" not in {r["kind"] for r in lanes}
    assert max(r["spills"] for r in lanes) <= 10
    assert not [r for r in TABLE if any("bits" in fault for fault in faults(r))]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SAMPLE)
def test_nothing_is_worse_than_in_the_table(name: str, target: str) -> None:
    for now in today(name, target):
        before = STORED[tuple(now[k] for k in KEY)]
        assert not worse(now, before)
        if now["code"] == before["code"] and versions() == MADE_BY:
            assert now == before, "the same compilers make the same of the same text"


@pytest.mark.parametrize("target", TARGETS)
def test_lost_width_is_noticed(target: str) -> None:
    now = made(kernel_of("gelu"), target, elements=1)
    assert faults(now) == ["loads of 32 bits", "stores of 32 bits"]
    assert worse(now, STORED["gelu", "backward", target]) == ["loads of 32 bits, not 128", "stores of 32 bits, not 128"]


def test_spilling_is_noticed() -> None:
    """64 elements a thread do not fit in the registers that there may be."""
    now = made(kernel_of("gelu"), "sm_90", elements=64)
    assert (now["registers"], now["load"]) == (MAX_REGISTERS, 128)
    assert [re.sub(r"\d+", "N", fault) for fault in faults(now)] == ["N spills", "N bytes of local memory"]
    assert len(worse(now, STORED["gelu", "backward", "sm_90"])) == 2


def test_narrowest_access() -> None:
    assert narrowest({128: 2, 32: 5}, 256) == 128, "what is left are scalars"
    assert narrowest({128: 2, 32: 5}, 257) == 32
    assert narrowest({32: 8, 64: 4}, 512) == 32
    assert narrowest({32: 1}, 0) is None


def test_the_table_is_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = [dict.fromkeys(COLUMNS, k) for k in range(3)]
    monkeypatch.setattr(gpu_static, "make", lambda workers: rows)
    monkeypatch.setattr(gpu_static, "print_summary", lambda rows: None)
    gpu_static.main(tmp_path / "table.json", 1)
    assert stored(tmp_path / "table.json") == (versions(), rows)
    lines = (tmp_path / "table.json").read_text().splitlines()
    assert [json.loads(line.rstrip(",")) for line in lines if line.startswith("[")] == [list(r.values()) for r in rows], "a line a kernel"


def test_rows_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted run goes on: what was compiled is not compiled again."""
    monkeypatch.setattr(gpu_static, "default_cache", functools.cache(lambda: DiskCache(tmp_path)))
    [job] = [j for j in program_jobs("relu(x)", "gfx942") if j.kernel == "forward"]
    item = Item("relu", "catalogue", lambda _: [job])
    first = gpu_static._rows(item, "gfx942")

    def fail() -> Any:
        raise AssertionError("compiled again")

    again = Item("relu", "catalogue", lambda _: [dataclasses.replace(job, compile=fail)])
    assert gpu_static._rows(again, "gfx942") == first
    other: Job = dataclasses.replace(job, code="another", compile=fail)
    with pytest.raises(AssertionError, match="again"):
        gpu_static._rows(Item("relu", "catalogue", lambda _: [other]), "gfx942")


@pytest.mark.parametrize(
    ("registers", "warps", "resident"),
    [(16, 4, 64), (32, 4, 64), (33, 4, 48), (64, 4, 32), (72, 4, 28), (96, 4, 20), (128, 4, 16), (255, 4, 8), (40, 1, 32), (64, 16, 32)],
)
def test_occupancy_on_nvidia(registers: int, warps: int, resident: int) -> None:
    """As NVIDIA's occupancy calculator has it for compute capability 8.0 and 9.0."""
    for gpu in (A100, H100):
        assert gpu.occupancy(registers, warps) == resident / 64


def test_occupancy_is_limited_by_shared_memory_and_scalar_registers() -> None:
    assert H100.occupancy(32, 4, shared_bytes=56 << 10) == 4 * 4 / 64
    assert H100.occupancy(32, 4, shared_bytes=57 << 10) == 3 * 4 / 64, "CUDA takes 1 KB more for each"
    assert MI300X.occupancy(32, 4, shared_bytes=16 << 10) == 4 * 4 / 32
    assert MI300X.occupancy(32, 4, scalar_registers=104) == 7 / 8
    assert H100.occupancy(32, 32, shared_bytes=300 << 10) == 0


@pytest.mark.parametrize("name", ["gelu", "softsign", "elliott", "swish"])
def test_occupancy_on_amd_is_the_compilers(name: str) -> None:
    report = static_report(kernel_of(name), "gfx942")
    match = re.search(r"; Occupancy: (\d+)", report.asm["amdgcn"])
    assert match is not None
    assert report.occupancy == int(match[1]) / 8


def test_published_rates() -> None:
    """The vendors' own peak numbers: float32 and float64 operations per second, two for a multiply-add."""
    peaks = {"A100 SXM 80GB": (19.5, 9.7), "H100 SXM": (67, 34), "H200 SXM": (67, 34), "B200": (75, 37), "MI300X": (163.4 / 2, 81.7)}
    for gpu in GPUS:
        rate = 2e-12 * gpu.multiprocessors * gpu.clock_hz
        assert (rate * gpu.fp32_lanes, rate * gpu.fp64_lanes) == pytest.approx(peaks[gpu.name], rel=0.02)
    assert set(BY_TARGET) == set(TARGETS)


def test_clocks_are_those_of_the_busiest_unit() -> None:
    mix = dict.fromkeys(KINDS, 0) | {"fp32": 64, "integer": 64, "special": 32}
    assert H100.clocks(mix) == 2, "32/16, and the others meanwhile"
    assert MI300X.clocks(mix) == 4, "one after the other"


def test_kinds_of_instructions() -> None:
    nvidia = {
        "fp32": "FFMA FADD2 IMAD HFMA2", "integer": "LOP3 FSETP FMNMX SEL I2FP IADD3 VIADD", "special": "MUFU F2F I2F",
        "fp64": "DFMA DSETP", "memory": "LDG STG", "other": "BRA S2R ULDC UIADD3 LDS LDL BAR",
    }  # fmt: skip
    amd = {
        "fp32": "v_fma_f32 v_pk_mul_f32 v_fmac_f32_e32 v_div_scale_f32", "integer": "v_cndmask_b32_e64 v_cmp_gt_f32_e64 v_mov_b32_dpp",
        "special": "v_exp_f32_e32 v_rcp_f32_e32", "fp64": "v_fma_f64 v_rcp_f64_e32 v_cmp_lg_f64_e32 v_cvt_f64_f32_e32",
        "memory": "global_load_dwordx4 buffer_store_dwordx4", "other": "s_and_b64 ds_read_b64 scratch_load_dword s_waitcnt",
    }  # fmt: skip
    for target, examples in (("sm_90", nvidia), ("gfx942", amd)):
        for kind, names in examples.items():
            counts = kinds(names.split(), target)
            assert counts[kind] == sum(counts.values()) == len(names.split()), (kind, counts)


@pytest.mark.parametrize("target", TARGETS)
def test_report_adds_up(target: str) -> None:
    report = static_report(kernel_of("gelu"), target)
    assert report.instructions == sum(report.kinds.values())
    assert report.kinds["memory"] == sum(report.loads.values()) + sum(report.stores.values())
    assert min(report.kinds[k] for k in ("fp32", INTEGER, OTHER)) > 0


@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
def test_instructions_of_a_function(target: str) -> None:
    """Our exponential is a straight line; what sines make of large arguments is a branch that is seldom taken."""
    copy = gpu_functions.written("x", target)
    ours = gpu_functions.cost(gpu_functions.ours("exp", target), copy)
    assert ours.instructions == ours.code > 10
    sine = gpu_functions.cost(gpu_functions.written("tl.sin(x)", target), copy)
    assert 15 < sine.instructions < sine.code / 2
    assert (sine.local_bytes > 0) == (target == "sm_90")
    own = gpu_functions.cost(gpu_functions.ours("sin", target), copy)
    assert 15 < own.instructions < min(sine.instructions, own.code / 2)
    assert own.local_bytes == 0
