"""Torch source: the function as a torch user would write it, unfused and differentiated by autograd."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from codegen.graph import Node, Reduction, Source, topological
from codegen.instructions import Span
from codegen.operators import Operator
from codegen.spelling import spellings

# What torch lacks, or spells differently for numbers and tensors. Clamp is written with minimum and maximum of tensors.
_HELPERS = {
    "_like": '''def _like(value, x):
    return value if isinstance(value, torch.Tensor) else torch.full((), value, dtype=x.dtype, device=x.device)
''',
    "_minimum": '''def _minimum(a, b):
    tensor = a if isinstance(a, torch.Tensor) else b
    return torch.minimum(_like(a, tensor), _like(b, tensor))
''',
    "_maximum": '''def _maximum(a, b):
    tensor = a if isinstance(a, torch.Tensor) else b
    return torch.maximum(_like(a, tensor), _like(b, tensor))
''',
    "_where": '''def _where(condition, a, b):
    if not isinstance(condition, torch.Tensor):
        return a if condition else b
    return torch.where(condition, a, b)
''',
    "_root": '''def _root(a):  # the square root, with derivative 0 at 0
    safe = torch.where(a > 0, a, torch.ones_like(a))
    return torch.where(a > 0, torch.sqrt(safe), a)
''',
    "_mean_of_channels": '''def _mean_of_channels(a, channel_dim):  # torch.mean takes an empty list of dimensions for all of them
    others = [d for d in range(a.dim()) if d != channel_dim % a.dim()] if a.dim() else []
    return torch.mean(a, dim=others, keepdim=True) if others else a
''',
    "_cbrt": '''def _cbrt(a):
    return torch.sign(a) * torch.pow(torch.abs(a), 1 / 3)
''',
    "_softplus": '''def _softplus(a):
    return torch.nn.functional.softplus(a, threshold=1e9)
''',
    "_sinc_slope": '''def _sinc_slope(a):
    near = torch.abs(a) < 0.05
    z2 = torch.square(math.pi * torch.where(near, a, torch.zeros_like(a)))
    series = -math.pi**2 * a / 3 * (1 - z2 / 10 * (1 - z2 / 28 * (1 - z2 / 54 * (1 - z2 / 88))))
    far = torch.where(near, torch.ones_like(a), a)
    return torch.where(near, series, (torch.cos(math.pi * far) - torch.sinc(far)) / far)
''',
}  # fmt: skip


def print_torch(root: Node, parameters: Sequence[str]) -> str:
    """Source of `activation(x, ..., channel_dim=-1)`; the parameters follow x in that order.

    A parameter whose name would hide something of the source is spelled with an underscore.
    It computes in float32 where x has 16 bits, as the kernels do, and returns x's dtype.
    """
    order = topological([root])
    lines: list[str] = []
    names: dict[Node, str] = {}
    reserved = {
        "torch",
        "math",
        "float",
        "range",
        "dtype",
        "d",
        "channel_dim",
        "activation",
        *_HELPERS,
        *(f"v{k}" for k in range(len(order))),
    }
    spelled = spellings(["x", *parameters], reserved)
    spans: dict[str, Span] = {}
    for k, node in enumerate(order):
        if isinstance(node.attribute, Source):
            source = node.attribute
            if source.name != "x":
                spans[spelled[source.name]] = source.span
            text = f"torch.roll({spelled[source.name]}, {source.shift}, channel_dim)" if source.shift else spelled[source.name]
        elif isinstance(node.attribute, Reduction):
            text = _mean(names[node.args[0]], node.attribute, node.args[0].span)
        elif node.operator == "constant":
            text = _number(cast(float, node.attribute)) if not node.boolean else str(bool(node.attribute))
        else:
            arguments = [names[a] for a in node.args]
            text = cast(Operator, node.operator).torch.format(*arguments, n=node.attribute)
            if node.constant and "torch." in text:
                text = cast(Operator, node.operator).torch.format(*(f"_like({a}, x)" for a in arguments), n=node.attribute)
        if node.args or (isinstance(node.attribute, Source) and node.attribute.shift):
            names[node] = f"v{k}"
            lines.append(f"    v{k} = {text}")
        else:
            names[node] = text
    for name, span in reversed(spans.items()):
        shape = ".reshape([-1 if d == channel_dim % x.dim() else 1 for d in range(x.dim())])" if span is Span.CHANNEL else ""
        lines.insert(0, f"    {name} = {name}.to(x.dtype){shape}")
    body = "\n".join(
        [
            f"def activation({', '.join(spelled.values())}, channel_dim=-1):",
            "    dtype = x.dtype",
            "    x = x.float() if dtype in (torch.float16, torch.bfloat16) else x",
            *lines,
            f"    return _like({names[root]}, x).expand_as(x).to(dtype)",
        ]
    )
    helpers = _needed(body)
    imports = ["import math", "", "import torch"] if any("math." in h for h in helpers) else ["import torch"]
    return "\n".join(imports) + "\n\n\n" + "\n\n".join([*helpers, body]) + "\n"


def _needed(body: str) -> list[str]:
    text = body
    while True:
        helpers = [source for name, source in _HELPERS.items() if re.search(rf"(?<![\w.]){name}\(", text)]
        if text == "".join(helpers) + body:
            return helpers
        text = "".join(helpers) + body


def _number(value: float) -> str:
    return f'float("{value}")' if value in (float("inf"), float("-inf")) else repr(value)


def _mean(argument: str, reduction: Reduction, span: Span) -> str:
    full = argument if span is Span.ELEMENT else f"_like({argument}, x).expand_as(x)"
    if reduction.over == "tensor":
        return f"torch.mean({full})"
    if reduction.over == "features":
        return f"torch.mean({full}, dim=channel_dim, keepdim=True)"
    text = f"_mean_of_channels({full}, channel_dim)"
    return f"torch.roll({text}, {reduction.shift}, channel_dim)" if reduction.shift else text
