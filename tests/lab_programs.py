"""Programs that use everything that a network can be trained with: parameters, statistics, shifts, and all of them together."""

PROGRAMS = {
    "pointwise": "gelu(x) + 0.1*sin(3*x)",
    "kink": "relu(x)",
    "linear": "x",
    "without x": "0.5",
    "scalar": "param beta = 1.5; x*sigmoid(beta*x)",
    "channel": "param slope[channel] = 0.25; where(x > 0, x, slope*x)",
    "scalar and channel": "param a = 0.5; param s[channel] = 0.7; a*x + s*tanh(s*x)",
    "over tensor": "(x - mean(x))/(std(x) + 0.1)",
    "over features": "z = (x - mean(x, over=features))/(std(x, over=features) + 0.1); z*sigmoid(z)",
    "over batch": "z = (x - mean(x, over=batch))/(std(x, over=batch) + 0.1); z*sigmoid(z)",
    "nested statistics": "u = x - mean(x, over=features); v = u/(rms(u, over=batch) + 0.1); tanh(v) + 0.1*std(v)",
    "shift": "silu(x) + 0.1*shift(x, 1)",
    "shift to the left": "silu(x)*sigmoid(shift(x, -3))",
    "shift further than a layer is wide": "silu(x) + 0.1*shift(x, 100) - 0.1*shift(x, -67)",
    "shift of an expression": "x + 0.5*shift(tanh(x)*x, 2)",
    "shift of a parameter": "param s[channel] = 0.5; silu(x) + 0.2*shift(s*x, 1) + 0.1*shift(s, -2)*x",
    "shift of a statistic": "x*sigmoid(x - shift(mean(x, over=batch), 1))",
    "everything": "param b = 1; param s[channel] = 0.3; z = (x - mean(x))/(std(x) + 0.1)\n"
    "silu(b*z) + s*shift(tanh(z), -1)*rms(x, over=features)",
}
# By what a group's kernels have to do.
GROUPS = {
    "pointwise": ["gelu(x) + 0.1*sin(3*x)", "x*sigmoid(1.3*x)", "x*sigmoid(0.4*x)", "relu(x)"],
    "parametric": [PROGRAMS["scalar and channel"], PROGRAMS["scalar"]],
    "statistics": [PROGRAMS["over batch"]],
    "shift": [PROGRAMS["shift"], PROGRAMS["shift of a parameter"]],
}
