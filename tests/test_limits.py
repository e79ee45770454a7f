"""What was accepted can be copied, printed, differentiated and its printed text read back; or it is refused, and the limit named."""

import copy
import inspect
import pickle
import sys

import numpy as np
import pytest
import torch

import gp
from codegen.acceptance import accepted
from codegen.build import build
from codegen.function import activation
from codegen.graph import topological
from codegen.numpy import evaluate
from codegen.text import to_latex, to_program
from gp.cli import main
from grammar import DSLError, format_program, parse
from grammar.limits import MAX_LENGTH

LONG = {
    "differences": "x" + "-1e14*x" * 1200,
    "product of 90": "x" + "*(1+sin(x))" * 90,
    "product of 300": "x" + "*(1+sin(x))" * 300,
    "sum of 999": "+".join(f"sin({k}*x)" for k in range(999)),
    "loop": "u = x; repeat 80 { u = sin(u)*cos(u) + exp(-u^2) }; u",
    "choices": "a0 = x\n" + "".join(f"a{k} = where(x < 2 + 1/{k}, a{k - 1}, 0)\n" for k in range(1, 200)) + "a199*x",
    "parameters": "".join(f"param a_rather_long_name_{k} = {k}\n" for k in range(60))
    + "+".join(f"tanh(a_rather_long_name_{k}*x)" for k in range(60)),
}
SHARED = {
    "logistic map": "u = sigmoid(x); repeat 40 { u = 3.7*u*(1 - u) }; u*x",
    "an operator that writes its argument twice": "u = x; repeat 40 { u = u - tanh(u) }; u",
    "conditions": "p = x > 0; repeat 40 { p = (p and x > 1) or (p and x < 2) }; where(p, 1, 0)*x",
    "statistics": "u = x; repeat 8 { u = mean(sin(u))*x + cos(u)*std(u) }; u",
}
X = np.linspace(-1.5, 1.5, 7).reshape(1, 7)


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_program_can_be_copied_differentiated_and_read_back(text):
    act = gp.activation(text, backend="eager")
    for other in (copy.deepcopy(act), pickle.loads(pickle.dumps(act)), gp.activation(act.formula)):
        assert other.formula == act.formula
        assert other.function.key == act.function.key
    slope = gp.activation(act.derivative)
    values = {"x": X, **{p.name: p.initial for p in act.function.parameters}}
    with np.errstate(all="ignore"):
        expected = evaluate([act.function.slope], values)[0]
    np.testing.assert_allclose(evaluate([slope.function.graph], values)[0] + 0 * X, expected + 0 * X, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("text", SHARED.values(), ids=SHARED)
def test_shared_parts_are_named(text):
    function = activation(parse(text))
    for root in (function.graph, function.slope):
        size = len(topological([root]))
        program = format_program(to_program(root))
        assert len(program) < 40 * size
        assert len(to_latex(root)) < 100 * size
        read = build(parse(program)).result
        np.testing.assert_allclose(evaluate([read], {"x": X})[0], evaluate([root], {"x": X})[0], rtol=1e-9, atol=1e-12)


def test_latex_of_a_long_formula_is_a_list():
    lines = gp.activation(SHARED["logistic map"]).latex().splitlines()
    assert lines[0] == r"\begin{aligned}"
    assert lines[1].startswith("t_{1} &= ")
    assert lines[-2].startswith("f &= ")
    assert lines[-1] == r"\end{aligned}"
    assert gp.activation("gelu(x) + sin(2*x)").latex().count("\n") == 0


@pytest.mark.parametrize("text", [*LONG.values(), *SHARED.values()], ids=[*LONG, *SHARED])
def test_show(text, capfd):
    assert main(["show", text]) == 0
    assert len(capfd.readouterr().out) < 500_000
    for what in ("latex", "torch", "numpy"):
        assert main(["show", text, "--emit", what, "--backward"]) == 0
        assert len(capfd.readouterr().out) < 500_000


@pytest.mark.parametrize(
    ("text", "reason", "limit"),
    [
        ("x" + "-9e14*x" * (MAX_LENGTH // 8), "printed in full, the program has", "MAX_LENGTH"),
        ("u = x; repeat 256 { u = sin(u)*cos(u)*tanh(u) + exp(-u^2)*sigmoid(u)*erf(u) }; u", "the derivative is too long", "MAX_LENGTH"),
        ("+".join(f"sin({k}*x)" for k in range(1300)), "the derivative is too long", "MAX_NODES"),
    ],
)
def test_what_could_not_be_printed_is_refused_at_the_start(text, reason, limit, capfd, tmp_path):
    with pytest.raises(DSLError, match=limit) as caught:
        gp.activation(text)
    assert reason in caught.value.reason
    path = tmp_path / "long.act"
    path.write_text(text)
    assert main(["check", str(path)]) == 2
    assert limit in capfd.readouterr().err


def test_the_derivative_that_show_prints_declares_its_parameters(capfd):
    assert main(["show", "swish(x)"]) == 0
    lines = capfd.readouterr().out.partition("derivative")[2].splitlines()
    assert lines[0].split() == ["param", "swish_beta", "=", "1"]


DEEP = {
    "calls": "sin(" * 99 + "x" + ")" * 99,
    "choices": "where(x > 0, x, " * 97 + "x" + ")" * 97,
    "powers": "x^" * 99 + "x",
    "signs": "-" * 99 + "x",
    "repeats": "u = x\n" + "repeat 1 { v = u; " * 99 + "u = v*x" + "}" * 99 + "\nu",
    "functions": "def f0(t) = -t\n" + "".join(f"def f{k}(t) = -f{k - 1}(t)\n" for k in range(1, 48)) + "f47(x)",
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_a_program_of_the_greatest_depth_leaves_half_of_the_stack_to_the_caller(text):
    program = parse(text)
    act = gp.activation(text)
    torch.testing.assert_close(copy.deepcopy(act)(torch.ones(3)), act(torch.ones(3)))
    assert pickle.loads(pickle.dumps(program)) == program

    def at(depth: int) -> None:
        if depth:
            at(depth - 1)
        else:
            assert copy.deepcopy(program) is program
            assert format_program(parse(text)) == act.formula
            assert accepted(program).key == act.function.key

    frames = len(inspect.stack())
    at(sys.getrecursionlimit() // 2 - frames)
