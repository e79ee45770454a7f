"""Random programs, drawn from the operator table: what a search produces, in size and in mix."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from codegen.operators import FUNCTIONS, Operator

_STEEP: Final[tuple[Operator | str, ...]] = (
    *(FUNCTIONS[name] for name in ("exp", "log", "sqrt", "rsqrt", "cbrt", "square", "abs", "tanh", "sigmoid", "softplus", "sinh", "cosh")),
    *(FUNCTIONS[name] for name in ("erfc", "expm1", "log1p", "sin", "atan", "min", "max", "clamp", "sign")),
    *("2", "3", "4", "17", "(-1)", "(-2)", "(-3)", "0.5", "1.5", "(-0.7)"),
)
_SIZES: Final = ("0", "1", "2", "0.5", "-1", "1e-30", "1e-20", "1e-10", "1e-5", "1e4", "1e10", "1e20", "1e30", "-1e20", "1e-38", "3e38")
_SIGNS: Final = ("+", "-", "*", "/")
_NAMED: Final[tuple[Operator, ...]] = tuple(o for o in FUNCTIONS.values() if not any(o.boolean_arguments))


def random_program(operators: int, structure: random.Random, constants: random.Random) -> str:
    """A pointwise program of exactly so many operators.

    Half of the operators are + - * /, one in 20 is a choice between two branches (a comparison and `where`, two operators), the
    rest are drawn evenly from all named functions. A leaf is x or a constant, evenly, but every subexpression varies with x.
    Programs drawn from equal states of `structure` differ in constants alone.
    """
    return _expression(operators, True, structure, lambda: f"{constants.uniform(0.1, 3.0):.4f}", _NAMED)


def edge_program(operators: int, structure: random.Random, constants: random.Random) -> str:
    """The same for what goes wrong at the edges of the range of numbers: powers, exponentials and quotients more often, and constants of
    any size."""

    def constant() -> str:
        return constants.choice(_SIZES) if constants.random() < 0.5 else f"{constants.uniform(0.1, 3.0):.1f}"

    return _expression(operators, True, structure, constant, _STEEP)


def random_programs(count: int, smallest: int, largest: int, *, seed: int, constants: int = 0) -> list[str]:
    """So many programs of `smallest` to `largest` operators; another `constants` seed gives the same ones with other constants."""
    structure, numbers = random.Random(seed), random.Random(f"{seed} {constants}")
    return [random_program(structure.randint(smallest, largest), structure, numbers) for _ in range(count)]


def _expression(
    operators: int, varies: bool, structure: random.Random, constant: Callable[[], str], named: Sequence[Operator | str]
) -> str:
    if operators == 0:
        is_x = structure.random() < 0.5 or varies
        return "x" if is_x else constant()

    def parts(own: int, count: int) -> list[str]:
        """`count` arguments that share the operators left; the first one varies with x."""
        cuts = sorted(structure.randint(0, operators - own) for _ in range(count - 1))
        sizes = [b - a for a, b in zip([0, *cuts], [*cuts, operators - own], strict=True)]
        return [_expression(size, k == 0, structure, constant, named) for k, size in enumerate(sizes)]

    chance = structure.random()
    if chance < 0.5:
        return f"({f' {structure.choice(_SIGNS)} '.join(parts(1, 2))})"
    if chance < 0.55 and operators > 1:
        return "where({} < {}, {}, {})".format(*parts(2, 4))
    operator = structure.choice(named)
    if isinstance(operator, str):
        return f"({parts(1, 1)[0]})^{operator}"
    return f"{operator.name}({', '.join(parts(1, operator.arity))})"
