"""From a program's text to its graph and to the kernels that are to be compiled, remembered. Nothing here needs torch."""

from __future__ import annotations

import functools
from typing import Final

from codegen.acceptance import accepted
from codegen.function import Activation, derived, value_and_slope
from codegen.kernel import Storage
from codegen.plan import Plan, plan
from grammar import parse

# In place of an order, for functions of x alone, whose value and derivative share most of their work. `BOTH`: value and gradient, over
# the inputs of order 1; it takes little more than half as long to compile as the two. `SLOPE`: value and derivative.
BOTH: Final = -1
SLOPE: Final = -2


@functools.lru_cache(maxsize=1024)  # 8 kB each
def program(text: str) -> Activation:
    """The simplified graph of a program text, remembered. Raises DSLError."""
    return accepted(parse(text))


def make_plan(function: Activation, order: int, storage: Storage, outlined: bool = False) -> Plan:
    """The kernels of the derivative of that order (0: the function itself), before they are printed for a backend; see `plan`."""
    if order == SLOPE:
        return plan("slope", value_and_slope(function), storage, outlined)
    if order == BOTH:
        return plan("both", [*derived(function, 0), *derived(function, 1)], storage, outlined)
    return plan(("forward", "backward")[order] if order < 2 else f"backward{order}", derived(function, order), storage, outlined)
