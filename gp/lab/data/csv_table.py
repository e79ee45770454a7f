"""A data set as text in rows and columns, read without guessing: the first thing that is wrong is a DataError that says where."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gp.lab.data.dataset import Array, DataError, Raw, Split

TARGET: Final = "y"
SPLIT: Final = "split"
_MOST_COLUMNS: Final = 1002  # a thousand inputs, target and split: networks have a weight for each input and hidden value
# The least rows of each split: one batch of the lab's training, and enough points to measure an error with.
LEAST_ROWS: Final = {"train": 64, "id": 16, "ood": 16}


@dataclass(frozen=True, slots=True)
class Table:
    """The names of the input columns, and the rows by split."""

    input_names: tuple[str, ...]
    raw: Raw


def read_table(text: str) -> Table:
    """The data set in the text of a CSV file; see `gp.lab.data.custom`. Raises DataError."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next((_stripped(cells) for cells in reader if cells), None)
        if header is None:
            raise DataError(f"the file is empty; its first row names the columns: inputs, {TARGET} and {SPLIT}")
        inputs = _input_names(header)
        rows = [(reader.line_num, _stripped(cells)) for cells in reader if cells]
    except csv.Error as error:
        raise DataError(f"line {reader.line_num} is not CSV: {error}") from error
    values: dict[str, list[list[float]]] = {name: [] for name in LEAST_ROWS}
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(f"line {line} has {len(cells)} cells, but the first row names {len(header)} columns")
        row = dict(zip(header, cells, strict=True))
        if row[SPLIT] not in values:
            raise DataError(f"line {line}, column '{SPLIT}': '{row[SPLIT]}' is not a split; use {', '.join(values)}")
        values[row[SPLIT]].append([_number(line, name, row[name]) for name in (*inputs, TARGET)])
    for name, least in LEAST_ROWS.items():
        if len(values[name]) < least:
            raise DataError(f"{len(values[name])} rows have the split '{name}', but at least {least} must")
    train, inside, outside = (np.array(found) for found in values.values())
    _refuse_constants((*inputs, TARGET), train)
    return Table(inputs, Raw(_split(train), _split(inside), _split(outside)))


def _stripped(cells: Sequence[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def _input_names(header: Sequence[str]) -> tuple[str, ...]:
    """The columns that are neither target nor split."""
    if len(header) > _MOST_COLUMNS:
        raise DataError(f"the first row names {len(header):,} columns; at most {_MOST_COLUMNS:,} can be used, so leave some out")
    for name, meaning in ((TARGET, "the target"), (SPLIT, "train, id or ood")):
        if name not in header:
            raise DataError(f"there is no column '{name}' ({meaning}); the columns, separated by commas, are: {', '.join(header)}")
    for k, name in enumerate(header):
        if not name:
            raise DataError(f"column {k + 1} has no name in the first row")
        if name in header[:k]:
            raise DataError(f"two columns are called '{name}'; rename or remove one")
    inputs = tuple(name for name in header if name not in (TARGET, SPLIT))
    if not inputs:
        raise DataError(f"there is no input: besides {TARGET} and {SPLIT} there must be at least one column")
    return inputs


def _number(line: int, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError as error:
        what = f"'{cell}' is not a number" if cell else "the cell is empty"
        raise DataError(f"line {line}, column '{column}': {what}; remove the row or fill in a number") from error
    if not math.isfinite(value):
        raise DataError(f"line {line}, column '{column}': {cell} is not a finite number; remove the row or fill in a number")
    return value


def _refuse_constants(columns: Sequence[str], train: Array) -> None:
    for name, values in zip(columns, train.T, strict=True):
        if (values == values[0]).all():
            what = "there is nothing to learn" if name == TARGET else "leave the column out"
            raise DataError(f"column '{name}' is {values[0]:g} in every training row; {what}")


def _split(rows: Array) -> Split:
    return Split(rows[:, :-1], rows[:, -1])
