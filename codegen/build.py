"""Syntax tree to graph: names are resolved, types checked, functions inlined, loops unrolled.

Every mistake that the syntax allows is found here, and is a DSLError at its place.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, cast

from codegen.graph import OVER_SPAN, Node, Over, Reduction, Source, apply, constant, mean, rebuild, shifted, source, topological, with_args
from codegen.instructions import Span
from codegen.numpy import evaluate
from codegen.operators import FUNCTIONS, OPERATORS, Operator
from grammar import DSLError, Position, catalog, nearest, parse
from grammar.limits import MAX_DEPTH, MAX_NODES, MAX_UNROLLED
from grammar.tree import Binding, Call, Chain, Definition, Expression, Name, Number, Parameter, Program, Repeat, Unary, walk

CONSTANTS: Final = {"pi": math.pi, "e": math.e, "inf": math.inf}
STATISTICS: Final = ("mean", "var", "std", "rms")
_FOREIGN: Final = {  # what other languages and libraries have -> what to write here
    "arccos": "acos(a)", "arccosh": "acosh(a)", "arcsin": "asin(a)", "arcsinh": "asinh(a)", "arctan2": "atan(a/b)", "arctanh": "atanh(a)",
    "atan2": "atan(a/b)", "average": "mean(a)", "clip": "clamp(a, low, high)", "fabs": "abs(a)", "fmax": "max(a, b)", "fmin": "min(a, b)",
    "ln": "log(a)", "log10": "log(a)/log(10)", "log2": "log(a)/log(2)", "logistic": "sigmoid(a)", "maximum": "max(a, b)",
    "minimum": "min(a, b)", "normalize": "(x - mean(x))/(std(x) + 1e-6)", "pow": "a^b", "power": "a^b", "roll": "shift(a, 1)",
    "sech": "1/cosh(a)", "sgn": "sign(a)", "step": "where(a > 0, 1, 0)", "sum": "mean(a), an average", "variance": "var(a)",
}  # fmt: skip
MAX_SHIFT: Final = 1024  # places; farther than any layer is wide in the lab
_INFIX: Final = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "<": "lt",
    "<=": "le",
    ">": "gt",
    ">=": "ge",
    "==": "eq",
    "!=": "ne",
    "and": "and",
    "or": "or",
}


@dataclass(frozen=True, slots=True)
class LearnableParameter:
    """A parameter of a function: its name, whether there is one value per channel, and the initial value."""

    name: str
    per_channel: bool
    initial: float


@dataclass(frozen=True, slots=True)
class Function:
    """What a program computes: a node that reads the input `x` and the parameters."""

    program: Program
    result: Node
    parameters: tuple[LearnableParameter, ...]


def build(program: Program) -> Function:
    """The graph of a program, as written (unsimplified). Raises DSLError at the place of the first mistake of meaning."""
    builder = _Builder(program.text, {"x": source("x", Span.ELEMENT)})
    result = builder.program(program)
    # A visit makes at most five nodes (std), so that few programs need counting, which is a tenth of the time of building a small one.
    if 5 * builder.visits > MAX_NODES and sum(not node.constant for node in topological([result]) if node.args) > MAX_NODES:
        builder.fail(
            program.result.position, f"the program has more than {MAX_NODES:,} operations (MAX_NODES)", "shorten it, or repeat less often"
        )
    return Function(program, result, tuple(builder.parameters.values()))


def build_expression(text: str, scope: Mapping[str, Node]) -> Node:
    """The graph of one expression whose free names are nodes; for the rules that codegen keeps as text. It may call operators
    that are not public."""
    builder = _Builder(text, dict(scope), functions=OPERATORS)
    return builder.expression(parse(text).result)


def power(base: Node, exponent: Node) -> Node:
    """base^exponent: by repeated squaring where the exponent is a whole constant up to 64, by a root where it is 1/2 or -1/2."""
    if exponent.operator == "constant":
        value = cast(float, exponent.attribute)
        if value == 0:
            return constant(1.0)
        if value == 1:
            return base
        if value == -1:
            return apply(OPERATORS["div"], constant(1.0), base)
        if value == 2:
            return apply(OPERATORS["square"], base)
        if value in (0.5, -0.5):
            return apply(OPERATORS["sqrt" if value > 0 else "rsqrt"], base)
        if value.is_integer() and abs(value) <= 64:
            return apply(OPERATORS["ipow"], base, attribute=int(value))
    return apply(OPERATORS["pow"], base, exponent)


@functools.cache
def _catalog_function(name: str) -> tuple[Function, int, int]:
    """The function of that name, how many nodes it has, and how many of them are shifted inputs."""
    function = build(catalog.entry(name).program)
    nodes = topological([function.result])
    return function, len(nodes), sum(isinstance(n.attribute, Source) and n.attribute.shift != 0 for n in nodes)


def _has_leaves(name: str) -> bool:
    """Whether this is a function of the catalogue with parameters or statistics of its own."""
    if name not in catalog.names():
        return False
    function = _catalog_function(name)[0]
    return bool(function.parameters) or any(node.operator == "mean" for node in topological([function.result]))


@dataclass(slots=True)
class _Builder:
    text: str
    scope: dict[str, Node]
    definitions: dict[str, Definition] = field(default_factory=dict)
    parameters: dict[str, LearnableParameter] = field(default_factory=dict)
    positions: dict[str, tuple[str, Position]] = field(default_factory=dict)  # name -> (what it is, where)
    used: set[str] = field(default_factory=set)
    visits: int = 0
    depth: int = 0
    functions: Mapping[str, Operator] = field(default_factory=lambda: FUNCTIONS)
    inside: set[str] = field(default_factory=set)  # names that live in the repeats around here alone
    outside: dict[str, Node] | None = None  # in the body of a definition: what it sees besides its arguments

    def fail(self, position: Position, reason: str, hint: str = "") -> NoReturn:
        raise DSLError(reason, self.text, position, hint)

    # Statements

    def program(self, program: Program) -> Node:
        for statement in program.statements:
            if isinstance(statement, Parameter):
                self.parameter(statement)
            elif isinstance(statement, Definition):
                self.definition(statement)
            elif isinstance(statement, Binding):
                value = self.expression(statement.value)
                self.declare(statement.name, "binding", statement.position)
                self.scope[statement.name] = value
            else:
                self.repeat(statement)
        result = self.real(program.result)
        for name, (kind, position) in self.positions.items():
            if name not in self.used:
                self.fail(position, f"the {kind} '{name}' is never used", "remove it, or use it in the result")
        return result

    def declare(self, name: str, kind: str, position: Position) -> None:
        if name == "x" or name in CONSTANTS:
            self.fail(position, f"'{name}' is already the {'input' if name == 'x' else 'constant'}", "choose another name")
        if name in FUNCTIONS or name in STATISTICS or name == "shift" or name in catalog.names():
            self.fail(position, f"'{name}' is already a function of the language", "choose another name")
        if name in self.positions:
            where = self.positions[name][1]
            self.fail(position, f"'{name}' is already bound in line {where.line}", "choose another name; only a repeat changes a binding")
        if name in self.parameters:
            self.fail(position, f"'{name}' is already the parameter of a function called above", "choose another name")
        self.positions[name] = (kind, position)

    def parameter(self, statement: Parameter) -> None:
        self.declare(statement.name, "parameter", statement.position)
        for part in walk(statement.initial):
            unknown = ""
            if isinstance(part, Name) and part.name not in CONSTANTS:
                unknown = part.name
            elif isinstance(part, Call) and (part.function in (*STATISTICS, *self.definitions) or _has_leaves(part.function)):
                unknown = f"{part.function}(...)"
            if unknown:
                reason = f"the initial value of '{statement.name}' cannot depend on '{unknown}'"
                self.fail(part.position, reason, "write a constant such as 0.25 or 1/3")
        inner = _Builder(self.text, {}, visits=self.visits)
        node = inner.real(statement.initial)
        self.visits = inner.visits
        value = float(evaluate([node], {})[0])
        if not math.isfinite(value):
            self.fail(
                statement.initial.position,
                f"the initial value of '{statement.name}' is not a finite number",
                "write a constant such as 0.25 or 1/3",
            )
        self.parameters[statement.name] = LearnableParameter(statement.name, statement.per_channel, value)
        self.scope[statement.name] = source(statement.name, Span.CHANNEL if statement.per_channel else Span.SCALAR)

    def definition(self, statement: Definition) -> None:
        self.declare(statement.name, "function", statement.position)
        for name in statement.parameters:
            if name in self.positions or name in CONSTANTS or name == "x":
                self.fail(statement.position, f"the argument '{name}' of '{statement.name}' hides another name", "choose another name")
        self.definitions[statement.name] = statement

    def repeat(self, statement: Repeat) -> None:
        outer = set(self.scope)
        for k in range(statement.count):
            for step in statement.body:
                if isinstance(step, Repeat):
                    self.repeat(step)
                    continue
                if step.name in self.parameters or step.name == "x" or step.name in CONSTANTS or step.name in self.definitions:
                    self.fail(
                        step.position,
                        f"a repeat cannot change '{step.name}'",
                        "it changes bindings made before it: u = 0.5 above, u = ... inside",
                    )
                value = self.expression(step.value)
                if k == 0 and step.name not in self.scope:
                    self.declare(step.name, "binding", step.position)
                    self.inside.add(step.name)
                self.scope[step.name] = value
        for name in set(self.scope) - outer:
            del self.scope[name]
            self.inside.remove(name)

    # Expressions

    def count(self, node: Expression, operations: int) -> None:
        self.visits += operations
        if self.visits > MAX_UNROLLED:
            reason = f"the program unrolls to more than {MAX_UNROLLED:,} operations (MAX_UNROLLED)"
            self.fail(node.position, reason, "repeat less often, or nest fewer functions")

    def real(self, node: Expression) -> Node:
        result = self.expression(node)
        if result.boolean:
            self.fail(node.position, "a number is needed here, not a condition", "write where(condition, 1, 0)")
        return result

    def condition(self, node: Expression) -> Node:
        result = self.expression(node)
        if not result.boolean:
            self.fail(node.position, "a condition is needed here, not a number", "compare it with something: a > 0")
        return result

    def expression(self, node: Expression) -> Node:
        self.count(node, 1)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(node.position, f"nested deeper than {MAX_DEPTH} levels, functions inlined (MAX_DEPTH)", "nest fewer functions")
        if isinstance(node, Number):
            result = constant(node.value)
        elif isinstance(node, Name):
            result = self.name(node)
        elif isinstance(node, Chain):
            result = self.chain(node)
        elif isinstance(node, Call):
            result = self.call(node)
        elif node.operator == "not":
            result = apply(OPERATORS["not"], self.condition(node.operand))
        else:
            result = apply(OPERATORS["neg"], self.real(node.operand))
        self.depth -= 1
        return result

    def name(self, node: Name) -> Node:
        if node.name in self.scope:
            self.used.add(node.name)
            return self.scope[node.name]
        if node.name in CONSTANTS:
            return constant(CONSTANTS[node.name])
        if node.name in FUNCTIONS or node.name in self.definitions or node.name in catalog.names() or node.name in (*STATISTICS, "shift"):
            call = "shift(x, 1)" if node.name == "shift" else f"{node.name}(x)"
            self.fail(node.position, f"'{node.name}' is a function", f"call it: {call}")
        if node.name in self.positions:
            self.fail(node.position, f"'{node.name}' lives only inside its repeat", "bind it before the repeat to use it elsewhere")
        close = nearest(node.name, [*self.scope, *CONSTANTS])
        if close:
            hint = f"did you mean '{close}'?"
        elif self.outside is None:
            hint = "bind it first: name = ...; the input is x"
        else:
            hint = "bind it first: name = ... above the call; or pass it as an argument, for a function does not see those of another"
        self.fail(node.position, f"unknown name '{node.name}'", hint)

    def chain(self, node: Chain) -> Node:
        operand = self.condition if node.operators[0] in ("and", "or") else self.real
        result = operand(node.operands[0])
        for sign, right in zip(node.operators, node.operands[1:], strict=True):
            self.visits += 1
            argument = operand(right)
            result = power(result, argument) if sign == "^" else apply(OPERATORS[_INFIX[sign]], result, argument)
        return result

    def call(self, node: Call) -> Node:
        name = node.function
        if name in STATISTICS:
            return self.statistic(node)
        if node.options:
            self.fail(
                node.position,
                f"{name} has no option '{node.options[0][0]}'",
                f"only {', '.join(STATISTICS)} have one: over=tensor, features or batch",
            )
        if name == "shift":
            return self.shift(node)
        if name in self.definitions:
            return self.local_function(node, self.definitions[name])
        operator = self.functions.get(name)
        if operator is not None:
            if len(node.arguments) != operator.arity:
                letters = zip(operator.boolean_arguments, "abc", strict=False)
                self.check_count(node, ["condition" if boolean else letter for boolean, letter in letters])
            kinds = zip(node.arguments, operator.boolean_arguments, strict=True)
            return apply(operator, *[self.condition(a) if boolean else self.real(a) for a, boolean in kinds])
        if name in catalog.names():
            self.check_count(node, "a")
            return self.catalog_function(node, self.real(node.arguments[0]))
        if name in self.scope or name in CONSTANTS:
            self.fail(node.position, f"'{name}' is a number, not a function", f"a product needs its sign: {name}*(...)")
        if name in self.positions and self.positions[name][0] == "function":
            self.fail(
                node.position,
                f"'{name}' cannot be called here",
                "a function sees those defined above it, never itself; repeat 6 { ... } iterates",
            )
        if name.lower() in _FOREIGN:
            self.fail(node.position, f"unknown function '{name}'", f"write {_FOREIGN[name.lower()]}")
        close = nearest(name, [*FUNCTIONS, *STATISTICS, "shift", *self.definitions, *catalog.names()])
        hint = f"did you mean '{close}'?" if close else "`gp list` shows the functions there are"
        self.fail(node.position, f"unknown function '{name}'", hint)

    def check_count(self, node: Call, expected: Sequence[str]) -> None:
        """`expected` has an example of each argument."""
        if len(node.arguments) != len(expected):
            plural = "" if len(expected) == 1 else "s"
            reason = f"{node.function} takes {len(expected)} argument{plural}, not {len(node.arguments)}"
            self.fail(node.position, reason, f"write {node.function}({', '.join(expected)})")

    def local_function(self, node: Call, definition: Definition) -> Node:
        self.used.add(definition.name)
        self.check_count(node, definition.parameters)
        arguments = [self.expression(a) for a in node.arguments]
        # A body calls what was defined before it, never itself: there is no recursion. It reads the program's own names, with the
        # values that they have now; never the arguments of another function, nor what lives inside a repeat.
        visible = list(self.definitions)[: list(self.definitions).index(definition.name)]
        outside = self.outside
        if outside is None:
            outside = {name: value for name, value in self.scope.items() if name not in self.inside}
        inner = _Builder(
            self.text,
            {**outside, **dict(zip(definition.parameters, arguments, strict=True))},
            {n: self.definitions[n] for n in visible},
            self.parameters,
            self.positions,
            self.used,
            self.visits,
            self.depth,
            outside=outside,
        )
        result = inner.expression(definition.body)
        self.visits = inner.visits
        return result

    def catalog_function(self, node: Call, argument: Node) -> Node:
        """The named program with x replaced; its parameters become this program's, one set however often it is called."""
        name = node.function
        function, size, shifts = _catalog_function(name)
        renamed: dict[str, str] = {}
        for parameter in function.parameters:
            own = renamed[parameter.name] = f"{name}_{parameter.name}"
            if own in self.positions:
                self.fail(self.positions[own][1], f"'{own}' is already the parameter of {name}", "choose another name")
            self.parameters[own] = LearnableParameter(own, parameter.per_channel, parameter.initial)
        self.count(node, size + (shifts * self.size(argument) if shifts else 0))
        return substitute(function.result, argument, renamed)

    def size(self, node: Node) -> int:
        """How many nodes a shift copies, at most."""
        return len(topological([node], through_means=False))

    def statistic(self, node: Call) -> Node:
        self.check_count(node, "a")
        over = "tensor"
        if len(node.options) > 1:
            self.fail(
                node.position, f"{node.function} has one option, not {len(node.options)}", "write over=tensor, features or batch once"
            )
        for option, value in node.options:
            if option != "over":
                self.fail(node.position, f"{node.function} has no option '{option}'", "the option is over=tensor, features or batch")
            if value not in OVER_SPAN:
                close = nearest(value, OVER_SPAN)
                self.fail(
                    node.position,
                    f"cannot average over '{value}'",
                    f"did you mean '{close}'?" if close else "write over=tensor, over=features or over=batch",
                )
            over = value
        return statistic(node.function, self.real(node.arguments[0]), cast(Over, over))

    def shift(self, node: Call) -> Node:
        self.check_count(node, ("a", "1"))
        argument = self.real(node.arguments[0])
        places = node.arguments[1]
        sign = 1
        if isinstance(places, Unary) and places.operator == "-":
            sign, places = -1, places.operand
        if not isinstance(places, Number) or not places.value.is_integer() or places.value > MAX_SHIFT:
            self.fail(
                node.arguments[1].position,
                "a shift is by a whole number of channels",
                f"write shift(x, 1) or shift(x, -1), at most {MAX_SHIFT} (MAX_SHIFT)",
            )
        self.count(node, self.size(argument))
        return shifted(argument, sign * int(places.value))


def statistic(name: str, argument: Node, over: Over) -> Node:
    """mean, var = mean((a - mean(a))^2), std = sqrt(var) or rms = sqrt(mean(a^2)); the population ones, dividing by n."""
    if name == "mean":
        return mean(argument, over)
    centred = argument if name == "rms" else apply(OPERATORS["sub"], argument, mean(argument, over))
    moment = mean(apply(OPERATORS["square"], centred), over)
    return moment if name == "var" else apply(OPERATORS["root"], moment)


def substitute(result: Node, argument: Node, renamed: Mapping[str, str]) -> Node:
    """`result` with x replaced by another expression and parameters renamed; shifts of x become shifts of the expression."""

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        if isinstance(node.attribute, Source):
            if node.attribute.name == "x":
                return shifted(argument, node.attribute.shift)
            return source(renamed[node.attribute.name], node.attribute.span, node.attribute.shift)
        if isinstance(node.attribute, Reduction):
            return mean(args[0], node.attribute.over, node.attribute.shift)
        return with_args(node, args)

    return rebuild([result], visit)[0]
