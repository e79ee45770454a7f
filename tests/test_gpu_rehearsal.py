"""The tests that need a card (tests/gpu), rehearsed on the CPU; and what is said where there is no card."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


def run(tmp_path: Path, *options: str) -> str:
    """The output of pytest in tests/gpu, where no GPU is seen."""
    environment = os.environ | {"GP_CACHE_DIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-v", "-rA", "-p", "no:cacheprovider", *options]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def count(what: str, output: str) -> int:
    found = re.search(rf"(\d+) {what}", output)
    return int(found[1]) if found else 0


def test_the_rehearsal_passes(tmp_path: Path) -> None:
    output = run(tmp_path, "--rehearse")
    assert count("passed", output) > 100
    reasons = set(re.findall(r"^SKIPPED .*?: (\D*)$", output, re.MULTILINE))
    assert reasons == {"only a card can do this"}
    for file in (ROOT / "tests" / "gpu").glob("test_*.py"):
        assert f"tests/gpu/{file.name}" in output, "all of it is left out"


def test_what_is_left_when_the_time_is_over(tmp_path: Path) -> None:
    output = run(tmp_path, "--rehearse", "--gpu-seconds", "0")
    assert count("passed", output) == 0
    assert "out of time" in output


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_card_one_test_is_skipped(tmp_path: Path) -> None:
    output = run(tmp_path)
    assert count("skipped", output) == 1
    assert count("passed", output) == count("failed", output) == count("error", output) == 0
    assert count("deselected", output) > 1000
    (line,) = re.findall(r"^SKIPPED .*$", output, re.MULTILINE)
    for part in ("torch finds no GPU", "python -m pytest tests/gpu;", "python -m pytest tests/gpu --rehearse"):
        assert part in line
