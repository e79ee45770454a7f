"""Where torch runs a module other than by a call and a backward pass: forward mode, batched gradients, traces, exports, views that are
negated. Right in each, or an error that says what works."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as fwAD
from torch import Tensor, nn
from torch.autograd import functional

import gp
from kernels.lowering import lowered

TEXTS = [
    "mish(x)",
    "x*sigmoid(x - mean(x))",
    "param p[channel] = 0.3; where(x > 0, x, p*x)",
    "x*shift(x, 1)",
    "param b = 2; x*sigmoid(b*x)",
]
every_backend = pytest.mark.parametrize("backend", ["auto", "eager"])
every_text = pytest.mark.parametrize("text", TEXTS)
X = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(3, 4)
TANGENT = torch.linspace(1, -0.5, 12, dtype=torch.float64).reshape(3, 4)


def prepared(text: str, backend: str, dtype: torch.dtype = torch.float64) -> gp.Activation:
    module = gp.activation(text, backend=backend)
    module(torch.zeros(3, 4))
    return module.to(dtype)


def network(text: str, backend: str) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), prepared(text, backend, torch.float32), nn.Linear(4, 4))


def slope_along(f: Callable[..., Tensor], at: tuple[Tensor, ...], along: tuple[Tensor, ...]) -> Tensor:
    """The derivative of f along a direction, by its two neighbours."""
    step = 1e-6
    right, left = (f(*(a + s * d for a, d in zip(at, along, strict=True))) for s in (step, -step))
    return ((right - left) / (2 * step)).detach()


@every_text
@every_backend
@pytest.mark.parametrize("requires_grad", [False, True])
def test_forward_mode(text: str, backend: str, requires_grad: bool) -> None:
    module = prepared(text, backend)
    with fwAD.dual_level():
        y = module(fwAD.make_dual(X.clone().requires_grad_(requires_grad), TANGENT))
        value, tangent = fwAD.unpack_dual(y)
    torch.testing.assert_close(value, module(X))
    torch.testing.assert_close(tangent.detach(), slope_along(module, (X,), (TANGENT,)), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(torch.func.jvp(module, (X,), (TANGENT,))[1], tangent)
    torch.testing.assert_close(torch.func.jacfwd(module)(X), functional.jacobian(module, X))


@every_backend
@pytest.mark.parametrize("text", [TEXTS[2], TEXTS[4]])
def test_forward_mode_of_parameters(text: str, backend: str) -> None:
    module = prepared(text, backend)
    names, values = zip(*((n, p.detach()) for n, p in module.named_parameters()), strict=True)
    directions = tuple(torch.linspace(1, 2, v.numel(), dtype=v.dtype).reshape(v.shape) for v in values)

    def f(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (X,))

    expected = slope_along(f, values, directions)
    torch.testing.assert_close(torch.func.jvp(f, values, directions)[1], expected, rtol=1e-6, atol=1e-8)
    with fwAD.dual_level():
        tangent = fwAD.unpack_dual(f(*map(fwAD.make_dual, values, directions))).tangent
    torch.testing.assert_close(tangent, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_forward_mode_at_the_edges(backend: str) -> None:
    """The tangent is the definition's slope, where what autograd makes of the value is NaN."""
    x = torch.tensor([89.0, 104.0, float("inf")])
    assert torch.equal(torch.func.jvp(gp.activation("x*tanh(exp(x))", backend=backend), (x,), (torch.ones(3),))[1], torch.ones(3))
    assert torch.func.jvp(lowered("x*tanh(exp(x))", 0), (x,), (torch.ones(3),))[1].isnan().any()


@every_text
@every_backend
def test_batched_gradients(text: str, backend: str) -> None:
    module = prepared(text, backend)
    jacobian, hessian = functional.jacobian(module, X), functional.hessian(lambda v: module(v).square().sum(), X)
    x = X.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that some of torch's operations are done in a loop
        cotangents = torch.eye(12, dtype=X.dtype).reshape(12, 3, 4)
        (rows,) = torch.autograd.grad(module(x), x, cotangents, is_grads_batched=True)
        torch.testing.assert_close(rows.reshape(jacobian.shape), jacobian)
        for strategy in ("reverse-mode", "forward-mode"):
            torch.testing.assert_close(functional.jacobian(module, X, strategy=strategy, vectorize=True), jacobian)
            found = functional.hessian(lambda v: module(v).square().sum(), X, vectorize=True, outer_jacobian_strategy=strategy)
            torch.testing.assert_close(found, hessian)


@every_backend
def test_transforms_inside_of_compile(backend: str) -> None:
    module = prepared(TEXTS[4], backend)
    torch._dynamo.reset()
    tangent = torch.compile(lambda x, t: torch.func.jvp(module, (x,), (t,))[1], backend="aot_eager")
    torch.testing.assert_close(tangent(X, TANGENT), torch.func.jvp(module, (X,), (TANGENT,))[1])
    slopes = torch.func.vmap(torch.func.grad(lambda v: module(v).sum()))
    torch.testing.assert_close(torch.compile(slopes, backend="aot_eager")(X), slopes(X))


def test_compiled_gradients_at_the_edges_are_the_lowering_s() -> None:
    x = torch.tensor([89.0, float("inf")], requires_grad=True)
    torch._dynamo.reset()
    compiled = torch.compile(gp.activation("x*tanh(exp(x))", backend="eager"), backend="aot_eager", fullgraph=True)
    assert torch.equal(torch.autograd.grad(compiled(x).sum(), x)[0], torch.ones(2))


@every_text
@every_backend
def test_traces(text: str, backend: str) -> None:
    model = network(text, backend)
    x = torch.randn(7, 4, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)  # what depends on the size of x
        with torch.no_grad():
            without_gradients = torch.jit.trace(model, torch.randn(3, 4))
        with_gradients = torch.jit.trace(model, torch.randn(3, 4))
    for traced in (without_gradients, with_gradients):
        torch.testing.assert_close(traced(x), model(x))
        torch.testing.assert_close(torch.autograd.grad(traced(x).sum(), x), torch.autograd.grad(model(x).sum(), x))


@every_text
@pytest.mark.parametrize(("backend", "strict"), [("auto", False), ("auto", True), ("eager", False)])
def test_exports(text: str, backend: str, strict: bool) -> None:
    model = network(text, backend)
    program = saved(torch.export.export(model, (torch.randn(3, 4),), dynamic_shapes=({0: torch.export.Dim("n")},), strict=strict))
    x = torch.randn(7, 4)
    torch.testing.assert_close(program.module()(x), model(x))
    operations = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(name.startswith("aten.") for name in operations), operations


@pytest.mark.parametrize("text", ["mish(x)", "swish(x)"])
@every_backend
def test_a_module_that_was_never_called_is_exported(text: str, backend: str) -> None:
    module = gp.activation(text, backend=backend)
    program = saved(torch.export.export(module, (torch.randn(3, 4),)))
    torch.testing.assert_close(program.module()(X[:3].float()), module(X.float()))


def saved(program: Any) -> Any:
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


@pytest.mark.parametrize("text", ["mish(x)", "gelu(x)", "elu(x)", "softplus(x)", TEXTS[2]])
def test_onnx(text: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model, x = network(text, "auto"), 30 * torch.randn(7, 4)
    file = io.BytesIO()
    torch.onnx.export(model, (torch.randn(3, 4),), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    (found,) = runtime.InferenceSession(file.getvalue()).run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), model(x).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text", ["gelu(x)", "elu(x)", "sinh(x)", "expm1(x)", "erfc(x)"])
def test_operations_that_the_tracing_exporter_lacks(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.cat([torch.linspace(-50, 50, 201), torch.tensor([1e-6, -1e-6, float("inf"), -float("inf"), float("nan")])])
    expected = lowered(text, 0)(x)
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    torch.testing.assert_close(lowered(text, 0)(x), expected, rtol=2e-6, atol=2e-6, equal_nan=True)


@every_text
def test_fx_sees_a_leaf(text: str) -> None:
    model, x = network(text, "auto"), torch.randn(7, 4)
    traced = torch.fx.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1", "2"]
    torch.testing.assert_close(traced(x), model(x))


def test_script_names_what_works() -> None:
    with pytest.raises(TypeError, match=r"torch\.jit\.trace, torch\.export and torch\.compile can"):
        torch.jit.script(network("mish(x)", "auto"))


@every_text
@every_backend
def test_negated_views(text: str, backend: str) -> None:
    module = prepared(text, backend)
    negated = torch._neg_view(X.clone())
    assert negated.is_neg()
    torch.testing.assert_close(module(negated), module(-X))
    imaginary = torch.complex(X, TANGENT).conj().imag
    torch.testing.assert_close(module(imaginary), module(-TANGENT))
    x = X.clone().requires_grad_()
    y = module(x)
    expected = torch.autograd.grad(y, x, -TANGENT, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(y, x, torch._neg_view(TANGENT.clone())), expected)
    for name, parameter in list(module.named_parameters()):
        other = torch.func.functional_call(module, {name: torch._neg_view(parameter.detach().clone())}, (X,))
        torch.testing.assert_close(other, torch.func.functional_call(module, {name: -parameter}, (X,)))


def test_zeros_without_memory() -> None:
    assert torch.equal(gp.activation("cos(x)")(torch._efficientzerotensor((3,))), torch.ones(3))
