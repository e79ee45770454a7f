"""The disk cache of compiled code: what comes back is what was put in, or nothing."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from pathlib import Path

import pytest

from kernels.cache import DiskCache, default_cache


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
