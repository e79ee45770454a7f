"""The operator table: the only place where an operator is written down.

An entry says what an operator is (its NumPy reference on float64 is the definition), its derivative with respect to each
argument, written in the language itself, what it costs, and how each backend spells it. Parser hints, graph, differentiation,
printers, kernels, tests and the reference page all read this table; a new operator is one new entry.

In a derivative rule `a`, `b`, `c` are the arguments, `y` is the result and `n` the integer attribute of a power. At a kink the
rules follow torch (design: abs'(0) = 0, a tie of min and max is split evenly, clamp' is 1 on its closed interval).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from codegen import elementary, trigonometry
from codegen.instructions import Block, Value

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """One operator.

    `flops` and `transcendental` are the cost model: additions, multiplications, comparisons and selects count 1, a division or a
    square root 4; a call of an elementary function counts as one transcendental.
    `torch` and `latex` are templates for str.format; `n` in them is the integer attribute. `text` is how the language writes
    it, where that is not a call by name: a sign, or an expression of `a` and `n`. An operator that is not `public` cannot be called by name in a program.
    """

    name: str
    arity: int
    reference: Callable[..., Any]
    derivative: tuple[str, ...]
    kernel: Callable[..., Value]
    torch: str
    latex: str
    flops: int = 1
    transcendental: int = 0
    text: str = ""
    public: bool = True
    commutative: bool = False
    boolean_arguments: tuple[bool, ...] = ()
    boolean_result: bool = False
    domain: str = "all reals"
    doc: str = field(default="")

    def __post_init__(self) -> None:
        if not self.boolean_arguments:
            object.__setattr__(self, "boolean_arguments", (False,) * self.arity)

    def __repr__(self) -> str:
        return f"<operator {self.name}>"


def _sinc(t: Array) -> Any:
    # sin(pi t) through the exact remainder t - 2 round(t/2): sin(pi*t) itself loses t*1e-16.
    remainder = t - 2 * np.round(t / 2)
    return np.where(t == 0, 1.0, np.where(np.isinf(t), 0.0, np.sin(np.pi * remainder) / np.where(t == 0, 1.0, np.pi * t)))


def _sinc_slope(t: Array) -> Any:
    # Below 0.05 the closed form loses 1e-16/t^2; the Taylor series in (pi t)^2 is exact to 1e-17 there with five terms.
    z2 = np.square(np.pi * np.where(np.abs(t) < 0.05, t, 0.0))
    series = -np.pi * np.pi * t / 3 * (1 - z2 / 10 * (1 - z2 / 28 * (1 - z2 / 54 * (1 - z2 / 88))))
    remainder = t - 2 * np.round(t / 2)
    closed = (np.cos(np.pi * remainder) - _sinc(t)) / np.where(t == 0, 1.0, t)
    return np.where(np.abs(t) < 0.05, series, np.where(np.isinf(t), 0.0 / t, closed))


def _absorb(a: Array, b: Array) -> Any:
    # An exact zero wins over an infinity; NaN stays NaN.
    vanishes = ((a == 0) & ~np.isnan(b)) | ((b == 0) & ~np.isnan(a))
    return np.where(vanishes, 0.0, a * b)


def _kernel_absorb(b: Block, x: Value, y: Value) -> Value:
    # NaN out of two numbers is 0*inf and nothing else, and rare: one comparison is what a product pays for it.
    product = x * y
    return b.emit("rare", b.emit("ne", product, product), b.select(b.emit("eq", x, x) & b.emit("eq", y, y), 0.0, product), product)


def _settle(value: Array, a: Array, limit: Array) -> Any:
    return np.where(np.isnan(value) & np.isinf(a), limit, value)


def _kernel_settle(b: Block, value: Value, x: Value, limit: Value) -> Value:
    return b.emit("rare", b.emit("ne", value, value), b.select(b.emit("eq", abs(x), np.inf), limit, value), value)


# Where n = a' b - a b' is within these bounds, n/b/b is as good as it is; beyond, a product may have overflowed or vanished.
SMALLEST: Final = 1e-30
LARGEST: Final = 1e30
_WITHIN: Final = f"abs(c) > {SMALLEST} and abs(c) < {LARGEST}"


def _quotient_slope(other: Array, value: Array, numerator: Array) -> Any:
    size = np.abs(numerator)
    return np.where((size > SMALLEST) & (size < LARGEST), value, other)


def _kernel_quotient_slope(b: Block, other: Value, value: Value, numerator: Value) -> Value:
    size = abs(numerator)
    return b.select((size > SMALLEST) & (size < LARGEST), value, other)


# a - tanh(a) = a^3 * (series in a^2), Taylor coefficients from the highest down. The series converges to pi/2: ten terms leave
# 2e-8 at |a| = 0.65, where the difference itself is good enough for float32, and 1e-16 at 0.25, where it is for float64.
TANH_GAP: Final = (-18888466084 / 194896477400625, 443861162 / 1856156927625, -6404582 / 10854718875, 929569 / 638512875, -21844 / 6081075,
                    1382 / 155925, -62 / 2835, 17 / 315, -2 / 15, 1 / 3)  # fmt: skip


def _tanh_gap(a: Array) -> Any:
    near = np.where(np.abs(a) < 0.25, a, 0.0)
    return np.where(np.abs(a) < 0.25, near**3 * np.polyval(TANH_GAP, near * near), a - np.tanh(a))


def _kernel_tanh_gap(b: Block, x: Value) -> Value:
    square = x * x
    return b.select(abs(x) < (0.25 if x.type == "f64" else 0.65), x * square * b.horner(square, TANH_GAP), x - elementary.tanh(b, x))


def _tanh_slope(a: Array) -> Any:
    t = np.exp(-2 * np.abs(a))
    return 4 * t / np.square(1 + t)


def _kernel_tanh_slope(b: Block, x: Value) -> Value:
    t = elementary.decay(b, x * 2.0)
    reciprocal = 1.0 / (t + 1.0)
    return t * 4.0 * reciprocal * reciprocal


def _sigmoid(a: Array) -> Any:
    t = np.exp(-np.abs(a))
    return np.where(a < 0, t, 1.0) / (1 + t)


def _softplus(a: Array) -> Any:
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


def _logsigmoid(a: Array) -> Any:
    return -_softplus(-a)


# scipy.special takes 0.17 s to import, and only the definitions of these three need it.


def _normal_cdf(a: Array) -> Any:
    from scipy import special

    return special.ndtr(a)


def _erf(a: Array) -> Any:
    from scipy import special

    return special.erf(a)


def _erfc(a: Array) -> Any:
    from scipy import special

    return special.erfc(a)


def _gaussian(a: Array) -> Any:
    return np.exp(-np.square(a))


def _half_gaussian(a: Array) -> Any:
    return np.exp(-0.5 * np.square(a))


def _rsqrt(a: Array) -> Any:
    return 1 / np.sqrt(a)


def _clamp(a: Array, low: Array, high: Array) -> Any:
    return np.minimum(np.maximum(a, low), high)


def _whole_power(a: Array, n: int) -> Any:
    return np.power(a, np.float64(n))


def _unary(
    name: str,
    reference: Callable[..., Any],
    derivative: str,
    *,
    flops: int = 0,
    transcendental: int = 1,
    torch: str = "",
    latex: str = "",
    domain: str = "all reals",
    public: bool = True,
    text: str = "",
    doc: str = "",
) -> Operator:
    kernel: Callable[..., Value] = getattr(elementary if hasattr(elementary, name) else trigonometry, name)
    return Operator(
        name,
        1,
        reference,
        (derivative,),
        kernel,
        torch or f"torch.{name}({{0}})",
        latex or rf"\operatorname{{{{{name}}}}}\left({{0}}\right)",
        flops,
        transcendental,
        text,
        public,
        domain=domain,
        doc=doc,
    )


def _comparison(name: str, sign: str, latex: str, reference: Callable[..., Any]) -> Operator:
    return Operator(
        name, 2, reference, ("0", "0"), lambda b, x, y: b.emit(name, x, y), f"({{0}} {sign} {{1}})", f"{{0}} {latex} {{1}}",
        text=sign, public=False, boolean_result=True,
    )  # fmt: skip


_TABLE: Final = (
    # Arithmetic
    Operator("neg", 1, np.negative, ("-1",), lambda b, x: -x, "(-{0})", "-{0}", text="-", public=False),
    Operator("add", 2, np.add, ("1", "1"), lambda b, x, y: x + y, "({0} + {1})", "{0} + {1}", text="+", public=False, commutative=True),
    Operator("sub", 2, np.subtract, ("1", "-1"), lambda b, x, y: x - y, "({0} - {1})", "{0} - {1}", text="-", public=False),
    Operator("mul", 2, np.multiply, ("b", "a"), lambda b, x, y: x * y, "({0} * {1})", r"{0} \, {1}", text="*", public=False, commutative=True),
    Operator("absorb", 2, _absorb, ("b", "a"), _kernel_absorb, "_absorb({0}, {1})", r"{0} \, {1}", flops=2, text="*", public=False, commutative=True,
             doc="A product in which an exact zero wins over an infinity: what a vanishing gate times a growing factor is in exact arithmetic."),
    Operator("div", 2, np.divide, ("1/b", "-y/b"), lambda b, x, y: x / y, "({0} / {1})", r"\frac{{{0}}}{{{1}}}", flops=4, text="/", public=False, domain="b != 0"),
    Operator("pow", 2, np.power, ("b*a^(b - 1)", "where(a == 0 and b >= 0, 0, y*log(a))"), elementary.pow, "torch.pow({0}, {1})", "{0}^{{{1}}}",
             flops=0, transcendental=2, text="^", public=False, domain="a > 0, or b whole"),
    Operator("ipow", 1, _whole_power, ("n*a^(n - 1)",), elementary.power_integer, "({0} ** {n})", "{0}^{{{n}}}", flops=2, text="a^n", public=False,
             doc="A whole power, by repeated squaring."),
    Operator("square", 1, np.square, ("2*a",), lambda b, x: x * x, "({0} * {0})", "{0}^2", text="a^2"),
    # Comparisons and choice; a comparison with NaN is false, but for !=
    _comparison("lt", "<", "<", np.less), _comparison("le", "<=", r"\le", np.less_equal), _comparison("gt", ">", ">", np.greater),
    _comparison("ge", ">=", r"\ge", np.greater_equal), _comparison("eq", "==", "=", np.equal), _comparison("ne", "!=", r"\ne", np.not_equal),
    Operator("and", 2, np.logical_and, ("0", "0"), lambda b, x, y: x & y, "({0} & {1})", r"{0} \land {1}", text="and", public=False, boolean_arguments=(True, True), boolean_result=True, commutative=True),
    Operator("or", 2, np.logical_or, ("0", "0"), lambda b, x, y: x | y, "({0} | {1})", r"{0} \lor {1}", text="or", public=False, boolean_arguments=(True, True), boolean_result=True, commutative=True),
    Operator("not", 1, np.logical_not, ("0",), lambda b, x: ~x, "(~{0})", r"\lnot {0}", text="not", public=False, boolean_arguments=(True,), boolean_result=True),
    Operator("where", 3, np.where, ("0", "where(a, 1, 0)", "where(a, 0, 1)"), lambda b, c, x, y: b.select(c, x, y), "torch.where({0}, {1}, {2})",
             r"\begin{{cases}} {1} & {0} \\ {2} & \text{{otherwise}} \end{{cases}}", boolean_arguments=(True, False, False)),
    Operator("settle", 3, _settle, ("1", "0", "0"), _kernel_settle, "torch.where(torch.isnan({0}) & torch.isinf({1}), {2}, {0})", "{0}", text="a", public=False,
             doc="a, or where that is NaN at an infinite b, its limit c."),
    Operator("quotient_slope", 3, _quotient_slope, (f"where({_WITHIN}, 0, 1)", f"where({_WITHIN}, 1, 0)", "0"), _kernel_quotient_slope,
             f"torch.where((torch.abs({{2}}) > {SMALLEST}) & (torch.abs({{2}}) < {LARGEST}), {{1}}, {{0}})", "{0}", text="a", public=False, flops=4,
             doc="The slope of a quotient: b, which a numerator c gives that cancels nothing, where c is well within the range of numbers, else a."),
    Operator("min", 2, np.minimum, ("where(a < b, 1, where(a > b, 0, 0.5))", "where(a < b, 0, where(a > b, 1, 0.5))"), elementary.minimum,
             "torch.minimum({0}, {1})", r"\min\left({0}, {1}\right)", commutative=True),
    Operator("max", 2, np.maximum, ("where(a > b, 1, where(a < b, 0, 0.5))", "where(a > b, 0, where(a < b, 1, 0.5))"), elementary.maximum,
             "torch.maximum({0}, {1})", r"\max\left({0}, {1}\right)", commutative=True),
    Operator("clamp", 3, _clamp, ("where(a >= b and a <= c, 1, 0)", "where(a < b and b <= c, 1, 0)", "where(a > c or b > c, 1, 0)"),
             lambda b, x, low, high: elementary.minimum(b, elementary.maximum(b, x, low), high), "torch.minimum(torch.maximum({0}, {1}), {2})", r"\operatorname{{clamp}}\left({0}, {1}, {2}\right)", flops=2),
    # Elementary functions
    _unary("abs", np.abs, "sign(a)", flops=1, transcendental=0, latex=r"\left|{0}\right|"),
    _unary("sign", np.sign, "0", flops=3, transcendental=0, torch="_sign({0})"),
    _unary("floor", np.floor, "0", flops=1, transcendental=0, latex=r"\left\lfloor {0} \right\rfloor"),
    _unary("round", np.round, "0", flops=2, transcendental=0, doc="To the nearest whole number, halves to even."),
    _unary("sqrt", np.sqrt, "0.5/y", flops=4, transcendental=0, latex=r"\sqrt{{{0}}}", domain="a >= 0"),
    Operator("root", 1, np.sqrt, ("where(y > 0, 0.5/y, 0)",), elementary.sqrt, "_root({0})", r"\sqrt{{{0}}}", flops=4, public=False, text="sqrt(a)",
             doc="The square root inside std and rms: its derivative at 0 is 0, as torch.std has it."),
    _unary("rsqrt", _rsqrt, "-0.5/a*y", flops=8, transcendental=0, latex=r"{0}^{{-1/2}}", domain="a > 0"),
    _unary("cbrt", np.cbrt, "1/(3*y^2)", torch="_cbrt({0})", latex=r"\sqrt[3]{{{0}}}"),
    _unary("exp", np.exp, "y", latex="e^{{{0}}}"),
    _unary("expm1", np.expm1, "exp(a)", torch="_expm1({0})"),
    _unary("log", np.log, "1/a", latex=r"\ln\left({0}\right)", domain="a > 0"),
    _unary("log1p", np.log1p, "1/(1 + a)", domain="a > -1"),
    _unary("sin", np.sin, "cos(a)", latex=r"\sin\left({0}\right)"),
    _unary("cos", np.cos, "-sin(a)", latex=r"\cos\left({0}\right)"),
    _unary("tan", np.tan, "1 + y^2", latex=r"\tan\left({0}\right)"),
    _unary("asin", np.arcsin, "1/sqrt((1 - a)*(1 + a))", latex=r"\arcsin\left({0}\right)", domain="-1 <= a <= 1"),
    _unary("acos", np.arccos, "-1/sqrt((1 - a)*(1 + a))", latex=r"\arccos\left({0}\right)", domain="-1 <= a <= 1"),
    _unary("atan", np.arctan, "1/(1 + a^2)", latex=r"\arctan\left({0}\right)"),
    _unary("sinh", np.sinh, "cosh(a)", torch="_sinh({0})", latex=r"\sinh\left({0}\right)"),
    _unary("cosh", np.cosh, "sinh(a)", torch="_cosh({0})", latex=r"\cosh\left({0}\right)"),
    _unary("tanh", np.tanh, "tanh_slope(a)", latex=r"\tanh\left({0}\right)"),
    Operator("tanh_slope", 1, _tanh_slope, ("-2*y*tanh(a)",), _kernel_tanh_slope, "(4 * torch.sigmoid(2 * {0}) * torch.sigmoid(-2 * {0}))", r"\operatorname{{sech}}^2\left({0}\right)", flops=8, transcendental=1,
             text="4*sigmoid(2*a)*sigmoid(-2*a)", public=False, doc="1 - tanh(a)^2 = 1/cosh(a)^2, which cancels for large |a| in the first form and overflows in the second."),
    _unary("asinh", np.arcsinh, "where(abs(a) > 1e9, 1/abs(a), 1/sqrt(1 + clamp(a, -1e9, 1e9)^2))"),
    _unary("acosh", np.arccosh, "1/(sqrt(a - 1)*sqrt(a + 1))", domain="a >= 1"),
    _unary("atanh", np.arctanh, "1/((1 - a)*(1 + a))", domain="-1 < a < 1"),
    Operator("normal_cdf", 1, _normal_cdf, ("0.3989422804014327*half_gaussian(a)",), elementary.normal_cdf, "(0.5 * _erfc(-0.7071067811865476 * {0}))", r"\Phi\left({0}\right)", flops=6, transcendental=1,
             text="erfc(-(sqrt(1/2)*a))/2", public=False, doc="The normal distribution function, accurate relative to itself; 1/sqrt(2 pi) = 0.3989422804014327."),
    Operator("half_gaussian", 1, _half_gaussian, ("-(a*y)",), elementary.half_gaussian, "torch.exp(-0.5 * ({0} * {0}))", "e^{{-{0}^2/2}}", flops=5, transcendental=1,
             text="exp(-0.5*a^2)", public=False, doc="exp(-a^2/2), accurate also where a^2 is large."),
    Operator("tanh_gap", 1, _tanh_gap, ("tanh(a)^2",), _kernel_tanh_gap, "_tanh_gap({0})", r"{0} - \tanh\left({0}\right)", flops=16, transcendental=1, text="a - tanh(a)", public=False,
             doc="a - tanh(a), which cancels near 0, by its series there."),
    _unary("sigmoid", _sigmoid, "y*sigmoid(-a)", flops=6, latex=r"\sigma\left({0}\right)"),
    _unary("logsigmoid", _logsigmoid, "sigmoid(-a)", flops=4, transcendental=2, torch="(-_softplus(-{0}))"),
    _unary("softplus", _softplus, "sigmoid(a)", flops=4, transcendental=2, torch="_softplus({0})"),
    _unary("erf", _erf, "1.1283791670955126*exp(-a^2)", doc="2/sqrt(pi) = 1.1283791670955126"),
    _unary("erfc", _erfc, "-1.1283791670955126*exp(-a^2)", torch="_erfc({0})"),
    _unary("sinc", _sinc, "sinc_slope(a)", flops=6, torch="_sinc({0})", doc="sin(pi t)/(pi t), normalised."),
    _unary("sinc_slope", _sinc_slope, "where(a == 0, -pi^2/3, -pi^2*sinc(a) - 2*y/a)", flops=10, transcendental=2, torch="_sinc_slope({0})", latex=r"\operatorname{{sinc}}'\left({0}\right)", public=True,
           doc="The derivative of sinc, (cos(pi t) - sinc(t))/t, accurate near 0."),
    _unary("gaussian", _gaussian, "-2*a*y", flops=4, torch="torch.exp(-({0} * {0}))", latex="e^{{-{0}^2}}", public=False, text="exp(-a^2)", doc="exp(-a^2), accurate also where a^2 is large."),
)  # fmt: skip

OPERATORS: Final[dict[str, Operator]] = {operator.name: operator for operator in _TABLE}
FUNCTIONS: Final[dict[str, Operator]] = {name: operator for name, operator in OPERATORS.items() if operator.public}
