"""The module and its op inside torch: gradients of any order, transforms, compilation, saving, shapes and dtypes."""

import copy
import io
import pickle

import pytest
import torch
from definition import with_slope
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.gradcheck import GradcheckError

import gp
from kernels.lowering import lowered

POINTWISE = ["gelu(x) + 0.1*sin(x)", "x*tanh(exp(x))", "x*(1 + 0.5*sinc(x))"]
PARAMETRIC = ["param beta = 0.7\nx*sigmoid(beta*x)", "param slope[channel] = 0.25\nwhere(x > 0, x, slope*x)"]
STATISTICS = ["z = (x - mean(x))/(std(x) + 1e-6)\nz*exp(-z^2)", "x*sigmoid(rms(x, over=features) - mean(x^2, over=batch))"]
SHIFTS = ["x*tanh(shift(x, 1) - 0.5*shift(x, -2))", "param s[channel] = 0.5\nshift(s*x, 1)*x"]
ALL = [*POINTWISE, *PARAMETRIC, *STATISTICS, *SHIFTS]


def prepared(text, dtype=torch.float64, backend="auto"):
    module = gp.activation(text, backend=backend)
    module(torch.zeros(4, 6))
    return module.to(dtype)


def pure(module):
    names = [n for n, _ in module.named_parameters()]
    return lambda x, *values: torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_gradients_to_the_second_order(text, backend):
    module = prepared(text, backend=backend)
    inputs = (torch.randn(4, 6, dtype=torch.float64, requires_grad=True), *module.parameters())
    assert gradcheck(pure(module), inputs)
    assert gradgradcheck(pure(module), inputs)


@pytest.mark.parametrize("text", ALL)
def test_third_derivative_against_autograd(text):
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)

    def third(function):
        value = function(x)
        for _ in range(3):
            (value,) = torch.autograd.grad(value.sum() + 0 * x.sum(), x, create_graph=True)
        return value

    module = prepared(text)
    by_autograd = third(lambda v: lowered(text, 0)(v, *module.parameters()))
    for found in (third(module), third(prepared(text, backend="eager"))):
        torch.testing.assert_close(found, by_autograd, rtol=1e-7, atol=1e-9)


def test_a_wrong_gradient_would_fail():
    module, other = prepared("sin(x)"), prepared("cos(x)")

    with pytest.raises(GradcheckError):
        gradcheck(with_slope(module, lambda x: 1.01 * other(x)), (torch.randn(4, dtype=torch.float64, requires_grad=True),))


@pytest.mark.parametrize("text", ALL)
def test_keeps_x_and_the_parameters_only(text):
    module = prepared(text, torch.float32)
    x = torch.randn(32, 6, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        module(x)
    allowed = {x.data_ptr(), *(p.data_ptr() for p in module.parameters())}
    assert {t.data_ptr() for t in kept} <= allowed
    assert sum(t.numel() for t in kept) == x.numel() + sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("text", [POINTWISE[0], PARAMETRIC[1], STATISTICS[1], SHIFTS[0]])
def test_torch_compile_in_one_graph(text):
    module = prepared(text, torch.float32)
    x = torch.randn(8, 6, requires_grad=True)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    y = compiled(x)
    torch.testing.assert_close(y, module(x))
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x), torch.autograd.grad(module(x).sum(), x))


@pytest.mark.parametrize("text", ["gelusine(x)", "turbulent(x)", "param b = 1.0\nx*sigmoid(b*x)"])
def test_torch_compile_of_the_eager_backend(text):
    module = gp.activation(text, backend="eager")
    x = torch.randn(8, 6, requires_grad=True)
    inputs = [x, *module.parameters()]
    y = torch.compile(module, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(y, module(x))
    torch.testing.assert_close(torch.autograd.grad(y.sum(), inputs), torch.autograd.grad(module(x).sum(), inputs))


@pytest.mark.parametrize("text", ALL)
def test_transforms(text):
    module, plain = prepared(text), prepared(text, backend="eager")
    parameters = [p.detach() for p in module.parameters()]
    x = torch.randn(3, 4, 6, dtype=torch.float64)
    batched = torch.func.vmap(lambda v: pure(module)(v, *parameters))
    torch.testing.assert_close(batched(x), torch.stack([plain(v) for v in x]))
    gradient = torch.func.grad(lambda v: pure(module)(v, *parameters).square().sum())
    expected = torch.func.grad(lambda v: pure(plain)(v, *parameters).square().sum())
    torch.testing.assert_close(gradient(x[0]), expected(x[0]))
    torch.testing.assert_close(torch.func.vmap(gradient)(x), torch.stack([expected(v) for v in x]))
    torch.testing.assert_close(torch.func.jacrev(module)(x[0]), torch.func.jacrev(plain)(x[0]))


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_the_dtype_of_x(text, dtype):
    module = prepared(text, torch.float32)
    layer = torch.nn.Linear(6, 6)
    with torch.autocast("cpu", dtype=dtype):
        y = module(layer(torch.randn(4, 6)))
    assert y.dtype == dtype
    y.float().sum().backward()
    assert torch.isfinite(layer.weight.grad).all()


@pytest.mark.parametrize("text", ALL)
def test_copies_and_state(text):
    module = prepared(text, torch.float32)
    for parameter in module.parameters():
        parameter.data.uniform_(0.1, 1)
    x = torch.randn(5, 6)
    expected = module(x)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    fresh = gp.activation(text)
    fresh.load_state_dict(torch.load(file))
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), fresh):
        torch.testing.assert_close(other(x), expected, rtol=0, atol=0)
    assert all(a is not b for a, b in zip(copy.deepcopy(module).parameters(), module.parameters(), strict=True))


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0), (6,), (2, 3, 6), (2, 3, 4, 6)])
def test_shapes(text, shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    module, plain = gp.activation(text), gp.activation(text, backend="eager")
    if not (shape == () and text in SHIFTS):  # torch.roll has no axis to roll a number along
        torch.testing.assert_close(module(x), plain(x), equal_nan=True)
    y = module(x)
    assert y.shape == x.shape
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.shape == x.shape
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("text", ALL)
def test_layouts(text):
    base = torch.randn(4, 6, 5, 3, dtype=torch.float64)
    layouts = [
        base.to(memory_format=torch.channels_last),
        base.transpose(0, 1).contiguous().transpose(0, 1),
        base[::2, :, ::2],
        base.expand(2, 4, 6, 5, 3)[0],
    ]
    for x in layouts:
        leaf = x.detach().requires_grad_()
        module, plain = prepared_for(text, leaf), prepared_for(text, leaf, "eager")
        y, expected = module(leaf), plain(leaf)
        torch.testing.assert_close(y, expected)
        g = torch.randn(x.shape, dtype=x.dtype)
        torch.testing.assert_close(torch.autograd.grad(y, leaf, g), torch.autograd.grad(expected, leaf, g))
        assert y.stride() == torch.empty_like(leaf).stride()


def prepared_for(text, x, backend="auto"):
    module = gp.activation(text, channel_dim=1, backend=backend)
    module(x)
    return module.double()


def test_results_do_not_depend_on_threads():
    module = prepared("param slope[channel] = 0.25\nslope*x*sigmoid(x - mean(x))", torch.float32)
    x = torch.randn(40_000, 6, requires_grad=True)
    found = []
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        y = module(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), [x, *module.parameters()])])
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("text", "value", "slope"),
    [
        ("x/(1 + abs(x))", (-1.0, 1.0), (0.0, 0.0)),
        ("x*sigmoid(x)", (0.0, float("inf")), (0.0, 1.0)),
        ("x*sigmoid(x) + 0.1*sin(x)", (float("nan"), float("inf")), (float("nan"), float("nan"))),
        ("x*tanh(exp(x))", (0.0, float("inf")), (0.0, 1.0)),
        ("x + sin(x)^2", (float("-inf"), float("inf")), (float("nan"), float("nan"))),
        ("exp(-x^2)*sin(3*x)", (0.0, 0.0), (0.0, 0.0)),
        ("sin(x)", (float("nan"), float("nan")), (float("nan"), float("nan"))),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_limits_at_infinity(text, value, slope, dtype):
    x = torch.tensor([float("-inf"), float("inf"), float("nan")], dtype=dtype, requires_grad=True)
    y = gp.activation(text)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(y, torch.tensor([*value, float("nan")], dtype=dtype), equal_nan=True)
    torch.testing.assert_close(gradient[:2], torch.tensor(slope, dtype=dtype), equal_nan=True)


@pytest.mark.parametrize(
    "text", ["x*tanh(exp(x))", "x*sigmoid(x)", "exp(-x^2)*sin(3*x) + 0.1*x", "x*(1 + 0.5*sinc(x))", "x/(1 + abs(x))", "log(1 + exp(x))"]
)
def test_finite_far_out(text):
    """Finite in exact arithmetic means finite here: no overflow on the way may spoil the value or the derivative."""
    x = torch.tensor([s * v for s in (-1, 1) for v in (1e-45, 1e-38, 1e-10, 30.0, 88.0, 89.0, 104.0, 1e4, 1e20, 1e38)], requires_grad=True)
    y = gp.activation(text)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    exact = x.detach().double().requires_grad_()
    z = gp.activation(text)(exact)
    (slope,) = torch.autograd.grad(z.sum(), exact)
    torch.testing.assert_close(y.double(), z, rtol=1e-5, atol=1e-43)  # 70 steps of the smallest subnormal
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-5, atol=1e-43)


def test_bad_arguments():
    with pytest.raises(ValueError, match="backend must be one of"):
        gp.activation("relu(x)", backend="cuda")
    with pytest.raises(TypeError, match="int64"):
        gp.activation("sin(x)")(torch.arange(3))
    with pytest.raises(ValueError, match="'eager'"):
        gp.activation("sin(x)", backend="triton")(torch.zeros(3))
    with pytest.raises(ValueError, match="'eager'"):
        gp.activation("sin(x)")(torch.zeros(3, device="meta"))
    with pytest.raises(gp.DSLError, match="did you mean 'sin'"):
        gp.activation("sinn(x)")
    with pytest.raises(FileNotFoundError, match=r"nothing\.act"):
        gp.activation("nothing.act")
    module = prepared(PARAMETRIC[1], torch.float32)
    with pytest.raises(ValueError, match="6 values, but x has 5 channels"):
        module(torch.zeros(2, 5))
