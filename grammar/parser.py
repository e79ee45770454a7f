"""Text to syntax tree: an LALR parser from `activation.lark`. What it refuses is put into words by `grammar.explain`."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from importlib import resources
from typing import Any, Final, TypeVar, cast

from lark import Lark, Token, Transformer, UnexpectedInput, v_args

from grammar.errors import DSLError, Position
from grammar.explain import explain, position
from grammar.limits import MAX_DEPTH, MAX_LENGTH, MAX_REPEAT
from grammar.printer import format_program
from grammar.tree import Binding, Call, Chain, Definition, Expression, Name, Number, Parameter, Program, Repeat, Statement, Unary

_GROWTH: Final = 4  # how many times as long as a text its canonical form can be: 9e14 is printed with 15 digits


class _Separators:
    """Leaves one _END exactly between two items: none inside parentheses, none beside a brace, none at either end."""

    always_accept = ()

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        pending: Token | None = None
        parentheses = 0
        at_start = True
        for token in stream:
            if token.type == "_END":
                if not parentheses and not at_start:
                    pending = pending or token
                continue
            parentheses += (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB"))
            if pending is not None and token.type != "RBRACE":
                yield pending
            pending = None
            yield token
            at_start = token.type == "LBRACE"


class _Mistake(Exception):
    """A DSLError that still lacks the text (the transformer does not know it)."""

    def __init__(self, reason: str, position: Position, hint: str) -> None:
        self.arguments = (reason, position, hint)
        super().__init__(reason)


Nested = TypeVar("Nested", Unary, Chain, Call, Repeat)


@v_args(inline=True)
class _Build(Transformer[Token, Any]):
    """Methods are named after the rules of the grammar."""

    def number(self, token: Token) -> Number:
        value = float(token)
        if math.isinf(value):
            raise _Mistake(f"the number {token[:20]} is too large", position(token), "the largest is about 1.8e308; write inf for infinity")
        return Number(value, position(token))

    def name(self, token: Token) -> Name:
        return Name(str(token), position(token))

    def plus(self, operand: Expression) -> Expression:
        return operand

    def minus(self, operand: Expression) -> Expression:
        return _checked(Unary("-", operand, operand.position))

    def negation(self, operand: Expression) -> Expression:
        return _checked(Unary("not", operand, operand.position))

    def power(self, base: Expression, exponent: Expression) -> Expression:
        return _checked(Chain(("^",), (base, exponent), base.position))

    def conditional(self, then: Expression, condition: Expression, otherwise: Expression) -> Expression:
        return _checked(Call("where", (condition, then, otherwise), (), then.position))

    def sum(self, *parts: Any) -> Expression:
        return _checked(Chain(tuple(str(p) for p in parts[1::2]), tuple(parts[0::2]), parts[0].position))

    product = sum
    comparison = sum

    def conjunction(self, *parts: Expression) -> Expression:
        return _checked(Chain(("and",) * (len(parts) - 1), parts, parts[0].position))

    def disjunction(self, *parts: Expression) -> Expression:
        return _checked(Chain(("or",) * (len(parts) - 1), parts, parts[0].position))

    def option(self, name: Token, value: Token) -> tuple[Token, Token]:
        return name, value

    def call(self, function: Token, *arguments: Any) -> Expression:
        given = [a for a in arguments if a is not None]
        options = [a for a in given if isinstance(a, tuple)]
        plain = [a for a in given if not isinstance(a, tuple)]
        if any(isinstance(a, tuple) for a in given[: len(plain)]):
            raise _Mistake("an argument follows an option", position(options[0][0]), "options such as over=batch come last")
        return _checked(Call(str(function), tuple(plain), tuple((str(n), str(v)) for n, v in options), position(function)))

    def names(self, *tokens: Token) -> tuple[Token, ...]:
        return tokens

    def channel(self) -> bool:
        return True

    def parameter(self, name: Token, channel: bool | None, initial: Expression) -> Parameter:
        return Parameter(str(name), bool(channel), initial, position(name))

    def definition(self, name: Token, names: tuple[Token, ...], body: Expression) -> Definition:
        seen: set[str] = set()
        for token in names:
            if token in seen:
                raise _Mistake(f"'{token}' names two arguments of {name}", position(token), "give each argument its own name")
            seen.add(token)
        return Definition(str(name), tuple(str(n) for n in names), body, position(name))

    def binding(self, name: Token, value: Expression) -> Binding:
        return Binding(str(name), value, position(name))

    def repeat(self, count: Token, *body: Binding | Repeat) -> Repeat:
        times = float(count)
        if not times.is_integer() or not 1 <= times <= MAX_REPEAT:
            raise _Mistake(
                f"cannot repeat {count[:12]} times", position(count), f"write a whole number from 1 to {MAX_REPEAT} (MAX_REPEAT)"
            )
        return _checked(Repeat(int(times), body, position(count)))

    def start(self, *items: Statement | Expression) -> tuple[Statement | Expression, ...]:
        return items


def _checked(node: Nested) -> Nested:
    if node.depth > MAX_DEPTH:
        raise _Mistake(f"nested deeper than {MAX_DEPTH} levels (MAX_DEPTH)", node.position, "bind inner parts to names first")
    return node


@functools.cache
def _parser() -> Lark:
    source = resources.files("grammar").joinpath("activation.lark").read_text(encoding="utf-8")
    return Lark(source, parser="lalr", lexer="basic", postlex=_Separators(), transformer=_Build(), maybe_placeholders=True)


def parse(text: str) -> Program:
    """The syntax tree of a program text.

    Raises DSLError for every mistake of syntax, with its place and a hint. Names and types are checked by `codegen.build`.
    """
    _check_length(text, "the text has")
    try:
        items = cast(tuple[Statement | Expression, ...], _parser().parse(text))
    except _Mistake as mistake:
        reason, position, hint = mistake.arguments
        raise DSLError(reason, text, position, hint) from None
    except UnexpectedInput as problem:
        raise explain(text, problem, _tokens(text)) from None
    statements, result = items[:-1], items[-1]
    for item in statements:
        if isinstance(item, Expression):
            raise DSLError(
                "this value is not used", text, item.position, "bind it with name = ..., or wrap a long expression in parentheses"
            )
    if not isinstance(result, Expression):
        raise DSLError("the program has no result", text, result.position, "end it with an expression, such as the name of a binding")
    program = Program(cast(tuple[Statement, ...], statements), result, text)
    if len(text) > MAX_LENGTH // _GROWTH:
        _check_length(format_program(program), "printed in full, the program has")
    return program


def _check_length(text: str, subject: str) -> None:
    if len(text) > MAX_LENGTH:
        raise DSLError(f"{subject} {len(text):,} characters", text[:200], Position(1, 1), f"the limit is {MAX_LENGTH:,} (MAX_LENGTH)")


def _tokens(text: str) -> list[Token]:
    """The tokens up to the first character that begins none."""
    found: list[Token] = []
    with contextlib.suppress(UnexpectedInput):
        for token in _parser().lex(text):
            found.append(token)
    return found
