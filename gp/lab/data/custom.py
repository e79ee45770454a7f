"""A user's own data sets, from a file.

A CSV file is one data set. Its first row names the columns: `y` is the target, `split` says where a row belongs (train, id or ood),
every other column is an input. All cells are finite numbers, no input or target is the same in all training rows, and there are at
least 64 rows to train, 16 id (in distribution) and 16 ood (out of it). A seed only puts the training rows in another order.

    height,angle,y,split
    1.5,0.2,3.1,train

A Python file is any number of data sets: a list `FAMILY`, or a function `instances()` that returns one, of `gp.lab.data.Instance`.

    import numpy as np
    from gp.lab.data import BoxSampling, Instance, Range

    def chirp(x):  # points (count, inputs) -> values (count,)
        return np.sin(x[:, 0] ** 2)

    sampling = BoxSampling(train=(Range(0, 2),), outside=(Range(2, 2.5),), function=chirp)
    FAMILY = [Instance("chirps", "up", "chirp-1", ("t",), "sin(t^2)", "[0, 2] -> [2, 2.5]", sampling)]

`points`, the last field, is any function from a numpy generator to `Raw`: three splits of x (count, inputs) and y (count,).
The file is run as the program it is, so load only files that you trust.
"""

from __future__ import annotations

import functools
import re
import runpy
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from gp.lab.data.csv_table import Table, read_table
from gp.lab.data.dataset import DataError, Instance, Raw, Split
from gp.lab.data.registry import names
from gp.user_files import read_text, unreadable

SUFFIXES: Final = (".csv", ".py")


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was at a time in nanoseconds: what is made of it is kept until it changes.

    The points of a data set refer to its file, so that another process can read it there.
    """

    path: Path
    modified: int


@dataclass(frozen=True, slots=True)
class TablePoints:
    """The rows of a CSV file, with the training rows shuffled."""

    file: _File

    def __call__(self, rng: np.random.Generator) -> Raw:
        raw = _table(self.file).raw
        order = rng.permutation(len(raw.train.y))
        return replace(raw, train=Split(raw.train.x[order], raw.train.y[order]))


@dataclass(frozen=True, slots=True)
class MemberPoints:
    """The points of one of the instances of a Python file."""

    file: _File
    name: str

    def __call__(self, rng: np.random.Generator) -> Raw:
        member = _members(self.file)[self.name]
        try:
            raw = member.points(rng)
            # Copies, since the arrays of a data set are made read-only and these may belong to the file.
            return Raw(*(Split(np.array(s.x, np.float64), np.array(s.y, np.float64)) for s in (raw.train, raw.inside, raw.outside)))
        except (Exception, SystemExit) as error:
            raise DataError(f"{self.file.path.name}: the points of {self.name}: {_explain(error, self.file)}") from error


def load(path: str | Path) -> tuple[Instance, ...]:
    """The data sets in a .csv or .py file. Raises DataError, in one message with the file and the place, for all that is wrong."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: a file with data sets ends in {' or '.join(SUFFIXES)}")
    try:
        file = _File(path.resolve(), path.stat().st_mtime_ns)
        if path.suffix.lower() == ".csv":
            return (_table_instance(file),)
        return tuple(replace(member, points=MemberPoints(file, name)) for name, member in _members(file).items())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(unreadable(path, error)) from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


@functools.cache
def _table(file: _File) -> Table:
    return read_table(read_text(file.path))


def _table_instance(file: _File) -> Instance:
    table = _table(file)
    sizes = [len(split.y) for split in (table.raw.train, table.raw.inside, table.raw.outside)]
    return Instance(
        family="custom",
        variant="csv",
        name="custom-" + re.sub(r"[^a-z0-9]+", "-", file.path.stem.lower()).strip("-"),
        input_names=table.input_names,
        formula=f"y of {file.path.name}",
        ranges="{} rows to train, {} in and {} out of distribution".format(*sizes),
        points=TablePoints(file),
    )


@functools.cache
def _members(file: _File) -> Mapping[str, Instance]:
    """The instances of a Python file, by name."""
    members: dict[str, Instance] = {}
    for k, member in enumerate(_family(file)):
        if not isinstance(member, Instance):
            raise DataError(f"data set {k + 1} is of type {type(member).__name__}; it must be a gp.lab.data.Instance")
        if member.name in members or member.name in names():
            raise DataError(f"there is another data set called '{member.name}'; choose a name of its own")
        members[member.name] = member
    if not members:
        raise DataError("the file has no data sets: FAMILY, or what instances() returns, is empty")
    return MappingProxyType(members)


def _family(file: _File) -> list[Any]:
    """What the file gives as its data sets, unchecked."""
    try:
        found = runpy.run_path(str(file.path))
        family = found["FAMILY"] if "FAMILY" in found else found["instances"]() if "instances" in found else None
    except (Exception, SystemExit) as error:  # a script that ends itself is not to end what reads it
        raise DataError(_explain(error, file)) from error
    if not isinstance(family, list | tuple):
        raise DataError("the file must define FAMILY, a list of gp.lab.data.Instance, or a function instances() that returns one")
    return list(family)


def _explain(error: Exception | SystemExit, file: _File) -> str:
    """An error of a user's file, with the last line of the file that led to it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file.path)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    return f"{'' if line is None else f'line {line}: '}{type(error).__name__}: {error}"
