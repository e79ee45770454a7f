"""Any name that the language takes may be given to a parameter: it collides with nothing in kernels, sources or the module."""

import numpy as np
import pytest
import torch

import gp
from codegen.operators import OPERATORS
from codegen.spelling import spellings
from codegen.torch import _HELPERS

PROGRAM = """param NAME = 0.5
param NAMEb[channel] = 2
y = x*NAME*exp(1.5*x)
shift(x, 1)*0.7*NAME + NAMEb*mean(x)*y + where(y > 0, y*y, sin(y)/(1 + y*y)) + min(x, y)*log(3 + sin(7)*NAME)"""

KERNELS = ["constant0", "constant_0", "mean0", "x_1", "x1", "result0", "cotangent1", "gradient", "rows", "pointer", "v3", "t1", "t2"]
PYTHON = ["lambda", "None", "True", "class", "self", "def_", "float", "range", "math", "np", "special", "torch", "dtype", "d"]
MODULE = ["training", "training_", "forward", "weight", "function", "formula", "channel_dim", "backend", "_parameters", "_attributes", "T"]
PRINTERS = ["activation", "inputs", "cotangent1_0", *_HELPERS, *(f"_{name}" for name in ("sinc", "gaussian", "tanh_gap", "where"))]
NAMES = [*KERNELS, *PYTHON, *MODULE, *PRINTERS]

X = torch.linspace(-1, 1, 12).reshape(3, 4)


def module(name: str, backend: str) -> gp.Activation:
    return gp.activation(PROGRAM.replace("NAME", name), backend=backend)


def test_the_names_are_free():
    assert not set(NAMES) & set(OPERATORS)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_will_do(name):
    expected = module("plain", "llvm")(X)
    for backend in ("llvm", "interpret", "eager"):
        torch.testing.assert_close(module(name, backend)(X), expected, rtol=1e-5, atol=1e-5)
    x = X.clone().requires_grad_()
    gradients = [torch.autograd.grad(module(name, backend)(x).sum(), x) for backend in ("llvm", "eager")]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)
    namespace: dict = {}
    exec(module(name, "llvm").source("numpy"), namespace)
    np.testing.assert_allclose(namespace["activation"](X.numpy(), 0.5, np.full(4, 2.0)), expected.detach(), rtol=1e-5, atol=1e-5)
    slope = gp.activation(module(name, "llvm").derivative)
    torch.testing.assert_close(slope(X), gp.activation(module("plain", "llvm").derivative)(X))


def test_underscores_until_a_name_is_free():
    assert spellings(["lambda", "a", "b", "b_"], {"a", "a_", "b"}) == {"lambda": "lambda_", "a": "a__", "b": "b_", "b_": "b__"}


def test_an_attribute_of_the_module_gets_an_underscore():
    taken = gp.activation("param training = 2\nparam training_ = 3\nx*training + training_")
    assert {n: p.item() for n, p in taken.named_parameters()} == {"training_": 2, "training__": 3}
    assert taken.training is True
