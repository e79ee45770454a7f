"""Texts that a reader of the language has to survive: token soup, odd characters, mutated programs, deep nests, long lists."""

from __future__ import annotations

import functools
import random
import runpy
from pathlib import Path
from typing import Final

from codegen.operators import FUNCTIONS
from grammar import catalog
from grammar.limits import MAX_LENGTH

_MALFORMED: Final = Path(__file__).parent.parent / "tests" / "malformed.py"
_WORDS: Final = [
    *FUNCTIONS,
    "gelu",
    "prelu",
    "neighbour_coupled",
    "turbulent",
    "mean",
    "var",
    "std",
    "rms",
    "shift",
    "over",
    "tensor",
    "features",
    "batch",
    "param",
    "def",
    "repeat",
    "if",
    "else",
    "and",
    "or",
    "not",
    "channel",
    "x",
    "t",
    "u",
    "pi",
    "e",
    "inf",
    "lambda",
    "return",
    "elif",
]
_SIGNS: Final = [
    *"+-*/^()[]{}=<>,;.#\n \t\r",
    "**",
    "==",
    "!=",
    "<=",
    ">=",
    "\n\n",
    "if x > 0 else",
    "repeat 3 { u = ",
    "def f(t) = ",
    "param b = ",
]
_NUMBERS: Final = ["0", "1", "2.5", ".5", "1.", "1e5", "1e308", "1e309", "5e-324", "9" * 400, "1e-999", "256", "257", "00012"]
_STRANGE: Final = [*"\0\x01\x7f\x85\u00a0\u200b\ufeff\u2028\ud800\U0001f600\u0663\u00b2\u221e\u03c0\u2212\u03b1\uff08", *"\"'\\$%&|~`?:@!"]
# What is repeated in front, what stands in the middle, what is repeated behind.
_NESTS: Final = [
    ("(", "x", ")"), ("(", "x", ""), ("", "x", ")"), ("[", "x", "]"), ("{", "x", "}"), ("-", "x", ""), ("+", "x", ""),
    ("not ", "x > 0", ""), ("x + ", "x", ""), ("x*", "x", ""), ("x^", "x", ""), ("1 < ", "x", ""), ("x,", "x", ""),
    ("x if x > 0 else ", "x", ""), ("sin(", "x", ")"), ("max(x, ", "x", ")"), ("where(x > 0, x, ", "x", ")"), ("gelu(", "x", ")"),
    ("mean(", "x", ")"), ("shift(", "x", ", 1)"), ("neighbour_coupled(", "x", ")"), ("phase_locked_entropic_repulsion(", "x", ")"),
    ("repeat 2 { u = x; ", "u = x", " }"), ("def f(t) = t\n", "f(x)", ""), ("a = x\n", "x", ""), ("x\n", "x", ""),
    ("param a = ", "1", "\n"), ("u = prelu(x)\n", "u", ""), (";", "x", ""), ("#", "x", ""), ("9", "x", ""), ("a", "x", ""),
]  # fmt: skip


def draw(r: random.Random) -> str:
    """A text of one of the kinds below."""
    kind = r.choices((soup, characters, mutated, nested, listed, chained), (30, 20, 44, 4, 1, 1))[0]
    return kind(r)


@functools.cache
def _malformed() -> tuple[str, ...]:
    """The texts of `tests/malformed.py`, but for the longest, which `nested` makes too."""
    return tuple(text for text, *_ in runpy.run_path(str(_MALFORMED))["MALFORMED"] if len(text) < 1000)


def _token(r: random.Random) -> str:
    return r.choice(r.choices([_WORDS, _SIGNS, _NUMBERS, _STRANGE], [6, 6, 2, 1])[0])


def soup(r: random.Random) -> str:
    return "".join(r.choice(["", " "]) + _token(r) for _ in range(r.choice([3, 10, 30, 100])))


def characters(r: random.Random) -> str:
    return "".join(chr(r.choice([r.randrange(128), r.randrange(0x3000), r.randrange(0x110000)])) for _ in range(r.randrange(60)))


def mutated(r: random.Random) -> str:
    """A program of the catalogue, or a malformed one, with some of its text deleted, doubled, replaced, or moved in from another."""
    text = r.choice(_malformed()) if r.random() < 0.3 else catalog.entry(r.choice(catalog.names())).text
    for _ in range(r.randrange(1, 6)):
        start = r.randrange(len(text) + 1)
        end = min(len(text), start + r.choice([0, 1, 1, 2, 5, 20]))
        kind = r.randrange(4)
        if kind == 0:
            middle = ""
        elif kind == 1:
            middle = text[start:end] * 2
        elif kind == 2:
            middle = _token(r)
        else:
            other = catalog.entry(r.choice(catalog.names())).text
            at = r.randrange(len(other))
            middle = other[at : at + r.randrange(40)]
        text = text[:start] + middle + text[end:]
    return text


def nested(r: random.Random) -> str:
    """Deep, wide or long, up to the bound on length and somewhat beyond."""
    before, core, after = r.choice(_NESTS)
    count = min(r.choice([3, 30, 95, 105, 300, 3000, MAX_LENGTH + 500]), (MAX_LENGTH + 500) // len(before + after))
    return r.choice(["", "u = x\n", "a = 1\n"]) + before * count + core + after * count + r.choice(["", "\nu", " )", " +"])


def chained(r: random.Random) -> str:
    """Programs that are short and unroll far: functions that call functions, nested repeats, shifts of shifts."""
    n = r.choice([3, 20, 60, 200, 400])
    step = r.choice(["f{0}(t)", "f{0}(f{0}(t))", "f{0}(t) + f{0}(2*t)", "shift(f{0}(t), 1)", "neighbour_coupled(f{0}(t))"])
    functions = "def f0(t) = t*t\n" + "".join(f"def f{k}(t) = {step.format(k - 1)}\n" for k in range(1, n)) + f"f{n - 1}(x)"
    inner = r.choice(
        ["u = u*x", "u = u + shift(u, 1)", "u = 3.7*u*(1 - u); v = u; u = v", "u = gelu(u)", "u = mean(u*x)", "u = turbulent(u)"]
    )
    depth = r.choice([1, 2, 3, 50])
    repeats = "u = x\n" + f"repeat {r.choice([1, 7, 256])} {{ " * depth + inner + " }" * depth + "\nu"
    bindings = "a0 = x\n" + "".join(
        f"a{k} = {r.choice(['shift', 'max'])}(a{k - 1}, {r.choice(['1', '-2', 'x'])}) + a{k - 1}\n" for k in range(1, n)
    )
    return r.choice([functions, repeats, bindings + f"a{n - 1}"])


def listed(r: random.Random) -> str:
    """Long lists: arguments, options, names, operands of one chain, statements."""
    n = r.choice([3, 60, 250, 900, 3000])
    names = [f"a{k}" for k in range(n)]
    operands = [r.choice(["x", "-x", "sin(x)", f"{k}*x", "(x + 1)", "x^2", "1e14*x", "(x > 0)"]) for k in range(n)]
    sign = r.choice(["+", "-", "*", "/", " and ", " or ", "<", ","])
    return r.choice(
        [
            sign.join(operands),
            f"max({', '.join(operands)})",
            f"mean(x, {', '.join(f'over={name}' for name in names)})",
            f"def f({', '.join(names)}) = {' + '.join(names)}\nf({', '.join(operands)})",
            "".join(f"param {name} = {k}\n" for k, name in enumerate(names)) + "*".join(names) + "*x",
            "".join(f"{name} = {operand}\n" for name, operand in zip(names, operands, strict=True)) + sign.join(names),
        ]
    )[: r.choice([MAX_LENGTH, MAX_LENGTH + 500])]
