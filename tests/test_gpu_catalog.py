"""The GPU code of the whole catalogue, compiled offline for every target: what a GPU would run, proved without one."""

import pytest

from codegen.instructions import Span
from grammar import catalog
from kernels.programs import make_plan, program
from kernels.report import static_report
from kernels.triton_compiler import TARGETS

# Bodies of thousands of instructions, where 4 elements a thread would spill: their accesses are as narrow as their tile.
ONE_ELEMENT_A_THREAD = {("phase_locked_entropic_repulsion", "gfx942")}


@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("name", catalog.names())
def test_no_spills_no_local_memory_full_width(name, target):
    # The backward kernels hold all that the forward ones do and more; these are checked on one target.
    for order in (0, 1) if target == "sm_90" else (1,):
        for stage in make_plan(program(catalog.entry(name).text), order, "f32").stages:
            report = static_report(stage.kernel, target)
            assert report.spills == 0
            if stage.kernel.flat:
                assert report.local_bytes == 0
                # Scalars, partial sums and a stage without tensors have no 128 bits to move.
                reads = any(i.span is Span.ELEMENT for i in stage.kernel.inputs)
                writes = any(o.span is Span.ELEMENT for o in stage.kernel.outputs)
                width = 32 if (name, target) in ONE_ELEMENT_A_THREAD else 128
                assert not reads or max(report.load_bits) == width
                assert not writes or max(report.store_bits) == width
