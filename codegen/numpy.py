"""The reference: a function evaluated in float64 by NumPy, which is the definition that every backend is compared with."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from codegen import operators
from codegen.extrapolation import PLACES, limit_of
from codegen.graph import Node, Reduction, Source, topological
from codegen.operators import Operator
from codegen.spelling import spellings

Array = NDArray[np.float64]
_AXES = {"tensor": (0, 1), "features": (1,), "batch": (0,)}


def evaluate(roots: Sequence[Node], inputs: Mapping[str, Array | float], slots: Sequence[float] = ()) -> list[Array]:
    """The roots' values. Inputs by name: tensors as rows x channels, one number per channel as (1, channels), or numbers.

    Returns arrays that broadcast to rows x channels; floating-point warnings are silenced, for NaN and infinity are values here.
    """
    values: dict[Node, Any] = {}
    with np.errstate(all="ignore"):
        for node in topological(roots):
            if isinstance(node.attribute, Source):
                value = np.asarray(inputs[node.attribute.name])
                values[node] = np.roll(value, node.attribute.shift, -1) if node.attribute.shift and value.ndim else value
            elif isinstance(node.attribute, Reduction):
                shape = np.broadcast_shapes(*(np.shape(v) for v in inputs.values()), (1, 1))
                full = np.broadcast_to(values[node.args[0]], shape)
                values[node] = np.roll(full.mean(axis=_AXES[node.attribute.over], keepdims=True), node.attribute.shift, -1)
            elif node.operator == "constant":
                values[node] = bool(node.attribute) if node.boolean else np.float64(cast(float, node.attribute))
            elif node.operator == "limit":
                values[node] = np.float64(limit_of(evaluate(node.args, {"x": PLACES}, slots)[0], cast(float, node.attribute)))
            elif node.operator == "slot":
                values[node] = np.float64(slots[cast(int, node.attribute)])
            else:
                extra = () if node.attribute is None else (node.attribute,)
                values[node] = cast(Operator, node.operator).reference(*(values[a] for a in node.args), *extra)
    return [np.asarray(values[root], dtype=np.float64) for root in roots]


def print_numpy(root: Node, parameters: Sequence[str]) -> str:
    """The reference as Python source: `activation(x, ...)` on an array of rows x channels; the parameters follow x in that order.

    A parameter whose name would hide something of the source is spelled with an underscore.
    """
    order = topological([root])
    lines: list[str] = []
    names: dict[Node, str] = {}
    helpers: dict[str, str] = {}
    reserved = {"np", "activation", *vars(operators), *(f"v{k}" for k in range(len(order)))}
    spelled = spellings(["x", *parameters], reserved)
    for k, node in enumerate(order):
        args = [names[a] for a in node.args]
        if isinstance(node.attribute, Source):
            name = spelled[node.attribute.name]
            text = f"np.roll({name}, {node.attribute.shift}, -1)" if node.attribute.shift else name
        elif isinstance(node.attribute, Reduction):
            text = f"np.mean(np.broadcast_to({args[0]}, x.shape), axis={_AXES[node.attribute.over]}, keepdims=True)"
            text = f"np.roll({text}, {node.attribute.shift}, -1)" if node.attribute.shift else text
        elif isinstance(node.operator, str):
            text = f"np.float64({node.attribute!r})"
        else:
            extra = [] if node.attribute is None else [str(node.attribute)]
            text = f"{_spell(node.operator, helpers)}({', '.join(args + extra)})"
        if node.args or node.operator == "input":
            names[node] = f"v{k}"
            lines.append(f"    v{k} = {text}")
        else:
            names[node] = text
    signature = ", ".join(spelled.values())
    imports = "import numpy as np\n"
    return (
        "\n\n".join([imports, *helpers.values(), "\n".join([f"def activation({signature}):", *lines, f"    return {names[root]}"])]) + "\n"
    )


def _spell(operator: Operator, helpers: dict[str, str]) -> str:
    reference = operator.reference
    name = reference.__name__
    if isinstance(reference, np.ufunc) or getattr(np, name, None) is reference:
        return f"np.{name}"
    _include(name, helpers)
    return name


def _include(name: str, helpers: dict[str, str]) -> None:
    """The source of a definition of `codegen.operators`, and of those that it calls, in the order they need."""
    source = inspect.getsource(getattr(operators, name))
    for other in re.findall(r"_[a-z0-9_]+(?=\()", source.split("\n", 1)[1]):
        if other not in helpers and hasattr(operators, other):
            _include(other, helpers)
    if name == "_tanh_gap":
        source = f"TANH_GAP = {operators.TANH_GAP!r}\n\n\n{source}"
    helpers[name] = source.replace(": Array", "").replace(" -> Any", "").replace(", n: int", ", n")
