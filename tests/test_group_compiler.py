"""The machine code of group kernels, made without a GPU, and compiling ahead in other processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from lab_programs import PROGRAMS
from triton import knobs

from codegen.group import GroupStage, group
from codegen.group_body import PACK, body_name
from codegen.group_triton import print_group
from codegen.instructions import Span
from kernels.ahead import Compilers, Job, group_job, specialised
from kernels.group_compiler import compile_stage, group_tile
from kernels.group_flow import CompiledGroup
from kernels.grouping import form_groups
from kernels.programs import SLOPE, make_plan, program
from kernels.report import read
from kernels.triton_compiler import TARGETS, Tile

POPULATION = ["gelu(x) + 0.1*sin(3*x)", "x*sigmoid(1.96*x)", "relu(x)", "mish(x) - 0.3*abs(x)", "where(x < -0.7, sin(x), tanh(x))*erf(x)"]


def stages(texts: Sequence[str], order: int) -> tuple[GroupStage, ...]:
    functions = [program(text) for text in texts]
    plans = [make_plan(f, order, "f32", outlined=True) for f in functions]
    return group("test", plans, [f.parameters for f in functions]).stages


def job(stage: GroupStage, target: str, size: int = 32) -> Job:
    gpu = TARGETS[target]
    return group_job(stage, group_tile(stage, gpu.warp_size, size), gpu, size, size)


@pytest.fixture
def triton_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of Triton's own, for this process and those that it starts."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(knobs.cache, "dir", str(tmp_path))
    return tmp_path


def compiled_files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if path.suffix in (".cubin", ".hsaco")}


def test_compiling_ahead_fills_the_cache_that_launches_read(triton_cache: Path) -> None:
    """From two processes; again, from other processes, nothing is compiled; for another size or source it is."""
    flat, structured = stages(POPULATION, SLOPE)[-1], stages([PROGRAMS["everything"]], 1)[-1]
    jobs = [job(flat, "sm_90"), job(structured, "sm_90"), job(flat, "gfx942")]
    with Compilers(2) as compilers:
        compilers.compile(jobs)
    first = compiled_files(triton_cache)
    assert len(first) == 3
    with Compilers(1) as compilers:
        compilers.compile(jobs)
        assert compiled_files(triton_cache) == first
        compilers.compile([job(flat, "sm_90", 33)])
    assert len(compiled_files(triton_cache)) == 4


def test_a_kernel_is_found_by_its_body_and_by_the_code_that_puts_it_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of its kernel says neither: what another release of this project compiled must not be taken for its own."""

    def key(text: str) -> str:
        group = CompiledGroup(stages([text], 0)[-1])
        with group.running():
            assert knobs.runtime.add_stages_inspection_hook is not None
        return str(group.function.cache_key)

    first = key("x*tanh(1.3*x)")
    assert key("x*tanh(0.7*x)") == first != key("x*tanh(x)")
    monkeypatch.setattr("kernels.group_flow.fingerprint", lambda *_: "another")
    assert key("x*tanh(1.3*x)") != first
    assert knobs.runtime.add_stages_inspection_hook is None


def test_a_compilers_error_is_raised() -> None:
    broken = replace(job(stages(POPULATION[:1], 0)[-1], "sm_90"), num_warps=3)
    with Compilers(1) as compilers, pytest.raises(Exception, match="power of 2"):
        compilers.compile([broken])


def test_the_key_of_a_job_does_not_depend_on_the_size_but_on_its_divisibility() -> None:
    assert [specialised(n) for n in (1, 2, 16, 2048, 2049)] == [1, 17, 16, 16, 17]


def test_equal_structures_give_equal_source_and_unequal_ones_do_not() -> None:
    def source(text: str) -> str:
        stage = stages([text], 0)[-1]
        return print_group(stage, body_name(stage))

    assert source("x*tanh(1.3*x)") == source("x*tanh(0.7*x)") != source("x*tanh(x)")


@pytest.mark.parametrize("target", TARGETS)
def test_groups_are_lean(target: str) -> None:
    """No spills, no local memory, 128-bit accesses; what a group of sixteen costs in registers is in `bench/gpu_static.json`."""
    texts = [*POPULATION, *PROGRAMS.values()]
    for found in form_groups([program(text) for text in texts]):
        members = [texts[k] for k in found]
        pointwise = all(program(text).of_x_alone for text in members)
        for order in (SLOPE,) if pointwise else (0, 1):
            for stage in stages(members, order):
                tile = group_tile(stage, TARGETS[target].warp_size, 32)
                report = read(compile_stage(stage, target, tile), target, PACK)
                assert (report.spills, report.local_bytes) == (0, 0), (members, stage.name)
                reads = any(item.span is Span.ELEMENT and not item.shift for m in stage.members for item in m.kernel.inputs)
                assert not reads or max(report.load_bits) == 128
                assert not report.store_bits or stage.first_mean is not None or max(report.store_bits) == 128


def test_a_narrow_tile_shows() -> None:
    """Negative control: with one element a thread there is nothing that could be read in 128 bits."""
    stage = stages(POPULATION[:1], 0)[-1]
    assert max(read(compile_stage(stage, "sm_90", Tile(1, 512, 4)), "sm_90", PACK).load_bits) == 128
    with pytest.raises((RuntimeError, ValueError, AssertionError)):
        assert max(read(compile_stage(stage, "sm_90", Tile(1, 128, 4)), "sm_90", PACK).load_bits) == 128
