"""Records and caches with random damage: what is read from them is what it was, or there is one message, and never another number."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.faults.kernel_numbers import Numbers
from bench.faults.kinds import TRACEBACK
from bench.faults.scene import Base, Scene
from gp.cli import main
from gp.evolution.engine import Engine
from gp.run_file import FILE, RunDirectoryError, read
from gp.run_store import RunStore

_PAGE: Final = 4096  # bytes, of SQLite
_HEADER: Final = 12  # bytes of a page that say what is in it
_EVERY: Final = 50  # one cache in so many is tried by a whole `gp lab`
_LAB: Final = ("lab", "tanh", "--fidelity", "quick", "--workers", "1", "--json")

Damage = Callable[[bytearray, random.Random], None]


@dataclass(frozen=True, slots=True)
class Tries:
    """How many things were damaged, of how many it was said or did not matter, and what is wrong with the others."""

    what: str
    count: int
    fates: Counter[str]
    faults: tuple[str, ...]

    def __str__(self) -> str:
        fates = ", ".join(f"{count} {fate}" for fate, count in sorted(self.fates.items()))
        return "\n".join((f"{self.count} damaged {self.what}: {fates}, {len(self.faults)} not right", *(f"  {f}" for f in self.faults)))


def _flip(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 4, 30))):
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)


def _flip_in_a_header(content: bytearray, rng: random.Random) -> None:
    start = _PAGE * rng.randrange(1 + len(content) // _PAGE)
    content[min(start + rng.randrange(_HEADER), len(content) - 1)] ^= 1 << rng.randrange(8)


def _zeros(content: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(content))
    content[start : start + _PAGE] = bytes(len(content[start : start + _PAGE]))


def _swap_pages(content: bytearray, rng: random.Random) -> None:
    one, other = (slice(_PAGE * k, _PAGE * (k + 1)) for k in rng.choices(range(max(1, len(content) // _PAGE)), k=2))
    content[one], content[other] = content[other], content[one]


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


def _append(content: bytearray, rng: random.Random) -> None:
    content += rng.randbytes(rng.choice((1, 100, _PAGE)))


_DAMAGES: Final[tuple[Damage, ...]] = (_flip, _flip_in_a_header, _zeros, _swap_pages, _cut, _append)


def _damage(path: Path, rng: random.Random) -> str:
    """Damage a file, and say how."""
    content = bytearray(path.read_bytes())
    chosen = rng.choice(_DAMAGES)
    if content:
        chosen(content, rng)
    path.write_bytes(content)
    return f"{path.name} {chosen.__name__.strip('_')}"


def damaged_records(runs: Sequence[Path], folder: Path, count: int, *, seed: int) -> Tries:
    """Damage the record of one of these runs, so often, and read it by all commands that read one."""
    rng = random.Random(seed)
    fates: Counter[str] = Counter()
    faults = []
    models = [_plain_copy(run, folder / f"model-{k}") for k, run in enumerate(runs)]
    expected = {model: _seen(model) for model in models}
    for _ in range(count):
        model = rng.choice(models)
        copy = folder / "damaged" / model.name
        shutil.rmtree(copy.parent, ignore_errors=True)
        shutil.copytree(model, copy)
        how = f"{model.name}: {_damage(copy / FILE, rng)}"
        try:
            found = _seen(copy)
        except Exception as error:  # what is looked for here: a message that is none
            faults.append(f"{how}: {type(error).__name__}: {error}")
            continue
        different = [what for what, value in found.items() if value not in (expected[model][what], None)]
        faults += [f"{how}: {what} differs" for what in different]
        fates["refused" if None in found.values() else "without effect"] += not different
    return Tries("records", count, fates, tuple(faults))


def _plain_copy(run: Path, to: Path) -> Path:
    """A copy of a run whose record is one file."""
    shutil.copytree(run, to)
    with contextlib.closing(sqlite3.connect(to / FILE)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    return to


def _seen(run: Path) -> dict[str, Any]:
    """All that commands and a run that goes on see of a record, by what it is; None where they refuse it."""
    words = {"top": ("top", str(run), "--json"), "front": ("top", str(run), "--pareto", "--json"), "runs": ("runs", str(run))}
    seen = {name: _printed(command, run) for name, command in words.items()}
    try:
        with RunStore.resume(run) as store:
            engine = Engine(store.config)
            store.attach(engine)
            seen["state"] = repr(engine.state())
        for table in ("about", "candidates", "results", "networks"):
            seen[table] = sorted(map(repr, read(run / FILE, table)))
    except RunDirectoryError:
        seen["state"] = None
    return seen


def _printed(words: tuple[str, ...], run: Path) -> str | None:
    """What a command prints, None where it refuses; the name of the folder left out."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        status = main(words)
    if status == 0 and "unreadable" not in out.getvalue() and not errors.getvalue():
        return out.getvalue().replace(str(run), "")
    if status not in (0, 2) or len(errors.getvalue().splitlines()) > 1:
        raise AssertionError(f"{' '.join(words)} ends with status {status} and says {errors.getvalue()!r}")
    return None


def damaged_caches(base: Base, folder: Path, count: int, *, seed: int) -> Tries:
    """Damage so many caches; kernels compute the same numbers with each, bit for bit, and `gp lab` with one in 50."""
    rng = random.Random(seed)
    fates: Counter[str] = Counter()
    faults = []
    with Numbers() as numbers:
        whole = folder / "kernels"
        whole.mkdir(mode=0o700)
        expected = numbers.of(whole)
        lab = None
        for k in range(count):
            by_lab = k % _EVERY == _EVERY - 1
            copy = folder / "damaged" / f"cache-{k}"
            shutil.copytree(base.cache if by_lab else whole, copy)
            how = ", ".join(_damage_entries(copy, rng))
            if not by_lab:
                found: Any = numbers.of(copy)
                wrong = "" if found == expected else f"kernels compute other numbers: {found}"
            else:
                lab = lab or _lab(base, folder / "lab", base.cache)
                found = _lab(base, folder / f"lab-{k}", copy)
                wrong = "" if found == lab else f"gp lab says {found}"
            faults += [f"{how}: {wrong}"] if wrong else []
            fates["the same in gp lab" if by_lab else "the same kernels"] += not wrong
            shutil.rmtree(copy)
    return Tries("caches", count, fates, tuple(faults))


def _damage_entries(cache: Path, rng: random.Random) -> Iterator[str]:
    """Damage some entries of a cache, or put them in each other's place."""
    entries = sorted(cache.rglob("*.entry"))
    chosen = rng.sample(entries, rng.randint(1, min(len(entries), 12)))
    if rng.random() < 0.2:
        contents = [path.read_bytes() for path in chosen]
        for path, content in zip(chosen, contents[1:] + contents[:1], strict=True):
            path.write_bytes(content)
        yield f"{len(chosen)} swapped"
    else:
        for path in chosen:
            yield _damage(path, rng)


def _lab(base: Base, folder: Path, cache: Path) -> str:
    """What `gp lab` measures, or what is wrong with how it ends."""
    scene = Scene(base, folder, random.Random(0))
    scene.cache = cache
    said = scene.gp(*_LAB, str(folder / "result.json"))
    if said.status or TRACEBACK in said.errors:
        return f"status {said.status}: {said.errors}"
    rows = json.loads((folder / "result.json").read_text())["rows"]
    return repr([{key: value for key, value in row.items() if key != "seconds"} for row in rows])
