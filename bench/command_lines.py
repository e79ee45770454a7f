"""Random command lines of `gp`, most of them wrong in one way or another, drawn by the types that its options have."""

from __future__ import annotations

import contextlib
import inspect
import random
import sqlite3
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import typer

from gp.cli import app
from gp.evolution.config import Config
from gp.run_file import FILE
from gp.run_store import RunStore

_NUMBERS: Final = (
    "0", "1", "-1", "7", "1.5", "-0", "nan", "inf", "-inf", "1e9", "1e-400", "0x10", "99999999999999999999999", "9" * 5000, "2147483648",
    "\u0663", "1,2", "1_000", "+3", "", " ", "many",
)  # fmt: skip
_ODD: Final = (
    "", " ", "\n", "-", "--", "~", "\x1b[2J", "a\rb", "\u202e", "\udcff\udcfe", "x" * 5000, "$HOME", "%s %d {}", "[bold]x", "'",
    "\U0001f984", "../" * 100, "=", "-1", "/dev/null", "/dev/full", "/", ".",
)  # fmt: skip
_GOOD: Final = ("x", "gelu", "x*tanh(x)", "silu", "param a = 1; a*sin(x)", "polynomial-down-1-3")
_EXPRESSIONS: Final = (
    "x +", "import os", "no_such_name", "x + y", "(" * 2000, "x^" * 300 + "x", "1/0", "param a = nan; a*x",
    "repeat 99999999 { u = u }; x", "mean(x)", "-x", "0", "nan", "gelu.act", "\u03c7",
)  # fmt: skip
_SETTINGS: Final = (
    "population=8", "seed=-1", "seed", "=", "=3", "a=b", "population=many", "weights.sin=-1", "weights=3", "weights.nothing=1", "initial=x",
    "population=" + "9" * 400, "gate=nan", "learning_rate=inf", "target=", "memory=0", "islands=0", "generations=1.5", "strategy=best",
    "weights.sin=1\nseed=3", "seed = 3", "\udcff=1", "steps=true",
)  # fmt: skip
# Commands that would compute for long: what makes sure that they do not, after all that is checked before.
_CERTAIN: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "run": (("--print-config",), ("--out", "FULL"), ("--workers", "some"), ("--device", "cuda:99")),
    "resume": (("--workers", "some"), ("--no-such-option",), ("--device",)),
    "lab": (("x +",), ("--device", "cuda:99"), ("--fidelity", "best"), ("--seeds", "2:1")),
    "compare": (("x +",), ("--device", "cuda:99"), ("--fidelity", "best"), ("--seeds", "2:1")),
    "bench": (("x +",), ("--dtype", "int8"), ("--rounds", "1")),
    "doctor": (("--no-such-option",), ("superfluous",)),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option by its spellings, or an argument, which has none; what type its value has, and whether it is a flag without a value."""

    spellings: tuple[str, ...]
    type: Any
    flag: bool


@dataclass(frozen=True, slots=True)
class Command:
    """The words that name a command, and its parameters."""

    words: tuple[str, ...]
    parameters: tuple[Parameter, ...]


def commands() -> list[Command]:
    """All commands of `gp`, as its parser knows them."""
    return list(_commands(typer.main.get_command(app), ()))


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[Command]:
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, (*words, name))
    if not hasattr(command, "commands"):
        types = typing.get_type_hints(inspect.unwrap(command.callback))
        yield Command(words, tuple(_parameter(p, types[p.name]) for p in command.params))


def _parameter(found: Any, hint: Any) -> Parameter:
    spellings = () if found.param_type_name == "argument" else (*found.opts, *found.secondary_opts)
    return Parameter(spellings, _plain(hint), bool(getattr(found, "is_flag", False)))


def _plain(hint: Any) -> Any:
    """The type of one value: without None, of what a list has."""
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    return _plain(parts[0]) if parts else hint


def make_files(folder: Path) -> list[str]:
    """Files and folders for command lines to name, most of them not what a command wants."""
    (folder / "folder").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "something").write_text("")
    contents: dict[str, bytes] = {
        "ok.act": b"x*tanh(x)\n", "wrong.act": b"x +\n", "bytes.act": b"\xff\xfe\x00x", "empty.act": b"", "odd\x1b[2J.act": b"x +",
        "long.act": b"x + " * 100_000 + b"x", "list.txt": b"gelu\nx +\n", "run.sqlite": b"SQLite format 3\0" + bytes(5000),
        "ok.csv": b"a,y,split\n" + b"1,2,train\n2,3,id\n3,5,ood\n", "wrong.csv": b"a,b\n1,2\n", "bytes.csv": b"\x00\xff" * 50,
        "empty.csv": b"", "huge.csv": b"a,y,split\n1e308,1e308,train\n-1e308,1e308,id\n",
        "raises.py": b"raise ValueError('mine')\n", "wrong.py": b"def (", "exits.py": b"import sys; sys.exit(3)\n", "empty.py": b"",
        "ok.toml": b"population = 8\n", "wrong.toml": b"population = \n", "bytes.toml": b"\xff\xfe", "older.toml": b"elitism = 3\n",
        "deep.toml": b"a = " + b"[" * 5000,
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "link.act").symlink_to(folder / "nowhere")
    with RunStore.create(folder / "unfinished", Config(population=8)):
        pass
    with contextlib.closing(sqlite3.connect(folder / "unfinished" / FILE)) as connection:
        connection.execute("UPDATE about SET value = 'run/1' WHERE name = 'format'")
        connection.commit()
    with RunStore.create(folder / "begun", Config(population=8)):
        pass
    return [str(folder / name) for name in ("nowhere", "nowhere/x", *sorted(p.name for p in folder.iterdir()))]


def draw(rng: random.Random, known: Sequence[Command], files: Sequence[str]) -> list[str]:
    """A command line. One that would compute for long ends in a mistake, or in what asks for nothing to be computed."""
    command = rng.choice(known)
    options = [parameter for parameter in command.parameters if parameter.spellings]
    arguments = [parameter for parameter in command.parameters if not parameter.spellings]
    wrong = rng.choice((0.0, 0.1, 0.3, 1.0))  # share of what is odd: of several mistakes the first alone is told
    words: list[str] = []
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5))):
        if options:
            words += _given(rng.choice(options), rng, files, wrong)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3)) if arguments or rng.random() < 0.1 else 0):
        place = rng.randint(0, len(words))
        words[place:place] = [_value(arguments[0].type if arguments else str, rng, files, wrong)]
    if rng.random() < 0.3 * wrong:
        words.insert(rng.randint(0, len(words)), rng.choice(("--no-such-option", "--", "-z", "-", "--=", "--help-me", "--json=1", "--set")))
    if rng.random() < 0.05 and words:
        words.append(words[0])
    name = command.words[0]
    if name in _CERTAIN:
        certain = rng.choice(_CERTAIN[name])
        full = next(file for file in files if file.endswith("/full"))
        # After "--" an option would be a word like others, so that it cannot be relied on.
        words = [*(word for word in words if word != "--"), *(full if word == "FULL" else word for word in certain)]
    if rng.random() < 0.03:
        return [rng.choice((*_ODD, *words, "rnu", "--version", "--help")), *words]
    return [*command.words, *words]


def _given(option: Parameter, rng: random.Random, files: Sequence[str], wrong: float) -> list[str]:
    """An option with its value, or in a way that is wrong."""
    spelling = rng.choice(option.spellings)
    if option.flag:
        return [spelling if rng.random() > 0.3 * wrong else f"{spelling}=yes"]
    value = rng.choice(_SETTINGS) if spelling == "--set" and option.type is str else _value(option.type, rng, files, wrong)
    if rng.random() < 0.1 * wrong:
        return [spelling]
    return [f"{spelling}={value}"] if rng.random() < 0.3 else [spelling, value]


def _value(kind: Any, rng: random.Random, files: Sequence[str], wrong: float) -> str:
    """A value for a type, or with that share what is none."""
    if rng.random() < wrong:
        return rng.choice((*_ODD, *_NUMBERS, *_EXPRESSIONS, *files))
    if kind in (int, float):
        return rng.choice("1378")
    if kind is Path:
        return rng.choice(files)
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return str(rng.choice(list(kind)).value)
    return rng.choice((*files, *_GOOD, *_GOOD, *_EXPRESSIONS))
