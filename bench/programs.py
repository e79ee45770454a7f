"""Random programs, drawn from the operator table: what a search produces, in size and in mix."""

from __future__ import annotations

import random
from typing import Final

from codegen.operators import FUNCTIONS, Operator

_SIGNS: Final = ("+", "-", "*", "/")
# Functions of real arguments; `where` is written with a comparison, which counts as an operator of its own.
_NAMED: Final[tuple[Operator, ...]] = tuple(o for o in FUNCTIONS.values() if not any(o.boolean_arguments) and not o.boolean_result)


def random_program(operators: int, structure: random.Random, constants: random.Random) -> str:
    """A pointwise program of exactly so many operators.

    Half of the operators are + - * /, one in 16 is a choice between two branches, the rest are drawn evenly from all named
    functions. Each leaf is x (two in three) or a constant. Programs drawn with the same state of `structure` differ in
    constants alone.
    """
    if operators == 0:
        leaf_is_x, number = structure.random() < 2 / 3, constants.uniform(0.1, 3.0)
        return "x" if leaf_is_x else f"{number:.4f}"
    chance = structure.random()
    if chance < 1 / 2 or operators < 3:
        if operators == 1 or chance > 1 / 4:
            operator = structure.choice([o for o in _NAMED if o.arity == 1]) if operators == 1 else None
        else:
            operator = None
    return ""
