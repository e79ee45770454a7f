"""The GPU code of the whole catalogue, compiled offline for every target: what a GPU would run, proved without one.

What the stored table (`bench.gpu_static`) has of the same text, by the same compilers, is not compiled again.
"""

import functools

import pytest

from bench.gpu_static import Item, faults, program_jobs, row, stored, versions
from grammar import catalog
from kernels.triton_compiler import TARGETS


@functools.cache
def known():
    """The table's rows by name, kernel, target and digest of the code, if they are by the compilers that are here."""
    made_by, rows = stored()
    return {(r["name"], r["kernel"], r["target"], r["code"]): r for r in rows} if made_by == versions() else {}


@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("name", catalog.names())
def test_no_spills_no_local_memory_full_width(name, target):
    item = Item(name, "catalogue", functools.partial(program_jobs, catalog.entry(name).text))
    for job in item.jobs(target):
        found = known().get((name, job.kernel, target, job.code))
        if found is None:
            # The backward kernels hold all that the forward ones do and more; these are compiled for one target.
            if job.kernel.startswith("forward") and target != "sm_90":
                continue
            found = row(item, target, job)
        assert faults(found) == []
