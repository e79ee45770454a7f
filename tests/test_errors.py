"""Whatever the text, the one exception is DSLError, it says where and what to do, and it comes within a second."""

import os
import random
import time

import pytest
from malformed import MALFORMED

from codegen.build import build
from codegen.operators import FUNCTIONS
from grammar import DSLError, catalog, parse

INPUTS = int(os.environ.get("GP_FUZZ", "5000"))
WORDS = [
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
]
WORDS += [
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
SIGNS = [
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
NUMBERS = ["0", "1", "2.5", ".5", "1.", "1e5", "1e308", "1e309", "5e-324", "9" * 400, "1e-999", "256", "257", "00012"]
STRANGE = [*"\0\x01\x7f\x85\u00a0\u200b\ufeff\u2028\ud800\U0001f600\u0663\u00b2\u221e\u03c0\u2212\u03b1\uff08", *"\"'\\$%&|~`?:@!"]
# What is repeated in front, what stands in the middle, what is repeated behind.
NESTS = [
    ("(", "x", ")"), ("(", "x", ""), ("", "x", ")"), ("[", "x", "]"), ("{", "x", "}"), ("-", "x", ""), ("+", "x", ""),
    ("not ", "x > 0", ""), ("x + ", "x", ""), ("x*", "x", ""), ("x^", "x", ""), ("1 < ", "x", ""), ("x,", "x", ""),
    ("x if x > 0 else ", "x", ""), ("sin(", "x", ")"), ("max(x, ", "x", ")"), ("where(x > 0, x, ", "x", ")"), ("gelu(", "x", ")"),
    ("mean(", "x", ")"), ("shift(", "x", ", 1)"), ("neighbour_coupled(", "x", ")"), ("phase_locked_entropic_repulsion(", "x", ")"),
    ("repeat 2 { u = x; ", "u = x", " }"), ("def f(t) = t\n", "f(x)", ""), ("a = x\n", "x", ""), ("x\n", "x", ""),
    ("param a = ", "1", "\n"), ("u = prelu(x)\n", "u", ""), (";", "x", ""), ("#", "x", ""), ("9", "x", ""), ("a", "x", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "reason", "hint"), MALFORMED)
def test_malformed(text, line, column, reason, hint):
    with pytest.raises(DSLError) as caught:
        build(parse(text))
    error = caught.value
    assert (error.line, error.column) == (line, column), error
    assert reason in error.reason
    assert hint in error.hint
    message = str(error).split("\n")
    assert message[0] == f"line {line}, column {column}: {error.reason}"
    assert len(message) >= 3
    caret = message[2].index("^") - 2
    shown = message[1][2:]
    if column <= 50:
        source = [*text.split("\n"), ""][line - 1]
        assert caret == column - 1
        assert shown[:caret] == "".join(c if c.isprintable() else " " for c in source[:caret])


def test_there_are_enough():
    assert len(MALFORMED) >= 55
    assert len({text for text, *_ in MALFORMED}) == len(MALFORMED)


def token(r: random.Random) -> str:
    return r.choice(r.choices([WORDS, SIGNS, NUMBERS, STRANGE], [6, 6, 2, 1])[0])


def soup(r: random.Random) -> str:
    return "".join(r.choice(["", " "]) + token(r) for _ in range(r.choice([3, 10, 30, 100])))


def characters(r: random.Random) -> str:
    return "".join(chr(r.choice([r.randrange(128), r.randrange(0x3000), r.randrange(0x110000)])) for _ in range(r.randrange(60)))


def mutated(r: random.Random) -> str:
    """A program of the catalogue with some of its text deleted, doubled, replaced, or moved in from another."""
    text = catalog.entry(r.choice(catalog.names())).text
    for _ in range(r.randrange(1, 6)):
        start = r.randrange(len(text) + 1)
        end = min(len(text), start + r.choice([0, 1, 1, 2, 5, 20]))
        kind = r.randrange(4)
        if kind == 0:
            middle = ""
        elif kind == 1:
            middle = text[start:end] * 2
        elif kind == 2:
            middle = token(r)
        else:
            other = catalog.entry(r.choice(catalog.names())).text
            at = r.randrange(len(other))
            middle = other[at : at + r.randrange(40)]
        text = text[:start] + middle + text[end:]
    return text


def nested(r: random.Random) -> str:
    """Deep, wide or long, up to the bound on length and somewhat beyond."""
    before, core, after = r.choice(NESTS)
    count = min(r.choice([3, 30, 95, 105, 300, 3000, 20_500]), 20_500 // len(before + after))
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


def outcome(text: str) -> DSLError | None:
    """The error of a text, None when it is accepted; raises AssertionError for any other exception."""
    try:
        build(parse(text))
    except DSLError as error:
        return error
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} from {text!r}") from error
    return None


def test_fuzz():
    r = random.Random(20260201)
    kinds = r.choices([soup, characters, mutated, nested, chained], [30, 20, 45, 4, 1], k=INPUTS)
    accepted = 0
    for kind in kinds:
        text = kind(r)
        start = time.process_time()
        error = outcome(text)
        taken = time.process_time() - start
        assert taken < 1, f"{taken:.1f} s for {text[:300]!r}"
        if error is None:
            accepted += 1
            continue
        lines = text.split("\n")
        assert 1 <= error.line <= len(lines), text
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1, text
        assert error.reason
    assert INPUTS / 50 < accepted < INPUTS / 2
