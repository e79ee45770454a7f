"""A user's own data sets, from CSV and Python files: what is read, and what is said about everything that is wrong."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from gp.lab.data import DataError, load, make_dataset
from gp.lab.data.csv_table import read_table


def rows(count: int = 70, few: int = 16) -> list[str]:
    lines = ["a,y,b,split"]
    for split, number in (("train", count), ("id", few), ("ood", few)):
        lines += [f"{k},{k * k},{0.5 * k + 1},{split}" for k in range(number)]
    return lines


def changed(line: int, old: str, new: str) -> str:
    lines = rows()
    lines[line - 1] = lines[line - 1].replace(old, new)
    return "\n".join(lines)


BAD_TABLES = [
    ("", "the file is empty"),
    ("\n\n", "the file is empty"),
    ("a,b,split\n1,2,train", r"no column 'y' \(the target\); the columns, separated by commas, are: a, b, split"),
    ("a;y;split\n1;2;train", "are: a;y;split"),
    ("a,y\n1,2", r"no column 'split' \(train, id or ood\)"),
    ("y,split\n1,train", "there is no input"),
    ("a,a,y,split\n1,2,3,train", "two columns are called 'a'"),
    ("a,,y,split\n1,2,3,train", "column 2 has no name"),
    (changed(1, "b", "a"), "two columns are called 'a'"),
    (changed(5, "train", "test"), "line 5, column 'split': 'test' is not a split; use train, id, ood"),
    (changed(4, "2,4", "two,4"), "line 4, column 'a': 'two' is not a number"),
    (changed(4, "2,4", "2,"), "line 4, column 'y': the cell is empty"),
    (changed(4, "2,4", "2,nan"), "line 4, column 'y': nan is not a finite number"),
    (changed(4, "2,4", "inf,4"), "line 4, column 'a': inf is not a finite number"),
    (changed(4, "2,4", "2"), "line 4 has 3 cells, but the first row names 4 columns"),
    (changed(4, "2,4", '"2,4'), "is not CSV"),
    ("\n".join(rows(count=63)), "63 rows have the split 'train', but at least 64 must"),
    ("\n".join(rows(few=15)), "15 rows have the split 'id', but at least 16 must"),
    ("\n".join(line for line in rows() if not line.endswith("ood")), "0 rows have the split 'ood'"),
    (re.sub(r"(?m)^\d+,", "3,", "\n".join(rows())), "column 'a' is 3 in every training row; leave the column out"),
    (re.sub(r"(?m)^(\d+),\d+,", r"\1,7,", "\n".join(rows())), "column 'y' is 7 in every training row; there is nothing to learn"),
]


@pytest.mark.parametrize(("text", "message"), BAD_TABLES, ids=lambda v: "" if "\n" in v or "," in v else v)
def test_bad_tables(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(text)


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "My Data.csv"
    path.write_text("\ufeff" + "\r\n".join(rows()) + "\r\n\r\n", encoding="utf-8")
    (member,) = load(path)
    assert (member.name, member.inputs, member.input_names) == ("custom-my-data", 2, ("a", "b"))
    data, other = make_dataset(member, 0).raw, make_dataset(member, 1).raw
    assert [len(s.y) for s in (data.train, data.inside, data.outside)] == [70, 16, 16]
    np.testing.assert_allclose(data.train.y, data.train.x[:, 0] ** 2)
    np.testing.assert_allclose(data.train.x[:, 1], 0.5 * data.train.x[:, 0] + 1)
    # A seed shuffles the training rows, and nothing else.
    assert not np.array_equal(data.train.y, other.train.y)
    np.testing.assert_array_equal(np.sort(data.train.y), np.sort(other.train.y))
    np.testing.assert_array_equal(data.outside.x, other.outside.x)
    assert make_dataset(pickle.loads(pickle.dumps(member)), 0).raw is data
    # A changed file is read again.
    path.write_text("\n".join(rows(80)))
    os.utime(path, ns=(1, 1))
    assert len(make_dataset(load(path)[0], 0).train.y) == 80


FAMILY = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from gp.lab.data import BoxSampling, Instance, Range, Raw, Split

@dataclass
class Wave:
    frequency: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.sin(self.frequency * x[:, 0])

def wave(frequency):
    sampling = BoxSampling((Range(0, 2),), (Range(2, 3),), Wave(frequency))
    return Instance("waves", "up", f"wave-{frequency}", ("t",), f"sin({frequency} t)", "[0, 2] -> [2, 3]", sampling)
"""
PLAIN = """
def plain(rng):
    x = rng.uniform(size=(100, 1))
    return Raw(*[Split(x.tolist(), (x[:, 0] ** 2).tolist())] * 3)

FAMILY = [Instance("f", "v", "lists", ("t",), "", "", plain)]
"""


@pytest.mark.parametrize("text", [FAMILY + "FAMILY = [wave(1), wave(2)]\n", FAMILY + "def instances():\n    return [wave(1), wave(2)]\n"])
def test_a_python_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "family.py"
    path.write_text(text)
    first, second = load(path)
    assert (first.family, first.name, second.name) == ("waves", "wave-1", "wave-2")
    raw = make_dataset(second, 0).raw
    np.testing.assert_allclose(raw.outside.y, np.sin(2 * raw.outside.x[:, 0]))
    assert make_dataset(pickle.loads(pickle.dumps(second)), 0).raw is raw
    assert not (tmp_path / "__pycache__").exists()


def test_a_python_file_with_lists_and_other_sizes(tmp_path: Path) -> None:
    path = tmp_path / "family.py"
    path.write_text(FAMILY + PLAIN)
    assert make_dataset(load(path)[0], 0).train.y.shape == (100,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "must define FAMILY, a list"),
        ("FAMILY = 3", "must define FAMILY, a list"),
        ("FAMILY = []", "the file has no data sets"),
        ("FAMILY = ['a']", "data set 1 is of type str; it must be a gp.lab.data.Instance"),
        ("def f(:", "line 1: SyntaxError"),
        ("a = 1\nb = a + c", "line 2: NameError: name 'c' is not defined"),
        ("def instances():\n    return 1/0", "line 2: ZeroDivisionError"),
        ("open('nowhere')", "line 1: FileNotFoundError"),
        ("import sys\nsys.exit(3)", "line 2: SystemExit: 3"),
        (FAMILY + "FAMILY = [wave(1), wave(1)]", "there is another data set called 'wave-1'"),
        (FAMILY + "FAMILY = [Instance('c', 'v', 'chaos-henon', ('t',), '', '', wave)]", "another data set called 'chaos-henon'"),
    ],
)
def test_bad_python_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(DataError, match=f"bad.py: .*{re.escape(message)}"):
        load(path)


def test_errors_of_a_users_function_say_where(tmp_path: Path) -> None:
    path = tmp_path / "late.py"
    path.write_text(FAMILY + "def points(rng):\n    return 1 / 0\nFAMILY = [Instance('f', 'v', 'late', ('t',), '', '', points)]\n")
    with pytest.raises(DataError, match=r"late.py: the points of late: line \d+: ZeroDivisionError: division by zero"):
        make_dataset(load(path)[0], 0)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "binary.csv").write_bytes(b"a,\xff")
    for name, message in (
        ("none.csv", "No such file"),
        ("folder.csv", "Is a directory"),
        ("binary.csv", "is not text in UTF-8: byte 2 is 0xff"),
        ("data.txt", "ends in .csv or .py"),
    ):
        with pytest.raises(DataError, match=f"{name}.*{message}|{message}"):
            load(tmp_path / name)
