"""Every backend against the float64 definition, on programs drawn by Hypothesis and on the catalogue, derivatives included."""

import numpy as np
import pytest
import torch
from definition import draw_inputs, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import programs
from tolerances import TOLERANCE, assert_same

from codegen.numpy import print_numpy
from grammar import catalog, format_program
from kernels.lowering import lowered
from kernels.module import Activation
from kernels.ops import evaluate as run

SHAPE = (5, 7)


@pytest.mark.parametrize("backend", ["llvm", "interpret"])
@settings(max_examples=25)
@given(programs(), st.sampled_from([torch.float32, torch.float64]), st.sampled_from([0, 1]), st.integers(0, 99))
def test_kernels_against_the_definition(backend, program, dtype, order, seed):
    text = format_program(program)
    function = Activation(text).function
    inputs = draw_inputs(function, order, dtype, seed, SHAPE)
    expected = reference(function, order, [i.numpy() for i in inputs])
    if not np.isfinite(expected[0].scale) or expected[0].scale > 1e6:
        return  # ill-conditioned: float32 has nothing to compare
    for actual, exact in zip(run(inputs, text, order, -1, backend), expected, strict=True):
        assert_same(actual.numpy(), exact.value, dtype, exact.scale * exact.summed)


@settings(max_examples=40)
@given(programs(), st.integers(0, 99))
def test_torch_lowering_against_the_definition(program, seed):
    text = format_program(program)
    function = Activation(text).function
    inputs = draw_inputs(function, 0, torch.float64, seed, SHAPE)
    (exact,) = reference(function, 0, [i.numpy() for i in inputs])
    assert_same(lowered(text, 0)(*inputs).numpy(), exact.value, torch.float64, exact.scale)


@settings(max_examples=40)
@given(programs(), st.integers(0, 99))
def test_printed_reference_is_the_reference(program, seed):
    function = Activation(format_program(program)).function
    inputs = draw_inputs(function, 0, torch.float64, seed, SHAPE)
    namespace: dict = {}
    exec(print_numpy(function.graph, tuple(p.name for p in function.parameters)), namespace)
    actual = namespace["activation"](*(i.numpy() for i in inputs))
    assert_same(np.broadcast_to(actual, SHAPE), reference(function, 0, [i.numpy() for i in inputs])[0].value, torch.float64)


@pytest.mark.parametrize("name", catalog.names())
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_catalogue_on_the_cpu(name, dtype):
    function = Activation(catalog.entry(name).text).function
    for order in (0, 1):
        inputs = draw_inputs(function, order, dtype, 3, SHAPE)
        expected = reference(function, order, [i.to(torch.float64).numpy() for i in inputs])
        for actual, exact in zip(run(inputs, Activation(catalog.entry(name).text).formula, order, -1, "llvm"), expected, strict=True):
            assert_same(actual.to(torch.float64).numpy(), exact.value, dtype, min(exact.scale * exact.summed, 1e3))


def test_a_wrong_kernel_would_fail():
    """Negative control: the comparison separates sin from its float16 neighbour."""
    x = torch.linspace(-2, 2, 35).reshape(SHAPE)
    actual = run([x], "sin(x) + 0.001*x", 0, -1, "llvm")[0].numpy()
    with pytest.raises(AssertionError):
        assert_same(actual, np.sin(x.double().numpy()), torch.float32)


@pytest.mark.parametrize("backend", ["llvm", "interpret"])
@pytest.mark.parametrize(
    "text", ["3", "sign(x)", "floor(x)", "where(x > 0, 1, 0)", "mean(x)", "std(x, over=batch)", "mean(x, over=features)"]
)
def test_kernels_that_read_no_element(text, backend):
    """Their value or their gradient is the same everywhere, or a statistic: the kernel that writes it reads no tensor of x's shape."""
    function = Activation(text).function
    for order in (0, 1):
        inputs = draw_inputs(function, order, torch.float32, 5, SHAPE)
        (exact,) = reference(function, order, [i.numpy() for i in inputs])
        (actual,) = run(inputs, text, order, -1, backend)
        assert (actual.shape, actual.dtype) == (inputs[0].shape, torch.float32)
        assert_same(actual.numpy(), exact.value, torch.float32, exact.scale)


@pytest.mark.parametrize("backend", ["llvm", "interpret", "eager"])
@pytest.mark.parametrize("text", ["param p = 0.5; x + p - p", "param p = 0.5; x*p^0", "param p[channel] = 0.5; x + p - p"])
def test_parameters_that_cancel_have_gradient_zero(text, backend):
    module = Activation(text, backend=backend)
    x = torch.randn(SHAPE, requires_grad=True)
    module(x).sum().backward()
    assert torch.equal(x.grad, torch.ones(SHAPE))
    assert torch.equal(module.p.grad, torch.zeros_like(module.p))


def test_a_parameter_of_another_size_is_refused_even_if_it_cancels():
    with pytest.raises(ValueError, match="'p' has 3 values, but x has 7 channels"):
        run([torch.randn(SHAPE), torch.ones(3)], "param p[channel] = 0.5; x + p - p", 0, -1, "llvm")
