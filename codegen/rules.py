"""Simplification rules, as data: what stands left is replaced by what stands right. Both are expressions of the language.

`a b c` stand for any real expression, `p` for any condition, `k m` for an expression of constants
alone, `u v` for one that is not. The rules fold what
composition and differentiation leave behind, share what can be shared, and prefer the numerically stable form. A test reads this
table and checks every rule against high-precision arithmetic.
"""

from typing import Final

RULES: Final[tuple[tuple[str, str], ...]] = (
    # Neutral elements and signs
    ("a + 0", "a"),
    ("a - 0", "a"),
    ("0 - a", "-a"),
    ("a*1", "a"),
    ("a/1", "a"),
    ("a*(-1)", "-a"),
    ("a/(-1)", "-a"),
    ("-(-a)", "a"),
    ("a + (-b)", "a - b"),
    ("a - (-b)", "a + b"),
    ("(-a) - b", "-(a + b)"),
    ("(-u)*b", "-(u*b)"),
    ("(-u)/b", "-(u/b)"),
    ("a/(-u)", "-(a/u)"),
    # Constants together
    ("k*(m*u)", "(k*m)*u"),
    ("(k*u)*v", "k*(u*v)"),
    ("(k*u)/m", "(k/m)*u"),
    ("k + (m + u)", "(k + m) + u"),
    ("-(k*u)", "(-k)*u"),
    ("k*(-u)", "(-k)*u"),
    # Powers
    ("a*a", "a^2"),
    ("a*a^2", "a^3"),
    ("a^2*a^2", "a^4"),
    ("a*a^3", "a^4"),
    ("(-a)^2", "a^2"),
    ("abs(a)^2", "a^2"),
    ("sqrt(a^2)", "abs(a)"),
    ("1/sqrt(a)", "rsqrt(a)"),
    # Parity
    ("abs(-a)", "abs(a)"),
    ("abs(abs(a))", "abs(a)"),
    ("a*sign(a)", "abs(a)"),
    ("cos(-a)", "cos(a)"),
    ("sin(-a)", "-sin(a)"),
    ("tanh(-a)", "-tanh(a)"),
    ("erf(-a)", "-erf(a)"),
    ("sinc(-a)", "sinc(a)"),
    ("sinc_slope(-a)", "-sinc_slope(a)"),
    # Choice
    ("where(p, a, a)", "a"),
    ("where(not p, a, b)", "where(p, b, a)"),
    ("not (not p)", "p"),
    ("where(p, a, 0) + where(p, 0, b)", "where(p, a, b)"),
    ("where(p, 1, a)*b", "where(p, b, a*b)"),
    ("where(p, a, 1)*b", "where(p, a*b, b)"),
    ("min(a, a)", "a"),
    ("max(a, a)", "a"),
    # Inverses
    ("log(exp(a))", "a"),
    ("log1p(expm1(a))", "a"),
    # Stable forms
    ("exp(-a^2)", "gaussian(a)"),
    ("exp(-0.5*a^2)", "half_gaussian(a)"),
    ("exp(-(a^2/2))", "half_gaussian(a)"),
    ("erfc(sqrt(1/2)*a)", "2*normal_cdf(-a)"),
    ("erfc(-sqrt(1/2)*a)", "2*normal_cdf(a)"),
    ("erfc(a/sqrt(2))", "2*normal_cdf(-a)"),
    ("erfc(-(a/sqrt(2)))", "2*normal_cdf(a)"),
    ("log(1 + a)", "log1p(a)"),
    ("exp(a) - 1", "expm1(a)"),
    ("1 + erf(a)", "erfc(-a)"),
    ("1 - erf(a)", "erfc(a)"),
    ("exp(a)/(1 + exp(a))", "sigmoid(a)"),
    ("(a*exp(b))/(1 + exp(b))", "a*sigmoid(b)"),
    ("expm1(a)/(1 + exp(a))", "tanh(0.5*a)"),
    ("1/(1 + exp(-a))", "sigmoid(a)"),
    ("1/(1 + exp(a))", "sigmoid(-a)"),
    ("a/(1 + exp(-b))", "a*sigmoid(b)"),
    ("a/(1 + exp(b))", "a*sigmoid(-b)"),
    ("1 - sigmoid(a)", "sigmoid(-a)"),
    ("log1p(exp(a))", "softplus(a)"),
    ("log(sigmoid(a))", "logsigmoid(a)"),
    ("1 - tanh(a)^2", "tanh_slope(a)"),
    ("1 - tanh_slope(a)", "tanh(a)^2"),
    ("tanh_slope(-a)", "tanh_slope(a)"),
    ("gaussian(-a)", "gaussian(a)"),
    ("half_gaussian(-a)", "half_gaussian(a)"),
    # exp(-softplus(a)) = sigmoid(-a), so one exponential serves value and derivative, and nothing cancels
    ("tanh(softplus(a))", "sigmoid(a)*(1 + sigmoid(-a))/(1 + sigmoid(-a)^2)"),
    ("a - tanh(a)", "tanh_gap(a)"),
)
