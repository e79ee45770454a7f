"""How long compiling takes where nothing was compiled before: ours in a process of its own, torch.compile in this one.

What a process does once (imports, tables, the start of a compiler) is done beforehand on another function, for both.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Final

import torch

from gp.timing import Activate, first_gradient

_WARM_UP: Final = "asinh(x)*erf(x) - cos(x)/(x^2 + 7)"  # that nobody will want measured
_CACHES: Final = ("GP_CACHE_DIR", "TRITON_CACHE_DIR")
_TORCH_CACHE: Final = "TORCHINDUCTOR_CACHE_DIR"


class Untranslatable(Exception):
    """torch.compile did not manage; the text says why, in a line."""


def first_gradient_elsewhere(text: str, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> float:
    """Seconds from the text of a program to its first gradient, in a new process with empty caches. Raises RuntimeError."""
    task = json.dumps({"text": text, "shape": shape, "dtype": str(dtype).removeprefix("torch."), "device": str(device)})
    with _new_folder() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "gp.cli.bench_cold"],
            env=os.environ | dict.fromkeys(_CACHES, folder),
            input=task,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"the process that compiles {text!r} failed:\n{done.stderr}")
    return float(done.stdout)


@contextlib.contextmanager
def new_torch_cache() -> Iterator[None]:
    """Meanwhile torch.compile finds nothing that it compiled before, and what it compiles is not kept."""
    before = os.environ.get(_TORCH_CACHE)
    with _new_folder() as folder:
        os.environ[_TORCH_CACHE] = folder
        try:
            yield
        finally:
            os.environ.pop(_TORCH_CACHE)
            if before is not None:
                os.environ[_TORCH_CACHE] = before


def start_torch_compile(device: torch.device) -> float:
    """Seconds of the first use of torch.compile in a process. Raises Untranslatable where it cannot be used."""
    return first_call(lambda x: x * torch.tanh(x), torch.ones(4096, device=device, requires_grad=True), ())[1]


def first_call(function: Activate, x: torch.Tensor, parameters: Sequence[torch.Tensor]) -> tuple[Activate, float]:
    """The function by torch.compile, and the seconds of its first forward and backward pass. Raises Untranslatable."""
    torch.compiler.reset()  # lest the limit on recompilations is met
    start = time.perf_counter()
    compiled = torch.compile(function, fullgraph=True, dynamic=False)
    try:
        y = compiled(x)
        if y.requires_grad:
            torch.autograd.grad(y, [x, *parameters], torch.ones_like(y), allow_unused=True)
    except Exception as error:  # whatever goes wrong is the finding
        raise Untranslatable((str(error) or type(error).__name__).splitlines()[0]) from error
    return compiled, time.perf_counter() - start


@contextlib.contextmanager
def _new_folder() -> Iterator[str]:
    # Helper processes of torch.compile may still write while the folder is removed.
    with tempfile.TemporaryDirectory(prefix="gp-bench-", ignore_cleanup_errors=True) as folder:
        yield folder


def main() -> None:
    """Read a program and what x is to be as JSON, and print the seconds to the first gradient."""
    task = json.load(sys.stdin)
    x = torch.randn(task["shape"]).to(task["device"], getattr(torch, task["dtype"])).requires_grad_()
    first_gradient(_WARM_UP, x)
    print(first_gradient(task["text"], x)[0])


if __name__ == "__main__":
    main()
