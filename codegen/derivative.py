"""Symbolic differentiation, on the graph, to any order.

Point by point, each operator has a rule for each argument, written in the language, in the operator table. Rules are multiplied from the
inside out as long as the derivative stays calm, without poles and growing no faster than x, which takes the fewest operations and cancels
least. Beyond that they are multiplied from the outside in, as autograd does: an inner derivative that overflows would hide that what is
outside has long vanished. Choices and quotients are closed: a choice is made once, of derivatives, so that a branch that is not taken
cannot make 0*inf = NaN of one, as it does in autograd.

Through means and shifts the chain is closed by transposition: what reaches a mean is averaged over the same places, what was
read k channels away is sent back by -k. The result is again a function of this kind, so derivatives of any order come from the
same lines.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from codegen.graph import Node, Reduction, Source, constant, mean, mean_depth, shifted, source, topological
from codegen.growth import at_most_linear, is_calm, overflows
from codegen.instructions import Span
from codegen.operators import Operator
from codegen.signs import tame
from codegen.simplify import instantiate, make, make_mean, make_slope, read_template, simplify


@functools.lru_cache(maxsize=1024)
def derivative(node: Node, leaf: Node) -> Node:
    """d node / d leaf point by point, simplified. `leaf` is an input or a mean; other leaves count as constants."""
    zero = constant(0.0)
    slopes: dict[Node, Node] = {leaf: constant(1.0)}
    reached = {leaf}
    for current in topological([node], through_means=False):
        if current is leaf or current.operator == "mean" or current.boolean or not any(a in reached for a in current.args):
            continue
        if current.name in ("div", "where") and all(a in reached for a in current.args if not a.boolean):
            slopes[current] = (_quotient if current.name == "div" else _choice)(current, leaf, reached, slopes)
        elif all(a in slopes for a in current.args if a in reached):
            slope = zero
            for k, argument in enumerate(current.args):
                if argument in slopes:
                    slope = make("add", slope, _sent(current, k, slopes[argument]))
            if slope is zero:
                continue
            if is_calm(slope):
                slopes[current] = slope
        elif all(_partial(current, k) is zero for k, a in enumerate(current.args) if a in reached):
            continue
        reached.add(current)
    return _sent_back(node, constant(1.0), leaf, reached, slopes)


def _sent_back(root: Node, seed: Node, leaf: Node, reached: Container[Node], slopes: Mapping[Node, Node]) -> Node:
    """seed times d root / d leaf, from the root down: each node's adjoint times its operator's rule is what its argument gets."""
    zero = constant(0.0)
    if root not in reached:
        return zero
    adjoints = {root: seed}

    def add(node: Node, slope: Node) -> None:
        if slope is not zero:
            adjoints[node] = make("add", adjoints[node], slope) if node in adjoints else slope

    for node in reversed(topological([root], through_means=False)):
        if node is leaf or node not in adjoints:
            continue
        if node in slopes:
            add(leaf, make_slope(adjoints[node], slopes[node]))
            continue
        for k, argument in enumerate(node.args):
            if argument in reached:
                add(argument, _sent(node, k, adjoints[node]))
    return adjoints.get(leaf, zero)


@functools.lru_cache(maxsize=8192)
def _sent(node: Node, k: int, adjoint: Node) -> Node:
    partial = _partial(node, k)
    return partial if partial is constant(0.0) else make_slope(partial, adjoint)


def _choice(node: Node, leaf: Node, reached: Container[Node], slopes: Mapping[Node, Node]) -> Node:
    """Where both branches vary, the choice is made once, of slopes."""
    condition, *branches = node.args
    return make("where", condition, *(_sent_back(n, constant(1.0), leaf, reached, slopes) for n in branches))


def _quotient(node: Node, leaf: Node, reached: Container[Node], slopes: Mapping[Node, Node]) -> Node:
    """(a/b)' = (a' b - a b')/b/b, or (a' - y b')/b with y = a/b.

    The first cancels nothing, where the second does, as for x/(1 + |x|) at large x. But its products square the range of numbers: for
    exp(x)/x they overflow at 85. So it is taken alone where they cannot (`tame`); where a' and b' are calm if its numerator is well within
    the range, which is found out at each element; and else the second, which is what autograd does, y b' from the outside in where b
    overflows. b is divided out twice because b^2 overflows where b does not, and by its reciprocal because a division takes ten cycles."""
    a, b = node.args
    reciprocal = make("div", constant(1.0), b)
    above = _sent_back(a, constant(1.0), leaf, reached, slopes)
    if overflows(b):
        below = _sent_back(b, node, leaf, reached, slopes)
    else:
        below = make_slope(node, _sent_back(b, constant(1.0), leaf, reached, slopes))
    other = make("div", make("sub", above, below), b)
    if not all(n in slopes and is_calm(slopes[n]) for n in (a, b)):
        return other
    numerator = _difference(make_slope(slopes[a], b), make_slope(a, slopes[b]))
    value = make("mul", make("mul", numerator, reciprocal), reciprocal)
    if tame(b) and at_most_linear([(slopes[a], b), (a, slopes[b])]):
        return value
    return make("quotient_slope", other, value, numerator)


def _difference(a: Node, b: Node) -> Node:
    """a - b, which for a = c + b is c: 1 + |x| - |x| would be 0 at 1e9. A NaN in b is in the quotient as well, so nothing hides it."""
    if a.name == "add" and b in a.args:
        return a.args[0] if a.args[1] is b else a.args[1]
    return make("sub", a, b)


@functools.cache
def placeholders(operator: Operator) -> dict[str, Node]:
    """What stands in the operator's rules for its arguments, its result and its attribute."""
    arguments = {name: source(f"?{name}", Span.ELEMENT, boolean=b) for name, b in zip("abc", operator.boolean_arguments, strict=False)}
    return {**arguments, "y": source("?y", Span.ELEMENT), "n": source("?n", Span.SCALAR)}


@functools.cache
def templates(operator: Operator) -> tuple[Node, ...]:
    return tuple(read_template(rule, placeholders(operator)) for rule in operator.derivative)


def _partial(node: Node, k: int) -> Node:
    """The rule of the node's operator for argument k, with the node's arguments filled in."""
    operator = cast(Operator, node.operator)
    values = [*node.args, node, *([constant(float(node.attribute))] if isinstance(node.attribute, int) else [])]
    return instantiate(templates(operator)[k], dict(zip(placeholders(operator).values(), values, strict=False)))


@dataclass(frozen=True, slots=True)
class Result:
    """One output of a function: the value of `node`, summed over whatever `span` leaves out (`ELEMENT`: not summed)."""

    node: Node
    span: Span


def pullback(results: Sequence[Result], cotangents: Sequence[Node], inputs: Sequence[Node]) -> list[Result]:
    """The vector-Jacobian product of a function: for each input, the gradient of sum_i <cotangent_i, result_i>.

    `cotangents` are input nodes with the spans of the results; `inputs` are unshifted input nodes.
    """
    reached: dict[Node, Node] = {}

    def send_back(node: Node, seed: Node) -> None:
        for leaf in topological([node], through_means=False):
            if leaf.operator not in ("input", "mean"):
                continue
            slope = derivative(node, leaf)
            if slope.operator == "constant" and slope.attribute == 0.0:
                continue
            places = cast("Source | Reduction", leaf.attribute).shift
            contribution = make_slope(seed, slope)
            if places:
                contribution = simplify([shifted(contribution, -places)])[0]
            origin = _unshifted(leaf)
            reached[origin] = make("add", reached[origin], contribution) if origin in reached else contribution

    for result, cotangent in zip(results, cotangents, strict=True):
        send_back(result.node, cotangent)
    # A mean is done when everything that uses it is: the most deeply nested ones come last.
    depths = mean_depth(r.node for r in results)
    for node in (_unshifted(n) for n in sorted(depths, key=depths.__getitem__, reverse=True)):
        if node in reached:
            send_back(node.args[0], make_mean(reached.pop(node), Reduction(cast(Reduction, node.attribute).over)))
    return [Result(reached.get(i, constant(0.0)), i.span) for i in inputs]


def _unshifted(leaf: Node) -> Node:
    if isinstance(leaf.attribute, Source):
        return source(leaf.attribute.name, leaf.attribute.span)
    return mean(leaf.args[0], cast(Reduction, leaf.attribute).over)
