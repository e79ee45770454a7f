"""`python -m bench.triton_versions`: what its worker says, and that a release of triton which is broken is reported, not raised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import triton_versions
from bench.triton_versions import ROOT, BrokenVersionError, Result, app, make_environment, matrix, pins
from bench.triton_worker import sources

# Programs that stand for an environment's Python: they are given `-c` and the code that starts the worker.
_REAL_WORKER = """
import os
from types import SimpleNamespace
from bench import triton_worker
from bench.triton_worker import Source

def report(bits):
    return lambda target: SimpleNamespace(registers=10 + bits, spills=1, load_bits=(32, bits), store_bits=(bits, 256))

def fails(target):
    raise ValueError("no such type\\n  but another\\nwrong here")

def good(target):
    pass

triton_worker.sources = lambda: SOURCES
exec(sys.argv[2])
"""
_NO_WORKER = "from kernels import nothing_of_that_name"


def fake_python(folder: Path, code: str) -> Path:
    """A program in place of an environment's Python."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\nimport sys\n{code}", encoding="utf-8")
    path.chmod(0o755)
    return path


def worker(folder: Path, listed: str) -> Path:
    """The real worker with those sources."""
    return fake_python(folder, _REAL_WORKER.replace("SOURCES", listed))


def run(python: Path, *versions: str) -> list[Result]:
    return matrix(versions or ["3.6"], targets=["sm_90"], make=lambda *_: python, say=lambda line: None)


def test_worker_compiles_without_torch(tmp_path: Path) -> None:
    """In the project's own environment, of which it sees no more than one of its environments has."""
    code = """
import sys
sys.modules |= dict.fromkeys(("torch", "typer", "rich", "numba", "llvmlite"))
from bench import triton_worker
first = next(triton_worker.sources())
triton_worker.sources = lambda: [first]
triton_worker.work("sm_90", 0)
"""
    variables = os.environ | {"PYTHONPATH": str(ROOT), "GP_CACHE_DIR": str(tmp_path), "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    about, row = map(json.loads, done.stdout.splitlines())
    assert about["sources"] == [row["name"]] == ["gelu(x) forward f32"]
    assert about["versions"]["triton"] == pins()["triton"]
    assert row["access"] == 128
    assert row["spills"] == 0
    assert 16 <= row["registers"] <= 64
    assert 0 < row["seconds"] < 60


def test_sources() -> None:
    found = {source.name: source.pointwise for source in sources()}
    assert len({name.rsplit(maxsplit=2)[0] for name in found if not name.startswith("group")}) == 10
    assert sum(name.startswith("group") for name in found) >= 6
    assert found["snake(x) backward f32"]
    assert found["gelusine(x) forward bf16"]
    assert not found["prelu(x) forward f32"]
    assert sum("_level" in name for name in found if not name.startswith("group")) == 6


def test_a_kernel_that_fails_or_crashes_the_compiler_is_one_line(tmp_path: Path) -> None:
    listed = """[
        Source("good", True, good, report(128)), Source("fails", True, fails, None), Source("crashes", True, lambda t: os.abort(), None),
        Source("narrow", True, good, report(64)), Source("with sums", False, good, report(16)),
    ]"""
    (result,) = run(worker(tmp_path, listed))
    assert result.failed == (
        "fails: ValueError: no such type ... wrong here",
        "crashes: ended by SIGABRT",
        "narrow: loads or stores 64 bits at once, not 128",
    )
    assert (result.compiled, result.spills, result.access, result.registers) == (3, 3, 64, 138)
    assert result.seconds is not None
    assert result.versions["triton"] == pins()["triton"]


def test_no_kernel_compiles(tmp_path: Path) -> None:
    (result,) = run(worker(tmp_path, '[Source("fails", True, fails, None)]'))
    assert (result.compiled, len(result.failed), result.registers, result.seconds) == (0, 1, None, None)


def test_a_broken_version_does_not_end_the_matrix(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    pythons = {
        "3.6": fake_python(tmp_path / "broken", _NO_WORKER),
        "3.9": worker(tmp_path / "whole", '[Source("good", True, good, report(128))]'),
    }

    def make(version: str, place: Path, scratch: Path) -> Path:
        if version not in pythons:
            raise BrokenVersionError("cannot install")
        return pythons[version]

    results = matrix(["3.6", "3.8", "3.9"], targets=["sm_90"], make=make, say=lambda line: None)
    assert [(r.asked, r.target, r.compiled) for r in results] == [("3.6", None, 0), ("3.8", None, 0), ("3.9", "sm_90", 1)]
    reasons = [line for r in results for line in r.failed]
    assert reasons[0].startswith("its worker does not start: ImportError: cannot import name 'nothing_of_that_name'")
    assert reasons[1:] == ["cannot install"]


def test_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    status = 0

    def record(command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, status, "", "WARNING: slow\nERROR: No matching distribution found\n")

    monkeypatch.setattr(triton_versions, "_run", record)
    assert make_environment("3.6", tmp_path, tmp_path) == tmp_path / "bin" / "python"
    assert "triton==3.6.*" in commands[1]
    assert not any("torch" in word for word in commands[1])
    make_environment("3.7.1", tmp_path, tmp_path)
    assert "triton==3.7.1" in commands[3]
    status = 1
    with pytest.raises(BrokenVersionError, match=r"^cannot install triton==3\.7\.1: ERROR: No matching distribution found$"):
        make_environment("3.7.1", tmp_path, tmp_path)


def test_an_interruption_leaves_nothing_behind() -> None:
    seen: list[Path] = []

    def make(version: str, place: Path, scratch: Path) -> Path:
        place.mkdir()
        seen.append(place)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matrix(["3.6"], make=make, say=lambda line: None)
    assert not seen[0].parent.exists()


@pytest.mark.parametrize("failed", [(), ("good: no",)])
def test_command(failed: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = Result("3.7", "sm_90", {"triton": "3.7.1"}, 5, failed, 0, 128, 40, 0.1234)
    monkeypatch.setattr(triton_versions, "matrix", lambda versions, keep, say: [result] if versions == ["3.7"] else [])
    shown = CliRunner().invoke(app, ["--version", "3.7", "--json", str(tmp_path / "out.json")])
    assert shown.exit_code == len(failed)
    assert ("triton 3.7, sm_90: good: no" in shown.stdout.splitlines()) == bool(failed)
    assert {"3.7.1", "sm_90", "128", "123"} <= set(shown.stdout.split())
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["results"][0]["failed"] == list(failed)
