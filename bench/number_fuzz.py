"""`python -m bench.number_fuzz`: random programs at the edges of the range of numbers, ours beside the plain program.

The plain program is its tree as written, in torch, with autograd. The rule: where it has a finite value or gradient in float32, ours is
finite and at most so much more wrong; where it has NaN or an infinity, ours may be anything but a finite wrong number. What is right is
what the plain program gives in float64, where that is finite and our kernels in float64 agree; elsewhere nothing is said.

A fault is printed with the shortest program found that has it, ready to be pasted.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

import torch
import typer
from rich.console import Console

from bench.programs import random_program
from codegen.build import build
from codegen.torch import print_torch
from grammar import DSLError, parse
from kernels.module import activation

# Ordinary points, kinks, and powers of ten up to the edges.
POINTS: Final = tuple(
    sign * x
    for x in (0.0, 1e-40, 1e-30, 1e-20, 1e-10, 1e-4, 0.1, 0.5, 0.9, 1.0, 1.7, 3.0, 7.0, 15.0, 22.0, 45.0, 60.0, 85.0, 95.0, 104.0, 1e3,
              1e5, 1e10, 2e19, 1e30, 3e38, math.inf)
    for sign in (1.0, -1.0)
)  # fmt: skip
FACTOR: Final = 16.0  # how many times as wrong as the plain program nearby
STEPS: Final = 64  # rounding steps of float32 that are granted in any case
_EPS: Final = 2.0**-23
_LEAST: Final = 1e-12  # absolute: what is left of a chain of terms that cancel in float64
_NEAR: Final = 1e-5  # relative; how well numbers in float64 have to agree, with each other and nearby, to be believed

Evaluate = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Fault:
    """Where ours breaks the rule: what it gives, what the plain program gives in float32, and what is right."""

    text: str
    x: float
    what: str
    ours: float
    plain: float
    right: float

    def __str__(self) -> str:
        numbers = f"ours {self.ours:.6g}, plain {self.plain:.6g}, right {self.right:.6g}"
        return f"{self.what} of {self.text!r} at {self.x!r}: {numbers}"


def plain(text: str) -> Evaluate:
    """The program as written, by torch and its autograd."""
    namespace: dict[str, Any] = {}
    exec(print_torch(build(parse(text)).result, []), namespace)
    return _with_gradient(cast("Callable[[torch.Tensor], torch.Tensor]", namespace["activation"]))


def ours(text: str, backend: str) -> Evaluate:
    """The program by its kernels."""
    return _with_gradient(activation(text, backend=backend))


def _with_gradient(function: Callable[[torch.Tensor], torch.Tensor]) -> Evaluate:
    def evaluate(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = x.clone().requires_grad_()
        y = torch.as_tensor(function(leaf), dtype=x.dtype).expand_as(x)
        if not y.requires_grad:
            return y, torch.zeros_like(x)
        (slope,) = torch.autograd.grad(y.sum(), leaf, allow_unused=True)
        return y.detach(), torch.zeros_like(x) if slope is None else slope

    return evaluate


def faults(text: str, backend: str = "llvm") -> Iterator[Fault]:
    """Where the kernels of a program break the rule."""
    x = torch.tensor(POINTS, dtype=torch.float32)
    near = torch.stack([x, *(torch.nextafter(x, torch.full_like(x, end)) for end in (math.inf, -math.inf))])
    written, kernels = plain(text), ours(text, backend)
    found, narrow, wide, second = kernels(x), written(near), written(near.double()), kernels(x.double())
    defined = narrow[0].isfinite().all(0)  # there is no gradient where there is no value
    for k, what in enumerate(("value", "gradient")):
        here, exact, again = narrow[k].double(), wide[k], second[k]
        wrong = (here - exact).abs()
        for n, value in enumerate(found[k].double().tolist()):
            right, as_written, other = float(exact[0, n]), float(here[0, n]), float(again[n])
            if not defined[n] or not math.isfinite(right):
                continue
            least = _NEAR * abs(right) + _LEAST
            steady = float((exact[:, n] - right).abs().max()) <= least and abs(other - right) <= least
            size = abs(right) + (abs(float(narrow[0][0, n])) / max(abs(POINTS[n]), 1e-38) if k else 0.0)  # terms of a slope may cancel
            granted = FACTOR * float(wrong[:, n].nan_to_num(0.0, 0.0).max()) + STEPS * _EPS * size + _LEAST
            lost = bool(here[:, n].isfinite().all()) and not math.isfinite(value)
            if steady and (lost or (math.isfinite(value) and abs(value - right) > granted)):
                yield Fault(text, POINTS[n], what, value, as_written, right)


def shrunk(fault: Fault, backend: str, tries: list[str]) -> Fault:
    """The fault of the shortest of some programs that have one."""
    for text in sorted(tries, key=len):
        if len(text) >= len(fault.text):
            break
        found = next(iter(faults(text, backend)), None)
        if found is not None:
            return found
    return fault


def parts(text: str) -> list[str]:
    """The parts of a program in brackets, and calls: each is a program, if it has x in it."""
    found, opened = [], []
    for k, c in enumerate(text):
        if c == "(":
            start = k
            while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
                start -= 1
            opened.append(start)
        elif c == ")" and opened:
            found.append(text[opened.pop() : k + 1])
    return [part for part in found if "x" in part]


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    programs: Annotated[int, typer.Option(min=1, help="How many.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of the programs.")] = 0,
    smallest: Annotated[int, typer.Option(min=1, help="Operators of a program, at least.")] = 3,
    largest: Annotated[int, typer.Option(min=1, help="Operators of a program, at most.")] = 40,
    backend: Annotated[str, typer.Option(help="llvm, or interpret.")] = "llvm",
    most: Annotated[int, typer.Option(min=1, help="Programs with faults to show.")] = 20,
) -> None:
    """Compare, and print what breaks the rule; status 1 if anything does."""
    warnings.simplefilter("ignore")
    console, rng, bad = Console(width=200), random.Random(seed), 0
    for _ in range(programs):
        text = random_program(rng.randint(smallest, largest), rng, rng)
        try:
            fault = next(iter(faults(text, backend)), None)
        except DSLError:
            continue  # too large for the language
        if fault is not None:
            bad += 1
            if bad <= most:
                console.print(str(shrunk(fault, backend, parts(text))), highlight=False, markup=False)
    console.print(f"{programs:,} programs, {bad:,} with faults", highlight=False)
    raise typer.Exit(1 if bad else 0)


if __name__ == "__main__":
    app(prog_name="python -m bench.number_fuzz")
