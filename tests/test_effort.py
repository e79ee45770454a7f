"""What would take too long to compile is refused at once; what the estimate says is what compiling takes."""

import time

import pytest

import gp
from codegen.acceptance import accepted
from codegen.effort import compile_seconds
from codegen.function import activation
from gp.cli import main
from grammar import DSLError, catalog, parse
from grammar.limits import MAX_COMPILE
from kernels.llvm_compiler import FAST
from kernels.native import _compile
from kernels.programs import BOTH, make_plan

STATISTICS = "u = x; repeat {} {{ u = mean(sin(u))*x + cos(u)*std(u) }}; u"
PARAMETERS = "".join(f"param a{k} = 0.5\n" for k in range(40)) + "u = x\nrepeat {} {{ u = sin(x" + "".join(
    f" + a{k}*u^{k % 3 + 1}" for k in range(40)
) + ") }}\nu"  # fmt: skip
SHIFTS = "u = x; repeat {} {{ u = sin(u + 0.1*shift(u, 1)) + 0.1*shift(u, 3) }}; u"


@pytest.mark.parametrize("text", [STATISTICS.format(80), PARAMETERS.format(40)], ids=["statistics", "parameters"])
def test_what_takes_too_long_to_compile_is_refused_at_once(text, tmp_path, capfd):
    start = time.process_time()
    with pytest.raises(DSLError, match="MAX_COMPILE") as caught:
        gp.activation(text)
    assert time.process_time() - start < 1
    assert caught.value.hint
    path = tmp_path / "long.act"
    path.write_text(text)
    assert main(["check", str(path)]) == 2
    assert "MAX_COMPILE" in capfd.readouterr().err


@pytest.mark.parametrize("name", catalog.names())
def test_the_catalogue_is_far_from_the_limit(name):
    assert compile_seconds(accepted(catalog.entry(name).program).graph, MAX_COMPILE) < 0.1 * MAX_COMPILE


@pytest.mark.parametrize(
    "text",
    [
        STATISTICS.format(8),
        PARAMETERS.format(3),
        SHIFTS.format(6),
        "+".join(f"sin({k}*x)" for k in range(1, 200)),
        "turbulent(" * 6 + "x" + ")" * 6,
    ],
    ids=["statistics", "parameters", "shifts", "sum", "nested"],
)
def test_the_estimate_is_what_compiling_takes(text):
    function = activation(parse(text))
    make_plan(activation(parse("x")), BOTH, "f32")  # what is made once in a process
    start = time.process_time()
    for order in (BOTH,) if function.of_x_alone else (0, 1):
        _compile(make_plan(function, order, "f32"), FAST)
    taken = time.process_time() - start
    assert 0.2 < compile_seconds(function.graph, MAX_COMPILE) / taken < 5
