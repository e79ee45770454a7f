"""From a program's text to its graph and to the kernels that are to be compiled, remembered. Nothing here needs torch."""

from __future__ import annotations

import functools

from codegen.function import Activation, activation, derived
from codegen.kernel import Storage
from codegen.plan import Plan, plan
from grammar import parse


@functools.lru_cache(maxsize=16_384)
def program(text: str) -> Activation:
    """The simplified graph of a program text, remembered. Raises DSLError."""
    return activation(parse(text))


def make_plan(function: Activation, order: int, storage: Storage) -> Plan:
    """The kernels of the derivative of that order (0: the function itself), before they are printed for a backend."""
    results = derived(function, order)
    return plan(("forward", "backward")[order] if order < 2 else f"backward{order}", results, storage)
