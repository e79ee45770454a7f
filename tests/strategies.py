"""Programs for Hypothesis, drawn from the operator table."""

from hypothesis import strategies as st

from codegen.operators import FUNCTIONS
from grammar.tree import Binding, Call, Chain, Definition, Expression, Name, Number, Parameter, Program, Repeat, Unary

# Functions that stay finite and of moderate size on moderate arguments, so that a backend can be compared by value.
SMOOTH = ["sin", "cos", "tanh", "sigmoid", "softplus", "logsigmoid", "erf", "erfc", "sinc", "atan", "asinh", "abs", "cbrt", "square"]
CONSTANTS = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 0.044715, 1e-3]


def _numbers() -> st.SearchStrategy[Expression]:
    return st.sampled_from(CONSTANTS).map(Number)


def _conditions(children: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    compare = st.builds(lambda s, a, b: Chain((s,), (a, b)), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), children, children)
    return st.one_of(
        compare,
        st.builds(lambda a: Unary("not", a), compare),
        st.builds(lambda s, a, b: Chain((s,), (a, b)), st.sampled_from(["and", "or"]), compare, compare),
    )


def _extend(names: list[str], functions: list[str], powers: bool):
    def extend(children: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        sums = st.builds(
            lambda a, b, c, s, t: Chain((s, t), (a, b, c)), children, children, children, st.sampled_from("+-"), st.sampled_from("+-")
        )
        products = st.builds(lambda a, b: Chain(("*",), (a, b)), children, children)
        calls = st.builds(
            lambda f, a, b, c: Call(f, (a, b, c)[: FUNCTIONS[f].arity]), st.sampled_from(functions), children, children, children
        )
        choices = st.builds(lambda c, a, b: Call("where", (c, a, b)), _conditions(children), children, children)
        branches = [sums, products, calls, choices, st.builds(lambda a: Unary("-", a), children)]
        if powers:
            branches.append(st.builds(lambda a, n: Chain(("^",), (a, Number(float(n)))), children, st.integers(0, 4)))
        return st.one_of(branches)

    return extend


def expressions(names: tuple[str, ...] = ("x",), max_leaves: int = 8, functions: list[str] | None = None) -> st.SearchStrategy[Expression]:
    """Real expressions over the names, smooth ones unless functions are given."""
    leaves = st.one_of(st.sampled_from(list(names)).map(Name), _numbers())
    return st.recursive(leaves, _extend(list(names), functions or SMOOTH, True), max_leaves=max_leaves)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Whole programs: parameters, a local function, a binding, a repeat, statistics and shifts, all of them used."""
    statements: list[Parameter | Definition | Binding | Repeat] = []
    names = ["x"]
    for name, per_channel in (("beta", False), ("slope", True)):
        if draw(st.booleans()):
            statements.append(Parameter(name, per_channel, Number(draw(st.sampled_from([0.25, 0.5, 1.0])))))
            names.append(name)
    uses: list[Expression] = [Name(n) for n in names]
    if draw(st.booleans()):
        statements.append(Definition("bump", ("t",), draw(expressions(("t",), 3))))
        uses.append(Call("bump", (draw(expressions(tuple(names), 3)),)))
    if draw(st.booleans()):
        over = draw(st.sampled_from(["tensor", "features", "batch"]))
        function = draw(st.sampled_from(["mean", "var", "std", "rms"]))
        statements.append(Binding("mu", Call(function, (draw(expressions(("x",), 3)),), (("over", over),))))
        uses.append(Name("mu"))
    if draw(st.booleans()):
        uses.append(Call("shift", (draw(expressions(tuple(names), 3)), draw(st.sampled_from([Number(1.0), Unary("-", Number(2.0))])))))
    if draw(st.booleans()):
        statements.append(Binding("u", Number(0.3)))
        step = Chain(("*", "*"), (Number(3.7), Name("u"), Chain(("-",), (Number(1.0), Name("u")))))
        statements.append(Repeat(draw(st.integers(1, 4)), (Binding("u", step),)))
        uses.append(Name("u"))
    body = draw(expressions(tuple(n.name for n in uses if isinstance(n, Name)), 6))
    result = Chain(("+",) * len(uses), (body, *uses))
    return Program(tuple(statements), result)
