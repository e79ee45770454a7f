"""What operators share: drawing a part of an expression, putting one in the place of x, and making a genome of what comes out."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from codegen.build import CONSTANTS
from gp.evolution.genome import Place, is_boolean, make_genome, places, size, substitute
from gp.evolution.space import Space
from grammar.limits import MAX_DEPTH
from grammar.tree import Expression, Name, Parameter, Program, walk

X: Final = Name("x")


def lifted(make: Callable[..., Expression]) -> Callable[..., Program]:
    """An operator on genomes, from one on expressions: the expressions of its parents read the parameters of all of them."""

    @functools.wraps(make)
    def operator(rng: np.random.Generator, space: Space, limit: int, *parents: Program) -> Program:
        parameters, results = merged(parents)
        return child(space, limit, parents[0], parameters, make(rng, space, limit, *results))

    return operator


def child(space: Space, limit: int, parent: Program, parameters: Iterable[Parameter], result: Expression) -> Program:
    """The genome of an expression, or the parent in its place where it is larger than the limit, deeper than the language allows,
    or not in the space."""
    if size(result) > limit or result.depth > MAX_DEPTH:
        return parent
    made = make_genome(parameters, result)
    return made if space.allows(made) else parent


def merged(parents: Iterable[Program]) -> tuple[tuple[Parameter, ...], tuple[Expression, ...]]:
    """All parameters of some genomes, and their expressions. Equal parameters are one; of different ones of a name the later gets
    another name."""
    declared: dict[str, Parameter] = {}
    results = []
    for parent in parents:
        own = parameters_of(parent)
        names: dict[str, Expression] = {}
        for name, parameter in own.items():
            if declared.get(name, parameter) == parameter:
                declared[name] = parameter
            else:
                new = next(free for k in itertools.count(1) if (free := f"p{k}") not in declared and free not in own)
                declared[new] = Parameter(new, parameter.per_channel, parameter.initial)
                names[name] = Name(new)
        results.append(substitute(parent.result, names) if names else parent.result)
    return tuple(declared.values()), tuple(results)


def parameters_of(genome: Program) -> dict[str, Parameter]:
    """The parameters of a genome by name."""
    return {s.name: s for s in genome.statements if isinstance(s, Parameter)}


def parameter_names(expression: Expression) -> tuple[str, ...]:
    """The parameters that an expression uses: all of its names but x and the constants."""
    return tuple(dict.fromkeys(n.name for n in walk(expression) if isinstance(n, Name) and n != X and n.name not in CONSTANTS))


def pick(rng: np.random.Generator, choices: list[Place]) -> Place:
    """One of the places, all of them equally likely."""
    return choices[int(rng.integers(len(choices)))]


def reals(expression: Expression) -> list[Place]:
    """The places of real numbers: all but conditions."""
    return [p for p in places(expression) if not is_boolean(p.node)]


def count_x(expression: Expression) -> int:
    """How often x is read."""
    return sum(node == X for node in walk(expression))


def fitting_part(rng: np.random.Generator, expression: Expression, room: int) -> Expression | None:
    """The expression or, where it has more than `room` nodes, one of its parts in x that has not; None if there is no such part."""
    if size(expression) <= room:
        return expression
    parts = [p for p in reals(expression) if p.node.children and size(p.node) <= room and count_x(p.node)]
    return pick(rng, parts).node if parts else None
