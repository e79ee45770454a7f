"""The disk cache of compiled code: what comes back is what was put in, or nothing."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from gp.cli import diagnosis, main
from kernels.cache import DiskCache, default_cache
from kernels.cache_folder import CacheWarning, _without_home, cache_folder


def _only_entry(folder: Path) -> Path:
    (path,) = folder.glob("*.entry")
    return path


def test_roundtrip_and_counters(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "new" / "folder")
    assert cache.get("key") is None
    cache.put("key", b"payload")
    cache.put("empty", b"")
    assert cache.get("key") == b"payload"
    assert cache.get("empty") == b""
    assert DiskCache(tmp_path / "new" / "folder").get("key") == b"payload"
    assert (cache.hits, cache.misses) == (2, 1)


def test_replaced(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path)
    cache.put("key", b"old")
    cache.put("key", b"new")
    assert cache.get("key") == b"new"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", ["empty", "cut", "flip", "magic", "longer"])
def test_damaged_entry_is_a_miss(tmp_path: Path, damage: str) -> None:
    cache = DiskCache(tmp_path)
    cache.put("key", b"payload")
    path = _only_entry(tmp_path)
    data = bytearray(path.read_bytes())
    if damage == "empty":
        data = bytearray()
    elif damage == "cut":
        data = data[:-3]
    elif damage == "flip":
        data[-1] ^= 1
    elif damage == "magic":
        data[0] ^= 1
    else:
        data += b"x"
    path.write_bytes(data)
    assert cache.get("key") is None
    cache.put("key", b"payload")
    assert cache.get("key") == b"payload"


def test_entry_of_another_key_is_a_miss(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path)
    cache.put("key", b"payload")
    path = _only_entry(tmp_path)
    cache.put("other", b"another payload")
    other = next(p for p in tmp_path.glob("*.entry") if p != path)
    path.write_bytes(other.read_bytes())  # a whole entry in the wrong place
    assert cache.get("key") is None
    assert cache.get("other") == b"another payload"


def test_oldest_use_leaves_first(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(bytes(5000))
    cache = DiskCache(tmp_path, limit_bytes=4000, check_every=1)
    for k in range(3):
        cache.put(f"key {k}", bytes(1000))
        os.utime(cache._path(f"key {k}"), (1000 + k, 1000 + k))
    assert cache.get("key 0") is not None  # now used last
    cache.put("key 3", bytes(1000))
    assert [cache.get(f"key {k}") is not None for k in range(4)] == [True, False, True, True]
    assert (tmp_path / "mine.txt").exists()


def test_size_stays_bounded(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, limit_bytes=20_000, check_every=1)
    for k in range(100):
        cache.put(f"key {k}", bytes(1000))
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 20_000
    assert cache.get("key 99") is not None


def test_unusable_folder_warns_once(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache = DiskCache(blocked / "cache")
    assert cache.get("key") is None
    with pytest.warns(RuntimeWarning, match="not kept on disk"):
        cache.put("key", b"payload")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put("key", b"payload")
    assert cache.get("key") is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_read_only_folder_still_reads(tmp_path: Path) -> None:
    DiskCache(tmp_path).put("key", b"payload")
    tmp_path.chmod(0o500)
    try:
        cache = DiskCache(tmp_path)
        assert cache.get("key") == b"payload"
        with pytest.warns(RuntimeWarning, match="not kept on disk"):
            cache.put("other", b"payload")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "cache"
    DiskCache(folder).put("key", b"payload")
    folder.chmod(mode)
    cache = DiskCache(folder)
    assert cache.get("key") is None
    assert cache.problem().endswith(f"others can write to {folder}, and their code would be run; mend it with: chmod go-w {folder}")
    folder.chmod(0o755)
    assert DiskCache(folder).get("key") == b"payload"
    assert DiskCache(folder).problem() == ""


def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DiskCache(tmp_path).put("key", b"payload")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    cache = DiskCache(tmp_path)
    assert cache.get("key") is None
    with pytest.warns(CacheWarning, match="belongs to another user, whose code would be run; name a folder of your own in GP_CACHE_DIR"):
        cache.put("key", b"payload")


def test_a_problem_that_was_told_is_not_warned_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = DiskCache(tmp_path / "file")
    assert cache.problem() == (
        f"compiled kernels are not kept on disk: {tmp_path}/file is not a folder; remove it, or name a folder in GP_CACHE_DIR"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put("key", b"payload")


def test_damaged_entries_are_counted(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path)
    for k in range(3):
        cache.put(f"key {k}", bytes(100))
    assert cache.damaged() == []
    victim = sorted(tmp_path.glob("*.entry"))[1]
    victim.write_bytes(victim.read_bytes()[:-1])
    assert cache.damaged() == [victim]


def test_doctor_says_what_is_the_matter_with_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(diagnosis, "default_cache", lambda: DiskCache(tmp_path))
    monkeypatch.setattr(diagnosis, "numba_entries", lambda: DiskCache(tmp_path / "numba"))
    for cache in (DiskCache(tmp_path), DiskCache(tmp_path / "numba")):
        cache.put("key", b"payload")
        _only_entry(cache.folder).write_bytes(b"cut")
    found = diagnosis._cache()
    assert (found["writable"], found["problem"], found["damaged"]) == (True, None, 2)
    monkeypatch.setattr(diagnosis, "diagnose", lambda: {**BARE, "cache": diagnosis._cache()})
    assert main(["doctor"]) == 0
    assert "damaged files, which are made again: 2" in capsys.readouterr().out
    tmp_path.chmod(0o777)
    assert main(["doctor"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "NOT USED, so that every process compiles again: " in printed
    assert f"mend it with: chmod go-w {tmp_path}" in printed


BARE = {
    "versions": {}, "cpu": {"name": "", "llvm": "", "lanes": 8, "features": []}, "devices": [], "environment": {},
    "threads": {"torch": 1, "available": 1, "openmp": True}, "backends": {"llvm": {"usable": True, "detail": ""}},
}  # fmt: skip


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=300, check=False)


TRAIN = (
    "from gp.lab.measure import _train_one; _train_one(); from gp.lab import machine; print(sum(machine.train.stats.cache_hits.values()))"
)


def test_machine_code_of_numba_is_kept_and_what_is_damaged_is_made_again(tmp_path: Path) -> None:
    first = _python(TRAIN, GP_CACHE_DIR=str(tmp_path))
    assert (first.returncode, first.stdout) == (0, "0\n"), first.stderr
    assert (_python(TRAIN, GP_CACHE_DIR=str(tmp_path)).stdout) == "1\n"
    entries = sorted((tmp_path / "numba").glob("*.entry"))
    assert len(entries) >= 7
    rng = random.Random(0)
    for k, path in enumerate(entries):
        data = bytearray(path.read_bytes())
        for _ in range(20):
            data[rng.randrange(len(data))] ^= 1 + rng.randrange(255)
        path.write_bytes(data[: len(data) // 2] if k % 2 else data)
    assert len(DiskCache(tmp_path / "numba").damaged()) == len(entries)
    again = _python(TRAIN, GP_CACHE_DIR=str(tmp_path))
    assert (again.returncode, again.stdout) == (0, "0\n"), again.stderr
    assert DiskCache(tmp_path / "numba").damaged() == []


FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"  # no file can be written to
NEARLY_FULL = FULL.replace("(0, 0)", "(4096, 4096)")
LAB = """
import sys
from gp.cli import main
sys.exit(main(["lab", "x*tanh(x)", "--fidelity", "quick", "--workers", "2"]))
"""


@pytest.mark.parametrize("trouble", ["full disk", "nearly full disk", "file", "others", "others below"])
def test_without_a_cache_the_lab_works_and_says_so_once(tmp_path: Path, trouble: str) -> None:
    place = tmp_path / "cache"
    if trouble == "file":
        place.write_text("")
    else:
        place.mkdir()
        place.chmod(0o777 if trouble == "others" else 0o700)
        if trouble == "others below":
            (place / "numba").mkdir()
            (place / "numba").chmod(0o777)
    done = _python({"full disk": FULL, "nearly full disk": NEARLY_FULL}.get(trouble, "") + LAB, GP_CACHE_DIR=str(place))
    assert done.returncode == 0, done.stderr
    assert "no score" not in done.stdout
    told = [line for line in done.stderr.splitlines() if not line.startswith(("1/2", "2/2"))]
    assert len(told) == 1, told
    assert told[0].startswith("gp: compiled kernels are not kept on disk: ")


def test_a_home_is_found_in_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GP_CACHE_DIR", "~/x")
    assert cache_folder() == tmp_path / "x"


def test_without_a_home_the_cache_is_among_the_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "GP_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    _without_home.cache_clear()
    with pytest.warns(CacheWarning, match="there is no home folder: compiled code is kept in .*; GP_CACHE_DIR may name another one"):
        folder = cache_folder()
    assert folder == Path(tempfile.gettempdir()) / f"actgp-{os.getuid()}"


def _race(folder: str, seed: int) -> None:
    cache = DiskCache(Path(folder), limit_bytes=30_000, check_every=2)
    for k in range(300):
        key = f"key {(k * (seed + 1)) % 20}"
        payload = cache.get(key)
        assert payload is None or payload == key.encode() * 400
        cache.put(key, key.encode() * 400)


def test_racing_processes_never_read_halves(tmp_path: Path) -> None:
    """Two processes write, read and evict the same 20 entries."""
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=_race, args=(str(tmp_path), seed)) for seed in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0]
    assert not list(tmp_path.glob("*.draft"))


def test_folder_from_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GP_CACHE_DIR", str(tmp_path / "chosen"))
    default_cache.cache_clear()
    try:
        assert default_cache().folder == tmp_path / "chosen"
    finally:
        default_cache.cache_clear()
