"""Graph back to the language: a program whose bindings are the shared subexpressions, and to LaTeX.

Both are linear in the size of the graph: what is used more than once, and what is nested too deeply or too long, has a name.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, cast

from codegen.build import LearnableParameter
from codegen.graph import Node, Reduction, Source, rebuild, topological, with_args
from codegen.instructions import Span
from codegen.operators import Operator
from grammar import parse
from grammar.printer import format_number
from grammar.tree import Binding, Call, Chain, Expression, Name, Number, Parameter, Program, Unary, walk

_SIGNS = {"+", "-", "*", "/", "^", "<", "<=", ">", ">=", "==", "!=", "and", "or"}
_NAMED = {math.pi: "pi", math.e: "e", math.inf: "inf"}
_SHARED_SIZE: Final = 3  # operations; a shared subexpression smaller than this is written out each time
_DEEPEST: Final = 40  # levels of one expression; an operator adds up to five, and the language reads 100
_WRITTEN_OUT: Final = 100  # operations of a formula in LaTeX that is written without names for shared parts
_LONGEST: Final = 2_000  # characters of a part in LaTeX


def declarations(parameters: Iterable[LearnableParameter]) -> tuple[Parameter, ...]:
    """The `param` statements of a function's parameters."""
    return tuple(Parameter(p.name, p.per_channel, _number(p.initial)) for p in parameters)


def to_program(root: Node, parameters: tuple[Parameter, ...] = ()) -> Program:
    """A program that computes the node, with bindings t1, t2, ... for larger subexpressions used more than once.

    Internal operators are written as what they mean (a guarded product as a product), so the program builds to the same function.
    """
    root = _written(root)
    order = topological([root])
    used = {n.attribute.name for n in order if isinstance(n.attribute, Source)}
    taken = used | {p.name for p in parameters}
    names = (name for name in map("t{}".format, itertools.count(1)) if name not in taken)
    shared = _shared(order, _copies_in_text)
    trees: dict[Node, Expression] = {}
    bindings: list[Binding] = []
    for node in order:
        tree = _expression(node, [trees[a] for a in node.args])
        if node in shared or (tree.depth > _DEEPEST and node is not root):
            bindings.append(Binding(next(names), tree))
            tree = Name(bindings[-1].name)
        trees[node] = tree
    return Program((*(p for p in parameters if p.name in used), *bindings), trees[root])


def _written(root: Node) -> Node:
    """The graph that is written: of what guards a value at the edges of the range of numbers, the value alone."""

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        guards = isinstance(node.operator, Operator) and node.operator.text == "a"
        return args[0] if guards else with_args(node, args)

    return rebuild([root], visit)[0]


def _shared(order: Sequence[Node], copies: Callable[[Node], Sequence[int]]) -> set[Node]:
    """The nodes that are written more than once and are not small. `copies`: how often an operation writes each of its arguments."""
    uses = dict.fromkeys(order, 0)
    for node in order:
        for argument, times in zip(node.args, copies(node), strict=True):
            uses[argument] += times
    found: set[Node] = set()
    size: dict[Node, int] = {}  # as written, where a name counts 1
    for node in order:
        size[node] = 1 + sum(size[a] * times for a, times in zip(node.args, copies(node), strict=True))
        if uses[node] > 1 and size[node] > _SHARED_SIZE:
            found.add(node)
            size[node] = 1
    return found


def _copies_in_text(node: Node) -> Sequence[int]:
    text = node.operator.text if isinstance(node.operator, Operator) else ""
    if not text or text in (*_SIGNS, "not"):
        return (1,) * len(node.args)
    return (_occurrences(text), *(0,) * (len(node.args) - 1))


@functools.cache
def _occurrences(template: str) -> int:
    return sum(part == Name("a") for part in walk(parse(template).result))


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
    """One chain where an operand is a chain of the same level and may come first: a - b + c, not (a - b) + c or c + (a - b)."""
    level = next((s for s in ("+-", "*/") if sign in s), sign if sign in ("and", "or") else "")
    left, right = args
    if sign == "+" and _continues(right, level) and not _continues(left, level):
        left, right = right, left
    if _continues(left, level):
        chain = cast(Chain, left)
        return Chain((*chain.operators, sign), (*chain.operands, right))
    return Chain((sign,), (left, right))


def _continues(tree: Expression, level: str) -> bool:
    return isinstance(tree, Chain) and level != "" and tree.operators[0] in level


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
    r"""LaTeX of the node, for mathematics mode.

    A short formula is written out. A longer one is a list in `aligned`, where shared and very long parts are called t_1, t_2, ... and the
    function itself, which comes last, f.
    """
    root = _written(root)
    order = topological([root])
    shared = _shared(order, _copies_in_latex) if _is_long(order) else set()
    texts: dict[Node, tuple[str, int]] = {}
    lines: list[str] = []
    for node in order:
        text = _latex(node, [texts[a] for a in node.args])
        if node in shared or (len(text[0]) > _LONGEST and node is not root):
            name = f"t_{{{len(lines) + 1}}}"
            lines.append(f"{name} &= {text[0]} \\\\")
            text = name, _ATOM
        texts[node] = text
    if not lines:
        return texts[root][0]
    return "\n".join([r"\begin{aligned}", *lines, f"f &= {texts[root][0]}", r"\end{aligned}"])


def _is_long(order: Sequence[Node]) -> bool:
    """Whether a formula, written out, has more than so many operations."""
    size: dict[Node, int] = {}
    for node in order:
        size[node] = 1 + sum(size[a] * times for a, times in zip(node.args, _copies_in_latex(node), strict=True))
        if size[node] > _WRITTEN_OUT:
            return True
    return False


def _copies_in_latex(node: Node) -> Sequence[int]:
    template = node.operator.latex if isinstance(node.operator, Operator) else "{0}"
    return [template.count(f"{{{k}}}") or 1 for k in range(len(node.args))]


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
