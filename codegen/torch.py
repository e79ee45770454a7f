"""Torch source: a function, or its derivative of some order, as plain torch operations.

The derivative is ours, printed as the value is, and not what torch's autograd makes of the value: autograd multiplies backwards, so that a
branch that is not taken, or an exp that overflows beside a tanh that is flat there, turns the gradient into 0*inf = NaN. No way to write
the value avoids that for the whole catalogue. So whoever runs these sources (`kernels.ops`) hands them to autograd order by order, as it
does with the kernels; where only the value can be handed on, as in an export, what differentiates it later is autograd.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

from codegen.asymptotics import guard_products
from codegen.derivative import Result
from codegen.function import Activation, derived, signature
from codegen.graph import Node, Reduction, Source, topological
from codegen.instructions import Span
from codegen.numpy import evaluate
from codegen.operators import TANH_GAP, Operator
from codegen.spelling import spellings

# What torch lacks, or has with other values at the edges.
_HELPERS: Final = {
    "_like": '''def _like(value, x):
    return torch.full((), value, dtype=x.dtype, device=x.device)
''',
    "_shift": '''def _shift(a, places, channel_dim):
    return torch.roll(a, places, channel_dim) if a.dim() else a
''',
    "_channels": '''def _channels(values, x, channel_dim):  # one value per channel, in the shape that goes with x
    return values.reshape([-1 if d == channel_dim % x.dim() else 1 for d in range(x.dim())])
''',
    "_others": '''def _others(a, channel_dim):
    return [d for d in range(a.dim()) if d != channel_dim % a.dim()]
''',
    "_mean_of_features": '''def _mean_of_features(a, channel_dim):
    return torch.mean(a, dim=channel_dim, keepdim=True) if a.dim() else a
''',
    "_mean_of_channels": '''def _mean_of_channels(a, channel_dim):  # torch.mean takes an empty list of dimensions for all of them
    return torch.mean(a, dim=_others(a, channel_dim), keepdim=True) if a.dim() > 1 else a
''',
    "_sum_of_channels": '''def _sum_of_channels(a, channel_dim):
    return torch.sum(a, dim=_others(a, channel_dim)) if a.dim() > 1 else a
''',
    "_root": '''def _root(a):  # the square root, with derivative 0 at 0
    safe = torch.where(a > 0, a, torch.ones_like(a))
    return torch.where(a > 0, torch.sqrt(safe), a)
''',
    "_absorb": '''def _absorb(a, b):  # a product in which an exact zero wins over an infinity
    vanishes = ((a == 0) & (b == b)) | ((b == 0) & (a == a))
    return torch.where(vanishes, torch.zeros_like(vanishes, dtype=a.dtype), a * b)
''',
    "_sign": '''def _sign(a):  # that of NaN is NaN
    return torch.where(a == a, torch.sign(a), a)
''',
    "_expm1": '''def _expm1(a):
    if torch.onnx.is_in_onnx_export():  # for its tracing exporter, which does not know it
        half = torch.tanh(a / 2)
        return torch.where(torch.abs(a) < 1, 2 * half / (1 - half), torch.exp(a) - 1)
    return torch.expm1(a)
''',
    "_erfc": '''def _erfc(a):
    return 1 - torch.erf(a) if torch.onnx.is_in_onnx_export() else torch.erfc(a)
''',
    "_sinh": '''def _sinh(a):  # torch.sinh overflows as soon as exp does
    half, e = torch.exp(0.5 * torch.abs(a)), _expm1(torch.abs(a))
    return _sign(a) * torch.where(torch.abs(a) < 20, 0.5 * (e + e / (e + 1)), half * (0.5 * half))
''',
    "_cosh": '''def _cosh(a):
    half = torch.exp(0.5 * torch.abs(a))
    return half * (0.5 * half) + 0.5 * torch.exp(-torch.abs(a))
''',
    "_cbrt": '''def _cbrt(a):
    return _sign(a) * torch.pow(torch.abs(a), 1 / 3)
''',
    "_softplus": '''def _softplus(a):
    return torch.relu(a) + torch.log1p(torch.exp(-torch.abs(a)))
''',
    "_tanh_gap": '''def _tanh_gap(a):  # a - tanh(a), by its series near 0
    near = torch.abs(a) < (0.25 if a.dtype == torch.float64 else 0.65)
    z2 = torch.square(torch.where(near, a, torch.zeros_like(a)))
    series = torch.zeros_like(z2)
    for coefficient in COEFFICIENTS:
        series = series * z2 + coefficient
    return torch.where(near, a * z2 * series, a - torch.tanh(a))
'''.replace("COEFFICIENTS", repr(TANH_GAP)),
    "_sinc": '''def _sinc(a):  # by the exact remainder: sin(pi*a) of a large a loses digits
    remainder = math.pi * (a - 2 * torch.round(a / 2))
    safe = torch.where(a == 0, torch.ones_like(a), math.pi * a)
    value = torch.where(a == 0, torch.ones_like(a), torch.sin(remainder) / safe)
    return torch.where(torch.isinf(a), torch.zeros_like(a), value)
''',
    "_sinc_slope": '''def _sinc_slope(a):  # by its series near 0
    near = torch.abs(a) < 0.05
    z2 = torch.square(math.pi * torch.where(near, a, torch.zeros_like(a)))
    series = -math.pi**2 * a / 3 * (1 - z2 / 10 * (1 - z2 / 28 * (1 - z2 / 54 * (1 - z2 / 88))))
    far = torch.where(near, torch.ones_like(a), a)
    value = torch.where(near, series, (torch.cos(math.pi * (far - 2 * torch.round(far / 2))) - _sinc(far)) / far)
    return torch.where(torch.isinf(a), torch.zeros_like(a), value)
''',
}  # fmt: skip
_RESERVED: Final = {"torch", "math", "float", "range", "inputs", "d", "channel_dim", "activation", *_HELPERS}


def print_lowering(function: Activation, order: int) -> str:
    """Source of the function's derivative of that order (0: itself), with the inputs and results of `codegen.function.derived`."""
    return print_torch(derived(function, order), signature(function.parameters, order).inputs, function.constants)


def print_torch(results: Sequence[Result], inputs: Sequence[tuple[str, Span]], constants: Sequence[float] = ()) -> str:
    """Source of `activation(x, ..., channel_dim=-1)`, with the other inputs after x in their order; slots read `constants`.

    The k-th result has shape and dtype of the k-th input; more than one are a tuple. It computes in float32 where x has 16 bits, as the
    kernels do. An input whose name would hide something of the source is spelled with an underscore, as is a point in a name.
    """
    roots = guard_products([r.node for r in results])
    order = _computed(roots)
    spelled = spellings((name for name, _ in inputs), _RESERVED | {f"v{k}" for k in range(len(order))})
    lines = [f"    inputs = {', '.join(spelled.values())}{',' if len(inputs) == 1 else ''}"]
    lines.append("    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x")
    for name, span in inputs[1:]:
        text = f"{spelled[name]}.to(x.dtype)"
        lines.append(f"    {spelled[name]} = {f'_channels({text}, x, channel_dim)' if span is Span.CHANNEL else text}")
    names: dict[Node, str] = {}
    for k, node in enumerate(order):
        text = _expression(node, names, spelled, constants)
        if node.args and not node.constant:
            names[node] = f"v{k}"
            lines.append(f"    v{k} = {text}")
        else:
            names[node] = text
    returned = [_result(root, names, result.span, k) for k, (root, result) in enumerate(zip(roots, results, strict=True))]
    lines += [f"    return {returned[0]}"] if len(returned) == 1 else ["    return (", *(f"        {r}," for r in returned), "    )"]
    body = "\n".join([f"def activation({', '.join(spelled.values())}, channel_dim=-1):", *lines])
    helpers = _needed(body)
    imports = ["import math", "", "import torch"] if any("math." in h for h in helpers) else ["import torch"]
    return "\n".join(imports) + "\n\n\n" + "\n\n".join([*helpers, body]) + "\n"


def _computed(roots: Sequence[Node]) -> list[Node]:
    """What the source evaluates: an expression of constants is one number."""
    order = topological(roots)
    needed = set(roots)
    for node in reversed(order):
        if node in needed and not node.constant:
            needed.update(node.args)
    return [node for node in order if node in needed]


def _expression(node: Node, names: Mapping[Node, str], spelled: Mapping[str, str], constants: Sequence[float]) -> str:
    if isinstance(node.attribute, Source):
        name = spelled[node.attribute.name]
        return f"_shift({name}, {node.attribute.shift}, channel_dim)" if node.attribute.shift else name
    if isinstance(node.attribute, Reduction):
        return _mean(_full(node.args[0], names), node.attribute)
    if node.constant:
        value = float(evaluate([node], {"x": 0.0}, constants)[0])
        return str(bool(value)) if node.boolean else _number(value)
    operator = cast(Operator, node.operator)
    if node.name == "where" and node.args[0].constant:
        return names[node.args[1 if names[node.args[0]] == "True" else 2]]
    called = re.search(r"\w\(", operator.torch) is not None  # a function; signs take numbers as they are
    arguments = [_tensor(a, names) if called and not a.boolean else names[a] for a in node.args]
    return operator.torch.format(*arguments, n=node.attribute)


def _tensor(node: Node, names: Mapping[Node, str]) -> str:
    return f"_like({names[node]}, x)" if node.constant else names[node]


def _full(node: Node, names: Mapping[Node, str]) -> str:
    """A value in the shape of x."""
    if node.constant:
        return f"torch.full_like(x, {names[node]})"
    return names[node] if node.span is Span.ELEMENT else f"{names[node]}.expand_as(x)"


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else f'float("{value}")'


def _mean(full: str, reduction: Reduction) -> str:
    if reduction.over == "tensor":
        return f"torch.mean({full})"
    if reduction.over == "features":
        return f"_mean_of_features({full}, channel_dim)"
    text = f"_mean_of_channels({full}, channel_dim)"
    return f"_shift({text}, {reduction.shift}, channel_dim)" if reduction.shift else text


def _result(root: Node, names: Mapping[Node, str], span: Span, k: int) -> str:
    full = _full(root, names)
    if span is Span.ELEMENT:  # never a view of an input
        fresh = root.constant or (root.span is Span.ELEMENT and root.operator != "input")
        return f"{full if fresh else f'{full}.clone()'}.to(inputs[{k}].dtype)"
    text = f"_sum_of_channels({full}, channel_dim)" if span is Span.CHANNEL else f"torch.sum({full})"
    return f"{text}.reshape(inputs[{k}].shape).to(inputs[{k}].dtype)"


def _needed(body: str) -> list[str]:
    text = body
    while True:
        helpers = [source for name, source in _HELPERS.items() if re.search(rf"(?<![\w.]){name}\(", text)]
        if text == "".join(helpers) + body:
            return helpers
        text = "".join(helpers) + body
