"""The catalogue: every file's form, its values and derivatives against mpmath, torch and itself, and what the discovered ones promise."""

import functools
import math

import block_evaluator
import mp_catalog
import numpy as np
import pytest
import torch
from mpmath import mp, mpf

from codegen.asymptotics import guard_products
from codegen.derivative import Result
from codegen.function import Activation, activation, derived
from codegen.instructions import Value
from codegen.kernel import Storage
from codegen.numpy import evaluate
from codegen.operators import FUNCTIONS
from codegen.plan import plan
from codegen.structure import evaluate_tape
from grammar import catalog, format_program, parse

# Operators of the language have a file as well, so that the catalogue is complete; a call means the operator.
OPERATORS = {"tanh", "sigmoid", "softplus", "logsigmoid"}
# Those that are not functions of x alone, or whose formula is the program: they have tests of their own below.
OTHERS = {"turbulent", "neighbour_coupled", "phase_locked_entropic_repulsion"}
OSCILLATING = {"sine", "gcu", "minsin", "gelusine", "snake"}  # sin(inf) is NaN, and so are these at one end or both
OSCILLATING_SLOPE = {"cosid", "gelu_sinc_perturbation"}

MODERATE = [0, 0.011, 0.11, 0.27, 0.4, 0.5, 0.69, 0.8, 1, 1.3, 1.7, 2, 2.6, 3, 3.7, 4.4, 5.3, 6, 8.2, 9.6, 12, 15.5, 21, 29, 60, 88, 104]
EXTREME = [1e-40, 1e-30, 1e-9, 1e-4, 1e3, 1e4, 1e9, 1e20, 3e38]
POINTS = np.array([s * x for x in MODERATE + EXTREME for s in (1, -1)], dtype=np.float32).astype(np.float64)


@functools.cache
def load(name: str) -> Activation:
    return activation(catalog.entry(name).program)


def results(function: Activation) -> list[Result]:
    """The value, and the gradient for x with cotangent 1."""
    return [derived(function, 0)[0], derived(function, 1)[0]]


def inputs(function: Activation) -> dict[str, float]:
    return {p.name: p.initial for p in function.parameters} | {"cotangent1.0": 1.0}


def reference(name: str, x: np.ndarray) -> list[np.ndarray]:
    """Value and gradient by the definition, float64."""
    function = load(name)
    roots = guard_products([r.node for r in results(function)])
    return [np.broadcast_to(r, x.shape) for r in evaluate(roots, {"x": x, **inputs(function)}, function.constants)]


def compiled(name: str, x: np.ndarray, storage: Storage) -> list[np.ndarray]:
    """Value and gradient by the instructions of the kernel, one by one."""
    function = load(name)
    found = []
    for result in results(function):
        (stage,) = plan("test", [result], storage).stages
        numbers = evaluate_tape(stage.tape, stage.tape_roots, function.constants)
        known = {"x": x, **inputs(function), **{f"constant.{k}": number for k, number in enumerate(numbers)}}
        dtype = np.float32 if storage == "f32" else np.float64
        arrays = {i.name: np.asarray(known[i.name], dtype) for i in stage.kernel.inputs}
        block = stage.kernel.block
        (y,) = block_evaluator.evaluate(block, arrays, Value(block, stage.kernel.outputs[0].index))
        found.append(np.broadcast_to(y, x.shape).astype(np.float64))
    return found


# The files


def test_there_are_enough():
    assert len(catalog.names()) >= 60
    assert set(catalog.names()) == set(mp_catalog.FORMULAS) | OTHERS
    assert set(catalog.names()) & set(FUNCTIONS) == OPERATORS


@pytest.mark.parametrize("name", catalog.names())
def test_file(name):
    entry = catalog.entry(name)
    assert name == name.lower()
    assert name.isidentifier()
    assert entry.notes[0].startswith("Formula: ")
    assert entry.notes[1].startswith("Source: ")
    assert "torch.nn." in entry.notes[1] or any(str(year) in entry.notes[1] for year in range(1980, 2027))
    canonical = format_program(entry.program)
    assert parse(canonical) == entry.program
    assert format_program(parse(canonical)) == canonical
    assert load(name).parameters == activation(parse(canonical)).parameters


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_an_operator_is_meant_first(name):
    assert load(name).graph is activation(parse(f"{name}(x)")).graph
    assert load(name).graph.operator is FUNCTIONS[name]


# Numbers


@functools.cache
def exact(name: str) -> list[tuple[mpf, mpf, mpf, bool]]:
    """Value, first and second derivative, and whether there is a kink, at POINTS."""
    with mp.workdps(mp_catalog.DIGITS):
        formula = mp_catalog.FORMULAS[name]
        return [(formula(mpf(x)), *mp_catalog.derivatives(formula, mpf(x))) for x in POINTS]


@pytest.mark.parametrize("how", ["reference", "f32", "f64"])
@pytest.mark.parametrize("name", sorted(mp_catalog.FORMULAS))
def test_value_and_derivative(name, how):
    """Within 30 rounding steps of the result or, where that is more, of the argument: |x f'(x)| is what the rounding of
    x alone amounts to. Where the exact result is beyond the largest number, anything but NaN will do."""
    y, slope = reference(name, POINTS) if how == "reference" else compiled(name, POINTS, how)
    type_ = np.finfo(np.float32 if how == "f32" else np.float64)
    step, least = float(type_.epsneg), float(np.finfo(np.float32).tiny)
    for x, got_y, got_slope, (value, first, second, kink) in zip(POINTS, y, slope, exact(name), strict=True):
        for got, expected, change in ((got_y, value, first), (got_slope, first, second)):
            if expected is first and kink:
                continue
            if not abs(expected) <= float(type_.max):
                assert not math.isnan(got), f"{name} at {x}"
                continue
            bound = 30 * step * float(abs(expected) + abs(x * change)) + 4 * least
            assert math.isfinite(got), f"{name} at {x}: {got}, not {float(expected)}"
            assert abs(got - float(expected)) <= bound, f"{name} at {x}: {got}, not {float(expected)}"


@pytest.mark.parametrize("name", [n for n in catalog.names() if load(n).parameters])
def test_gradients_of_parameters(name):
    """Against difference quotients at moderate x; farther out they are numbers wherever the value is one."""
    function = load(name)
    start = {p.name: p.initial for p in function.parameters}
    far = np.array([-3e38, -1e20, -1e4, -104, 104, 1e4, 1e20, 3e38])
    near = np.linspace(-6, 6, 49)
    for parameter, result in zip(function.parameters, derived(function, 1)[1:], strict=True):

        def value(node, x, change=0.0, name=parameter.name):
            known = {"x": x, "cotangent1.0": 1.0, **start, name: start[name] + change}
            return np.broadcast_to(evaluate(guard_products([node]), known, function.constants)[0], x.shape)

        quotient = (value(function.structure, near, 1e-5) - value(function.structure, near, -1e-5)) / 2e-5
        np.testing.assert_allclose(value(result.node, near), quotient, rtol=1e-7, atol=1e-8)
        assert not np.isnan(value(result.node, far))[np.isfinite(value(function.structure, far))].any()


TORCH = {
    "identity": torch.nn.Identity(), "relu": torch.nn.ReLU(), "relu6": torch.nn.ReLU6(), "leaky_relu": torch.nn.LeakyReLU(),
    "prelu": torch.nn.PReLU(dtype=torch.float64), "rrelu": torch.nn.RReLU().eval(), "elu": torch.nn.ELU(), "celu": torch.nn.CELU(),
    "selu": torch.nn.SELU(), "gelu": torch.nn.GELU(), "gelu_tanh": torch.nn.GELU("tanh"), "silu": torch.nn.SiLU(), "mish": torch.nn.Mish(),
    "softplus": torch.nn.Softplus(threshold=700), "softsign": torch.nn.Softsign(), "tanh": torch.nn.Tanh(), "sigmoid": torch.nn.Sigmoid(),
    "logsigmoid": torch.nn.LogSigmoid(), "hardtanh": torch.nn.Hardtanh(), "hardsigmoid": torch.nn.Hardsigmoid(),
    "hardswish": torch.nn.Hardswish(), "tanhshrink": torch.nn.Tanhshrink(), "softshrink": torch.nn.Softshrink(),
    "hardshrink": torch.nn.Hardshrink(), "threshold": torch.nn.Threshold(0.1, 20),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TORCH))
def test_as_in_torch(name):
    """Also at the kinks, which are all among the whole and half numbers, 0 and 0.1."""
    x = np.array([*np.arange(-8, 8.25, 0.25), 0.1, -0.1, 1e-12, -1e-12, 50, -50])
    tensor = torch.tensor(x, requires_grad=True)
    expected = TORCH[name](tensor)
    (gradient,) = torch.autograd.grad(expected.sum(), tensor)
    y, slope = reference(name, x)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-15)
    # torch.nn.Hardsigmoid's gradient multiplies by 1/6 in float32.
    np.testing.assert_allclose(slope, gradient.numpy(), rtol=1e-7 if name == "hardsigmoid" else 1e-11, atol=1e-14)


@pytest.mark.parametrize("name", catalog.names())
def test_nan_stays_nan(name):
    x = np.full((2, 4), np.nan)
    assert np.isnan(reference(name, x)[0]).all()
    if name not in OTHERS:
        assert np.isnan(compiled(name, x, "f32")[0]).all()


@pytest.mark.parametrize("name", sorted(set(mp_catalog.FORMULAS) - OSCILLATING))
def test_limits_at_infinity(name):
    """The limit of value and derivative, which the formula shows at 1e200 and 1e300."""
    ends = np.array([-math.inf, math.inf])
    found = [*reference(name, ends), *compiled(name, ends, "f32")]
    for k, sign in enumerate((-1, 1)):
        with mp.workdps(800):
            formula = mp_catalog.FORMULAS[name]
            near, far = (sign * mpf(10) ** power for power in (200, 300))
            pairs = [(formula(near), formula(far)), (mp_catalog.derivatives(formula, near)[0], mp_catalog.derivatives(formula, far)[0])]
        for order, (a, b) in enumerate(pairs):
            if order and name in OSCILLATING_SLOPE:
                continue
            settles = abs(b - a) <= abs(a) * mpf(10) ** -9 or (abs(a) < 1e-15 and abs(b) < 1e-15)
            limit = float(b) if settles else math.inf if mp.isnan(b) else math.copysign(math.inf, b)  # NaN: exp overflowed
            for got in (found[order][k], found[2 + order][k]):
                assert got == pytest.approx(limit, rel=1e-6, abs=1e-12), f"order {order} at {sign}*inf"


# The discovered ones


def test_gate_of_phase_locked_entropic_repulsion():
    name = "phase_locked_entropic_repulsion"
    x = np.concatenate([np.linspace(-30, 30, 6001), [1e4, -1e4, 1e20, -1e20, 3e38, -3e38]])
    for y, slope in (reference(name, x), compiled(name, x, "f32")):
        gate = np.divide(y, x, out=np.ones_like(x), where=x != 0)
        assert (gate[np.abs(x) <= 1] >= 0.9).all()
        assert (gate[np.abs(x) >= 6] <= 0.1).all()
        assert ((gate >= 0) & (gate <= 1 + 1e-6)).all()
        assert np.isfinite(slope).all()
    inner = np.linspace(-7, 7, 1401)
    h = 1e-6
    quotient = (reference(name, inner + h)[0] - reference(name, inner - h)[0]) / (2 * h)
    slope = reference(name, inner)[1]
    # The clamps make kinks; a difference quotient across one of those is off.
    agrees = np.abs(quotient - slope) <= 1e-5 * np.maximum(1, np.abs(slope))
    assert agrees.mean() > 0.99


def test_turbulent_is_its_formula():
    x = np.random.default_rng(0).normal(1, 2, (30, 5))
    z = (x - x.mean()) / (x.std() + 1e-6)
    expected = np.sign(x) * np.log(1 + 0.5 * np.abs(x)) + 0.2 * np.exp(-(z**2) / 2) * np.sin(2 * x)
    np.testing.assert_allclose(reference("turbulent", x)[0], expected, rtol=1e-12)
    constant = reference("turbulent", np.full((3, 3), 2.0))
    assert np.isfinite(constant).all()  # a standard deviation of 0


def test_neighbours_are_read_in_a_circle():
    x = np.random.default_rng(0).normal(0, 0.7, (4, 6))
    left, right = np.roll(x, 1, -1), np.roll(x, -1, -1)
    s = 1 / (1 + np.exp(-4 * ((left**2 + x**2 + right**2) / 3 - 1)))
    gelu = torch.nn.functional.gelu(torch.tensor(x)).numpy()
    expected = (1 - s) * (x + 0.25 * (left - 2 * x + right)) + s * gelu
    np.testing.assert_allclose(reference("neighbour_coupled", x)[0], expected, rtol=1e-12)
