"""Graph back to the language: a program whose bindings are the shared subexpressions, and to LaTeX."""

from __future__ import annotations

import math
from typing import cast

from codegen.graph import Node, Reduction, Source, topological
from codegen.instructions import Span
from codegen.operators import Operator
from grammar import parse
from grammar.printer import format_number
from grammar.tree import Binding, Call, Chain, Expression, Name, Number, Parameter, Program, Unary

_SIGNS = {"+", "-", "*", "/", "^", "<", "<=", ">", ">=", "==", "!=", "and", "or"}
_NAMED = {math.pi: "pi", math.e: "e", math.inf: "inf"}
_SHARED_SIZE = 3  # operations; a shared subexpression smaller than this is written out each time


def to_program(root: Node, parameters: tuple[Parameter, ...] = ()) -> Program:
    """A program that computes the node, with bindings t1, t2, ... for larger subexpressions used more than once.

    Internal operators are written as what they mean (a guarded product as a product), so the program builds to the same function.
    """
    order = topological([root])
    uses: dict[Node, int] = {}
    size: dict[Node, int] = {}
    for node in order:
        size[node] = 1 + sum(size[a] for a in node.args)
        for argument in node.args:
            uses[argument] = uses.get(argument, 0) + 1
    used = {n.attribute.name for n in order if isinstance(n.attribute, Source)}
    taken = used | {p.name for p in parameters}
    trees: dict[Node, Expression] = {}
    bindings: list[Binding] = []
    for node in order:
        tree = _expression(node, [trees[a] for a in node.args])
        if uses.get(node, 0) > 1 and size[node] > _SHARED_SIZE and not node.boolean:
            name = next(f"t{k}" for k in range(1, len(order) + 2) if f"t{k}" not in taken)
            taken.add(name)
            bindings.append(Binding(name, tree))
            tree = Name(name)
        trees[node] = tree
    return Program((*(p for p in parameters if p.name in used), *bindings), trees[root])


def _number(value: float) -> Expression:
    if value < 0 or math.copysign(1.0, value) < 0:
        return Unary("-", _number(-value))
    return Name(_NAMED[value]) if value in _NAMED else Number(value)


def _expression(node: Node, args: list[Expression]) -> Expression:
    if isinstance(node.attribute, Source):
        return _shifted(Name(node.attribute.name), node.attribute.shift)
    if isinstance(node.attribute, Reduction):
        options = () if node.attribute.over == "tensor" else (("over", node.attribute.over),)
        return _shifted(Call("mean", (args[0],), options), node.attribute.shift)
    if node.operator == "constant":
        if node.boolean:
            return Chain(("==",), (Number(1.0), Number(1.0 if node.attribute else 0.0)))
        return _number(cast(float, node.attribute))
    operator = cast(Operator, node.operator)
    if operator.text in _SIGNS and operator.arity == 2:
        return _chain(operator.text, args)
    if operator.text in ("-", "not"):
        return Unary("not" if operator.text == "not" else "-", args[0])
    if operator.text:
        return _fill(parse(operator.text).result, args[0], node.attribute)
    return Call(operator.name, tuple(args))


def _chain(sign: str, args: list[Expression]) -> Expression:
    """One chain where the left operand is a chain of the same level: a - b + c, not (a - b) + c."""
    level = next((s for s in ("+-", "*/") if sign in s), sign if sign in ("and", "or") else "")
    left = args[0]
    if isinstance(left, Chain) and level and left.operators[0] in level:
        return Chain((*left.operators, sign), (*left.operands, args[1]))
    return Chain((sign,), tuple(args))


def _fill(template: Expression, argument: Expression, attribute: object) -> Expression:
    if isinstance(template, Name):
        return argument if template.name == "a" else _number(float(cast(int, attribute)))
    if isinstance(template, Unary):
        return Unary(template.operator, _fill(template.operand, argument, attribute))
    if isinstance(template, Chain):
        return Chain(template.operators, tuple(_fill(o, argument, attribute) for o in template.operands))
    if isinstance(template, Call):
        return Call(template.function, tuple(_fill(a, argument, attribute) for a in template.arguments))
    return template


def _shifted(tree: Expression, places: int) -> Expression:
    return Call("shift", (tree, _number(float(places)))) if places else tree


_ATOM, _POWER, _PRODUCT, _SUM = 3, 2, 1, 0


def to_latex(root: Node) -> str:
    """LaTeX of the node as one formula (shared subexpressions written out)."""
    texts: dict[Node, tuple[str, int]] = {}
    for node in topological([root]):
        texts[node] = _latex(node, [texts[a] for a in node.args])
    return texts[root][0]


def _latex(node: Node, args: list[tuple[str, int]]) -> tuple[str, int]:
    if isinstance(node.attribute, Source):
        name = node.attribute.name if len(node.attribute.name) == 1 else rf"\mathrm{{{node.attribute.name.replace('_', chr(92) + '_')}}}"
        index = {Span.CHANNEL: "_{c}", Span.ELEMENT: "", Span.SCALAR: "", Span.ROW: ""}[node.attribute.span]
        if node.attribute.shift:
            index = f"_{{c{-node.attribute.shift:+d}}}"
        return name + index, _ATOM
    if isinstance(node.attribute, Reduction):
        mark = {"tensor": "", "features": r"_{\mathrm{features}}", "batch": r"_{\mathrm{batch}}"}[node.attribute.over]
        return rf"\left\langle {args[0][0]} \right\rangle{mark}", _ATOM
    if node.operator == "constant":
        value = cast(float, node.attribute)
        named = {math.pi: r"\pi", math.e: "e", math.inf: r"\infty"}.get(value)
        return (named, _ATOM) if named else (format_number(value), _ATOM if value >= 0 else _SUM)
    operator = cast(Operator, node.operator)
    level = {"add": _SUM, "sub": _SUM, "neg": _SUM, "mul": _PRODUCT, "absorb": _PRODUCT}.get(operator.name, _ATOM)
    if operator.name in ("pow", "ipow", "square"):
        level = _POWER
    needs = {"add": (_SUM, _SUM), "sub": (_SUM, _PRODUCT), "neg": (_PRODUCT,), "mul": (_PRODUCT, _PRODUCT), "absorb": (_PRODUCT, _PRODUCT)}
    needs |= {"pow": (_ATOM, _SUM), "ipow": (_ATOM,), "square": (_ATOM,), "gaussian": (_ATOM,), "rsqrt": (_ATOM,)}
    asked = needs.get(operator.name, (_SUM,) * operator.arity)
    parts = [text if has >= need else rf"\left({text}\right)" for (text, has), need in zip(args, asked, strict=True)]
    return operator.latex.format(*parts, n=node.attribute), level
