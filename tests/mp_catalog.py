"""The pointwise activations of the catalogue in mpmath, as their papers write them, parameters at their initial values."""

from collections.abc import Callable
from typing import Any, Final

from mpmath import mp, mpf

Formula = Callable[[Any], Any]
DIGITS: Final = 400  # a float64 goes down to 1e-308, and a difference quotient loses 40 more
_STEP: Final = mpf(10) ** -20


def exp(t: Any) -> Any:
    """exp, but for an argument so large that its result would not fit in memory."""
    if abs(t) < 10**7:
        return mp.exp(t)
    return mp.inf if t > 0 else mpf(0)


def tanh(t: Any) -> Any:
    return mp.tanh(t) if abs(t) < 10**4 else mp.sign(t)


def erf(t: Any) -> Any:
    return mp.erf(t) if abs(t) < 10**3 else mp.sign(t)


def sigmoid(t: Any) -> Any:
    return 1 / (1 + exp(-t))


def softplus(t: Any) -> Any:
    return mp.log1p(exp(t)) if t < 10**3 else t


def relu(t: Any) -> Any:
    return max(t, mpf(0))


def elu(t: Any) -> Any:
    return t if t > 0 else exp(t) - 1


def clip(t: Any, low: float, high: float) -> Any:
    return min(max(t, mpf(low)), mpf(high))


def gelu(t: Any) -> Any:
    return t * (1 + erf(t / mp.sqrt(2))) / 2


def sinc(t: Any) -> Any:
    return mpf(1) if t == 0 else mp.sin(mp.pi * t) / (mp.pi * t)


def tail(t: Any) -> Any:
    """exp(-t^2)."""
    return exp(-t * t)


def sech(t: Any) -> Any:
    return 2 * exp(-abs(t)) / (1 + exp(-2 * abs(t)))


def chebyshev_gate(t: Any) -> Any:
    squares = [mp.chebyt(k, tanh(t)) ** 2 for k in range(4)]
    return t * (squares[0] + squares[1]) / sum(squares)


def colu(t: Any) -> Any:
    return t / (1 - t * exp(-(t + exp(t))))


def derivatives(f: Formula, x: Any) -> tuple[Any, Any, bool]:
    """f'(x), f''(x), and whether f has a kink at x, from differences."""
    h = _STEP * min(abs(x), 1) if x else _STEP
    below, here, above = f(x - h), f(x), f(x + h)
    left, right = (here - below) / h, (above - here) / h
    kink = abs(left - right) > mpf(10) ** -9 * (abs(left) + abs(right))
    return (left + right) / 2, (right - left) / h, kink


R: Final = mpf  # a decimal, from its text
FORMULAS: Final[dict[str, Formula]] = {
    "identity": lambda x: x,
    "relu": relu,
    "relu6": lambda x: clip(x, 0, 6),
    "leaky_relu": lambda x: x if x > 0 else R("0.01") * x,
    "prelu": lambda x: x if x > 0 else x / 4,
    "rrelu": lambda x: x if x > 0 else x * 11 / 48,
    "elu": elu,
    "celu": elu,
    "selu": lambda x: R("1.0507009873554805") * (x if x > 0 else R("1.6732632423543772") * (exp(x) - 1)),
    "gelu": gelu,
    "gelu_tanh": lambda x: x * (1 + tanh(mp.sqrt(2 / mp.pi) * (x + R("0.044715") * x**3))) / 2,
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * tanh(softplus(x)),
    "softplus": softplus,
    "softsign": lambda x: x / (1 + abs(x)),
    "tanh": tanh,
    "sigmoid": sigmoid,
    "logsigmoid": lambda x: -softplus(-x),
    "hardtanh": lambda x: clip(x, -1, 1),
    "hardsigmoid": lambda x: clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * clip(x + 3, 0, 6) / 6,
    "tanhshrink": lambda x: x - tanh(x),
    "softshrink": lambda x: mp.sign(x) * relu(abs(x) - mpf(1) / 2),
    "hardshrink": lambda x: x if abs(x) > mpf(1) / 2 else mpf(0),
    "threshold": lambda x: x if x > R("0.1") else mpf(20),
    "swish": lambda x: x * sigmoid(x),
    "eswish": lambda x: R("1.375") * x * sigmoid(x),
    "quick_gelu": lambda x: x * sigmoid(R("1.702") * x),
    "dsilu": lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))),
    "aria2": lambda x: x * (1 + exp(-2 * x)) ** (-mpf(3) / 2),
    "lisht": lambda x: x * tanh(x),
    "tanhexp": lambda x: x * tanh(exp(x)),
    "tanhsoft_1": lambda x: tanh(R("0.87") * x) * softplus(x),
    "tanhsoft_2": lambda x: x * tanh(R("0.6") * exp(x)),
    "serf": lambda x: x * erf(softplus(x)),
    "erfact": lambda x: x * erf(R("0.75") * exp(R("0.75") * x)),
    "pserf": lambda x: x * erf(R("1.25") * softplus(R("0.85") * x)),
    "smish": lambda x: x * tanh(mp.log(1 + sigmoid(x))),
    "logish": lambda x: x * mp.log(1 + sigmoid(x)),
    "phish": lambda x: x * tanh(gelu(x)),
    "gish": lambda x: x * mp.log(2 - exp(-exp(x))),
    "golu": lambda x: x * exp(-exp(-x)),
    "colu": colu,
    "resech": lambda x: x * sech(x),
    "elish": lambda x: (x if x >= 0 else exp(x) - 1) * sigmoid(x),
    "hard_elish": lambda x: (x if x >= 0 else exp(x) - 1) * clip((x + 1) / 2, 0, 1),
    "hard_mish": lambda x: x * clip(x + 2, 0, 2) / 2,
    "squared_relu": lambda x: relu(x) ** 2,
    "star_relu": lambda x: R("0.8944") * relu(x) ** 2 - R("0.4472"),
    "flexible_relu": relu,
    "lelelu": lambda x: x if x > 0 else x / 10,
    "thresholded_relu": lambda x: x if x > 1 else mpf(0),
    "plu": lambda x: max((x + 1) / 10 - 1, min((x - 1) / 10 + 1, x)),
    "modulus": abs,
    "softmodulusq": lambda x: x**2 * (2 - abs(x)) if abs(x) <= 1 else abs(x),
    "squareplus": lambda x: (x + mp.sqrt(x**2 + 4)) / 2,
    "shifted_softplus": lambda x: softplus(x) - mp.log(2),
    "soft_plus_plus": lambda x: softplus(x) + x / 2 - mp.log(2),
    "pelu": elu,
    "xielu": lambda x: R("0.8") * (x**2 if x > 0 else exp(x) - 1 - x) + x / 2,
    "bent_identity": lambda x: (mp.sqrt(x**2 + 1) - 1) / 2 + x,
    "isru": lambda x: x / mp.sqrt(1 + x**2),
    "isrlu": lambda x: x if x > 0 else x / mp.sqrt(1 + x**2),
    "hyper_sinh": lambda x: (exp(x) - exp(-x)) / 6 if x > 0 else x**3 / 4,
    "soft_exponential": lambda x: 4 * (exp(x / 4) - 1) + mpf(1) / 4,
    "lecun_tanh": lambda x: R("1.7159") * tanh(2 * x / 3),
    "penalized_tanh": lambda x: tanh(x) if x > 0 else tanh(x) / 4,
    "dyt": lambda x: tanh(x / 2),
    "arctan": mp.atan,
    "elliott": lambda x: mpf(1) / 2 + x / (2 * (1 + abs(x))),
    "sqnl": lambda x: x - x * abs(x) / 4 if abs(x) < 2 else mp.sign(x),
    "probit": lambda x: (1 + erf(x / mp.sqrt(2))) / 2,
    "cloglog": lambda x: 1 - exp(-exp(x)),
    "loglog": lambda x: exp(-exp(-x)),
    "laplace": lambda x: (1 + erf((x - mp.sqrt(mpf(1) / 2)) * mp.sqrt(2 * mp.pi))) / 2,
    "symlog": lambda x: mp.sign(x) * mp.log(1 + abs(x)),
    "sine": mp.sin,
    "snake": lambda x: x + mp.sin(x) ** 2,
    "gcu": lambda x: x * mp.cos(x),
    "cosid": lambda x: mp.cos(x) - x,
    "minsin": lambda x: min(x, mp.sin(x)),
    "arctid": lambda x: mp.atan(x) ** 2 - x,
    "maxtanh": lambda x: max(x, tanh(x)),
    "maxsig": lambda x: max(x, sigmoid(x)),
    "cube": lambda x: x**3,
    "cosine_squasher": lambda x: (1 + mp.sin(clip(x, -mp.pi / 2, mp.pi / 2))) / 2,
    "gaussian": tail,
    "multiquadric": lambda x: mp.sqrt(1 + x**2),
    "inverse_multiquadric": lambda x: 1 / mp.sqrt(1 + x**2),
    "mexican_hat": lambda x: 2 / (mp.sqrt(3) * mp.root(mp.pi, 4)) * (1 - x**2) * tail(x / mp.sqrt(2)),
    "rational": lambda x: (R("0.0218") + R("0.5") * x + R("1.5957") * x**2 + R("1.1915") * x**3) / (1 + R("2.383") * x**2),
    "gelusine": lambda x: gelu(x) + mp.sin(x) / 10,
    "gelu_sinc_perturbation": lambda x: gelu(x) * (1 + sinc(x) / 2),
    "gmtu": lambda x: tanh(R("1.5") * x) * exp(-(x**2) / 5) + x / 10,
    "chebyshev_gate": chebyshev_gate,
}
