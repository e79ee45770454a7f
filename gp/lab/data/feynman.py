"""Equations of the Feynman Lectures on Physics, with the ranges of their variables as published.

The list of 100 is that of AI Feynman (Udrescu and Tegmark, Science Advances 6, 2020, table of equations), in
feynman_equations.csv: name, formula, and low and high of each variable. With mid = (low + high)/2 the variants are, for every
variable (training range -> range out of distribution):

    up    [low, mid]  -> [mid, (mid + high)/2]
    down  [mid, high] -> [low, mid]

All equations are finite within their published ranges. Any of them can be had in either variant: feynman-up-III.15.12.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from gp.lab.data import formula
from gp.lab.data.dataset import Array, Instance, SetName
from gp.lab.data.sampling import BoxSampling, Range, describe

VARIANTS: Final = ("up", "down")
_FILE: Final = Path(__file__).with_name("feynman_equations.csv")
_SEARCH: Final = {
    "up": "I.6.2 I.10.7 I.12.11 I.24.6 I.44.4 III.15.12",
    "down": "I.8.14 I.12.2 I.16.6 I.29.16 I.41.16 II.35.18",
}
# No equation twice, none of the search, and none that is one of the others with the variables renamed.
_VALIDATION: Final = {
    "up": "I.9.18 I.12.4 I.13.4 I.15.3x I.18.4 I.26.2 I.29.4 I.30.5 I.34.14 I.39.22 I.40.1 I.50.26 II.3.24 II.6.15b II.11.17 II.11.28"
    " II.24.17 II.36.38 III.4.33 III.9.52",
    "down": "I.6.2b I.11.19 I.12.5 I.13.12 I.15.3t I.18.12 I.27.6 I.32.5 I.32.17 I.34.1 I.37.4 I.39.11 I.47.23 II.2.42 II.6.15a II.11.3"
    " II.21.32 II.35.21 III.10.19 III.14.14",
}
# None is one of the other sets but for names and a factor, in either variant. Twelve have both.
_SELECTION: Final = {
    "up": "I.6.2a I.14.3 I.14.4 I.18.14 I.30.3 I.43.43 I.48.2 II.6.11 II.8.7 II.11.20 II.11.27 II.13.17 II.15.4 II.34.29b II.37.1"
    " III.7.38 III.8.54 III.13.18 III.17.37 III.19.51",
    "down": "I.15.1 I.18.14 I.30.3 I.38.12 I.43.43 I.48.2 II.4.23 II.6.11 II.10.9 II.11.20 II.11.27 II.15.4 II.27.16 II.37.1 II.38.14"
    " III.4.32 III.8.54 III.13.18 III.15.14 III.17.37",
}
_SETS: Final = {"search": _SEARCH, "selection": _SELECTION, "validation": _VALIDATION}


@dataclass(frozen=True, slots=True)
class Equation:
    """An equation of the list; called with points (count, variables) it gives its values (count,)."""

    name: str
    formula: str
    variables: tuple[str, ...]
    ranges: tuple[Range, ...]

    def __call__(self, x: Array) -> Array:
        return formula.evaluate(self.formula, dict(zip(self.variables, x.T, strict=True)))


@functools.cache
def equations() -> Mapping[str, Equation]:
    """All equations by name."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    return MappingProxyType({name: _equation(name, text, variables.split()) for name, text, variables in rows})


def _equation(name: str, text: str, variables: list[str]) -> Equation:
    parts = [variable.split(":") for variable in variables]
    return Equation(name, text, tuple(v for v, _, _ in parts), tuple(Range(float(low), float(high)) for _, low, high in parts))


def instances(set_name: SetName) -> tuple[Instance, ...]:
    """The equations of a set."""
    return tuple(instance(variant, name) for variant, names in _SETS[set_name].items() for name in names.split())


def instance(variant: str, name: str) -> Instance:
    """An equation of the list in a variant."""
    equation = equations()[name]
    low = tuple(Range(r.low, (r.low + r.high) / 2) for r in equation.ranges)
    high = tuple(Range((r.low + r.high) / 2, r.high) for r in equation.ranges)
    near = tuple(Range(r.low, (r.low + r.high) / 2) for r in high)  # the nearer half of the upper range
    train, outside = (low, near) if variant == "up" else (high, low)
    return Instance(
        family="feynman",
        variant=variant,
        name=f"feynman-{variant}-{name}",
        input_names=equation.variables,
        formula=equation.formula,
        ranges=describe(equation.variables, train, outside),
        points=BoxSampling(train, outside, equation),
    )
