"""All data sets by name: those that a search may see, those that select among what it found, those that validate what was selected,
and the families they come from."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, get_args

from gp.lab.data import chaos, chaos_selection, chaos_validation, feynman, harmonic, polynomial
from gp.lab.data.dataset import DataError, Instance, SetName
from grammar import nearest

SETS: Final[tuple[SetName, ...]] = get_args(SetName)


@functools.cache
def instances(set_name: SetName) -> tuple[Instance, ...]:
    """The instances of the set "search", "selection" or "validation", always in the same order. No instance is in two of them."""
    if set_name not in SETS:
        raise DataError(f"there is no set of data sets called '{set_name}'; the sets are {', '.join(SETS)}")
    forecasts = {"search": chaos.search, "selection": chaos_selection.selection, "validation": chaos_validation.validation}
    return (*polynomial.instances(set_name), *harmonic.instances(set_name), *feynman.instances(set_name), *forecasts[set_name]())


def instance(name: str) -> Instance:
    """The instance of that name: of any set, or any equation of the Feynman list in either variant.

    Raises DataError, with the nearest name, if there is none.
    """
    known = _by_name()
    if name not in known:
        near = nearest(name, known)
        raise DataError(f"there is no data set called '{name}'" + (f"; did you mean '{near}'?" if near else " (see gp data list)"))
    return known[name]


def names() -> tuple[str, ...]:
    """Every name that `instance` knows."""
    return tuple(_by_name())


def families() -> tuple[str, ...]:
    """The families of the search set, in its order; a score is the mean over them."""
    return tuple(dict.fromkeys(i.family for i in instances("search")))


@functools.cache
def _by_name() -> Mapping[str, Instance]:
    every_equation = [feynman.instance(variant, name) for variant in feynman.VARIANTS for name in feynman.equations()]
    members = [i for set_name in SETS for i in instances(set_name)]
    return MappingProxyType({i.name: i for i in (*every_equation, *members)})
