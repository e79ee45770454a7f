"""Text to syntax tree: an LALR parser from `activation.lark`, and messages for what it refuses."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from importlib import resources
from typing import Any, cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, v_args

from grammar.errors import DSLError, Position, nearest
from grammar.limits import MAX_DEPTH, MAX_LENGTH, MAX_REPEAT
from grammar.tree import Binding, Call, Chain, Definition, Expression, Name, Number, Parameter, Program, Repeat, Statement, Unary

KEYWORDS = frozenset({"param", "def", "repeat", "if", "else", "and", "or", "not", "channel"})
_OPENING = {"LPAR": "RPAR", "LBRACE": "RBRACE", "LSQB": "RSQB"}

# A foreign spelling -> what to write here.
_SPELLINGS = {
    "&": "write 'and'",
    "|": "write 'or', or abs(...) for an absolute value",
    "!": "write 'not'",
    "%": "there is no remainder; a - b*floor(a/b) is one",
    "~": "write 'not'",
    "'": "text is not part of the language",
    '"': "text is not part of the language",
    "@": "write * for a product",
    ":": "a condition is written where(condition, a, b) or 'a if condition else b'",
    ".": "nothing has members here; a number needs a digit beside its point",
    "\u2212": "this is a typographic minus; write -",
    "\u2013": "this is a dash; write -",
    "\u00d7": "write *",
    "\u00b7": "write *",
    "\u00f7": "write /",
    "\u03c0": "write pi",
    "\u221e": "write inf",
    "\u00b2": "write ^2",
    "\u00b3": "write ^3",
    "\u221a": "write sqrt(...)",
    "\u2264": "write <=",
    "\u2265": "write >=",
    "\u2260": "write !=",
}
_WORDS = {
    "lambda": "write def f(t) = ...",
    "return": "the last expression is the result; leave out 'return'",
    "import": "a program can name nothing outside of it; see `gp list` for the functions there are",
    "for": "write repeat 6 { u = ... }",
    "while": "write repeat 6 { u = ... }",
    "let": "write name = value",
    "elif": "chain conditionals: a if p else (b if q else c)",
}


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


def _position(token: Token) -> Position:
    return Position(token.line or 1, token.column or 1)


class _Mistake(Exception):
    """A DSLError that still lacks the text (the transformer does not know it)."""

    def __init__(self, reason: str, position: Position, hint: str) -> None:
        self.arguments = (reason, position, hint)
        super().__init__(reason)


@v_args(inline=True)
class _Build(Transformer[Token, Any]):
    """Methods are named after the rules of the grammar."""

    def number(self, token: Token) -> Number:
        value = float(token)
        if math.isinf(value):
            raise _Mistake(
                f"the number {token[:20]} is too large", _position(token), "the largest is about 1.8e308; write inf for infinity"
            )
        return Number(value, _position(token))

    def name(self, token: Token) -> Name:
        return Name(str(token), _position(token))

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
            raise _Mistake("an argument follows an option", _position(options[0][0]), "options such as over=batch come last")
        return _checked(Call(str(function), tuple(plain), tuple((str(n), str(v)) for n, v in options), _position(function)))

    def names(self, *tokens: Token) -> tuple[Token, ...]:
        return tokens

    def channel(self) -> bool:
        return True

    def parameter(self, name: Token, channel: bool | None, initial: Expression) -> Parameter:
        return Parameter(str(name), bool(channel), initial, _position(name))

    def definition(self, name: Token, names: tuple[Token, ...], body: Expression) -> Definition:
        for k, token in enumerate(names):
            if token in names[:k]:
                raise _Mistake(f"'{token}' names two arguments of {name}", _position(token), "give each argument its own name")
        return Definition(str(name), tuple(str(n) for n in names), body, _position(name))

    def binding(self, name: Token, value: Expression) -> Binding:
        return Binding(str(name), value, _position(name))

    def repeat(self, count: Token, *body: Binding | Repeat) -> Repeat:
        if not count.isdigit() or not 1 <= int(count[:6]) <= MAX_REPEAT:
            raise _Mistake(
                f"cannot repeat {count[:12]} times", _position(count), f"write a whole number from 1 to {MAX_REPEAT} (MAX_REPEAT)"
            )
        return Repeat(int(count), body, _position(count))

    def start(self, *items: Statement | Expression) -> tuple[Statement | Expression, ...]:
        return items


def _checked(node: Expression) -> Expression:
    if node.depth > MAX_DEPTH:
        raise _Mistake(f"nested deeper than {MAX_DEPTH} levels (MAX_DEPTH)", node.position, "bind inner parts to names first")
    return node


@functools.cache
def _parser() -> Lark:
    source = resources.files("grammar").joinpath("activation.lark").read_text(encoding="utf-8")
    return Lark(source, parser="lalr", lexer="basic", postlex=_Separators(), transformer=_Build(), maybe_placeholders=True)  # type: ignore[arg-type]


def parse(text: str) -> Program:
    """The syntax tree of a program text.

    Raises DSLError for every mistake of syntax, with its place and a hint. Names and types are checked by `codegen.build`.
    """
    if len(text) > MAX_LENGTH:
        raise DSLError(f"the text has {len(text):,} characters", text[:200], Position(1, 1), f"the limit is {MAX_LENGTH:,} (MAX_LENGTH)")
    try:
        items = cast(tuple[Statement | Expression, ...], _parser().parse(text))
    except _Mistake as mistake:
        reason, position, hint = mistake.arguments
        raise DSLError(reason, text, position, hint) from None
    except UnexpectedInput as problem:
        raise _explain(text, problem) from None
    statements, result = items[:-1], items[-1]
    for item in statements:
        if isinstance(item, Expression):
            raise DSLError(
                "this value is not used", text, item.position, "bind it with name = ..., or wrap a long expression in parentheses"
            )
    if not isinstance(result, Expression):
        raise DSLError("the program has no result", text, result.position, "end it with an expression, such as the name of a binding")
    return Program(cast(tuple[Statement, ...], statements), result, text)


def _explain(text: str, problem: UnexpectedInput) -> DSLError:
    if isinstance(problem, UnexpectedCharacters):
        character = text[problem.pos_in_stream or 0]
        position = Position(problem.line, problem.column)
        shown = repr(character) if character.isprintable() else f"U+{ord(character):04X}"
        return DSLError(f"unexpected character {shown}", text, position, _SPELLINGS.get(character, "this sign is not part of the language"))
    if not isinstance(problem, UnexpectedToken):
        raise problem
    token = problem.token
    unclosed = _unclosed(text, token)
    if token.type == "$END":
        return _explain_end(text, unclosed)
    if token.type in _OPENING.values() and unclosed is None:
        return DSLError(f"'{token}' closes nothing", text, _position(token), f"remove it, or open it with '{_partner(token.type)}' before")
    if token.type == "_END":
        shown = "';'" if token == ";" else "the end of the line"
        return DSLError(
            f"{shown} comes too early", text, _position(token), "finish the expression, or wrap it in parentheses to go on below"
        )
    previous = _previous(text, token)
    hint = _hint(token, previous, problem.accepts or problem.expected, unclosed)
    return DSLError(f"unexpected '{token[:40]}'", text, _position(token), hint)


def _explain_end(text: str, unclosed: Token | None) -> DSLError:
    if unclosed is not None:
        closing = {"LPAR": ")", "LBRACE": "}", "LSQB": "]"}[unclosed.type]
        return DSLError(f"'{unclosed}' is never closed", text, _position(unclosed), f"missing '{closing}'")
    stripped = text.rstrip()
    line = stripped.count("\n") + 1
    column = len(stripped) - (stripped.rfind("\n") + 1) + 1
    if not any(t.type != "_END" for t in _tokens(text, len(text))):
        return DSLError("the program is empty", text, Position(1, 1), "write an expression of x, such as gelu(x) + 0.1*sin(x)")
    return DSLError("the program ends too early", text, Position(line, column), "an operand or a value is missing here")


def _hint(token: Token, previous: Token | None, accepts: set[str], unclosed: Token | None) -> str:
    word, before = str(token), previous.type if previous else ""
    if word in _WORDS:
        return _WORDS[word]
    if previous is not None and str(previous) in _WORDS:
        return _WORDS[str(previous)]
    if before == "COMPARE" or (token.type == "COMPARE" and "COMPARE" not in accepts and before in ("NAME", "NUMBER", "RPAR")):
        return "comparisons do not chain: write a < b and b < c"
    if token.type == "EQUAL":
        return "a comparison is written ==" if "COMPARE" in accepts else "a binding is written name = value, on a line of its own"
    if token.type == "LSQB":
        return "only a parameter has a channel axis: param slope[channel] = 0.25"
    if word in KEYWORDS:
        return (
            f"'{word}' is a word of the language; choose another name" if before != "RBRACE" else "separate statements by ';' or a new line"
        )
    if previous is not None and str(previous) in ("param", "def", "repeat"):
        return {"param": "write param name = 0.5", "def": "write def name(t) = ...", "repeat": "write repeat 6 { u = ... }"}[str(previous)]
    if token.type in ("LPAR", "NAME", "NUMBER") and before in ("NUMBER", "RPAR", "NAME"):
        known = nearest(str(previous), KEYWORDS) if before == "NAME" else ""
        return f"did you mean '{known}'?" if known else "a product needs its sign: write *"
    if token.type == "COMMA" and unclosed is None:
        return "a comma stands only between arguments"
    if token.type in _OPENING.values() and unclosed is not None and _OPENING[unclosed.type] != token.type:
        return f"'{unclosed}' of line {unclosed.line}, column {unclosed.column} is still open"
    return "an operand is missing before this" if before != "_END" else "an expression cannot begin with this"


def _tokens(text: str, end: int) -> list[Token]:
    """The tokens that begin before offset `end`, from a scan that stops at the first character it does not know."""
    found: list[Token] = []
    try:
        for token in _parser().lex(text):
            if token.start_pos is None or token.start_pos >= end:
                break
            found.append(token)
    except UnexpectedInput:
        pass
    return found


def _unclosed(text: str, token: Token) -> Token | None:
    """The innermost bracket that is still open where `token` stands."""
    end = len(text) if token.type == "$END" or token.start_pos is None else token.start_pos
    stack: list[Token] = []
    for other in _tokens(text, end):
        if other.type in _OPENING:
            stack.append(other)
        elif other.type in _OPENING.values() and stack:
            stack.pop()
    return stack[-1] if stack else None


def _previous(text: str, token: Token) -> Token | None:
    before = _tokens(text, token.start_pos or 0)
    return before[-1] if before else None


def _partner(closing: str) -> str:
    return {"RPAR": "(", "RBRACE": "{", "RSQB": "["}[closing]
