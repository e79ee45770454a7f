"""What is wrong with a text that the parser refuses, in words a newcomer can act on."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lark import Token, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from grammar.errors import DSLError, Position, nearest

KEYWORDS = frozenset({"param", "def", "repeat", "if", "else", "and", "or", "not", "channel"})
_CLOSING = {"LPAR": ")", "LBRACE": "}", "LSQB": "]"}
_CLOSES = {"RPAR": "LPAR", "RBRACE": "LBRACE", "RSQB": "LSQB"}
_OPENING = {"RPAR": "(", "RBRACE": "{", "RSQB": "["}
_OPERAND_ENDS = ("NAME", "NUMBER", "RPAR")

# How the statements that begin with a word go on.
_FORMS = {
    "param": "write param name = 0.5, or param name[channel] = 0.5 for one value per channel",
    "def": "write def name(t) = ..., with one argument or more",
    "repeat": "write repeat 6 { u = ... }, with a whole number",
}
_CONDITIONAL = "a choice is written 'a if condition else b', or where(condition, a, b)"

# A foreign sign -> what to write here.
_SIGNS = {
    "&": "write 'and'",
    "|": "write 'or', or abs(...) for an absolute value",
    "!": "write 'not'",
    "%": "there is no remainder; a - b*floor(a/b) is one",
    "~": "write 'not'",
    "'": "text is not part of the language",
    '"': "text is not part of the language",
    "@": "write * for a product",
    ":": f"a binding is written name = value; {_CONDITIONAL}",
    "?": _CONDITIONAL,
    ".": "nothing has members here: write sin(x), not np.sin(x); a number needs a digit beside its point",
    "\\": "an expression goes on below inside parentheses, without this sign",
    "\u2018": "text is not part of the language",
    "\u2019": "text is not part of the language",
    "\u201c": "text is not part of the language",
    "\u201d": "text is not part of the language",
    "\u2212": "this is a typographic minus; write -",
    "\u2013": "this is a dash; write -",
    "\u2014": "this is a dash; write -",
    "\u00d7": "write *",
    "\u00b7": "write *",
    "\u22c5": "write *",
    "\u00f7": "write /",
    "\u03c0": "write pi",
    "\u221e": "write inf",
    "\u221a": "write sqrt(...)",
    "\u2264": "write <=",
    "\u2265": "write >=",
    "\u2260": "write !=",
}
# A word of another language, where it stands beside something it should not -> what to write here.
_WORDS = {
    "lambda": "write def f(t) = ...",
    "return": "the last expression is the result; leave out 'return'",
    "import": "a program can name nothing outside of it; see `gp list` for the functions there are",
    "from": "a program can name nothing outside of it; see `gp list` for the functions there are",
    "for": "write repeat 6 { u = ... }",
    "while": "write repeat 6 { u = ... }",
    "let": "write name = value",
    "var": "write name = value",
    "then": _CONDITIONAL,
    "elif": "chain choices: a if p else (b if q else c)",
}


def explain(text: str, problem: UnexpectedInput, tokens: Sequence[Token]) -> DSLError:
    """The error for what lark reports; `tokens` are those of the text, as far as it can be split into any."""
    if isinstance(problem, UnexpectedCharacters):
        return _explain_character(text, problem)
    if not isinstance(problem, UnexpectedToken):
        raise problem
    token = problem.token
    end = len(text) if token.type == "$END" or token.start_pos is None else token.start_pos
    place = _Place(text, token, [t for t in tokens if (t.start_pos or 0) < end], problem.accepts or problem.expected)
    if token.type == "$END":
        return _explain_end(place)
    if token.type in _CLOSES and place.unclosed is None:
        return DSLError(f"'{token}' closes nothing", text, position(token), f"remove it, or open it with '{_OPENING[token.type]}' before")
    if token.type == "_END":
        shown = "';'" if token == ";" else "the end of the line"
        return DSLError(
            f"{shown} comes too early",
            text,
            position(token),
            place.unfinished() or "finish the expression, or wrap it in parentheses to go on below",
        )
    if place.previous is not None and place.previous in _WORDS:
        return DSLError(f"unexpected '{place.previous}'", text, position(place.previous), _WORDS[place.previous])
    return DSLError(f"unexpected '{token[:40]}'", text, position(token), _hint(place))


def position(token: Token) -> Position:
    return Position(token.line or 1, token.column or 1)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the parser stopped: at `token`, after the tokens `before`, when it would have gone on with one of `accepts`."""

    text: str
    token: Token
    before: list[Token]
    accepts: Collection[str]

    @property
    def previous(self) -> Token | None:
        return self.before[-1] if self.before else None

    @property
    def statement(self) -> list[Token]:
        """The tokens of the statement that the token stands in, as far as they come before it."""
        start = max((k + 1 for k, t in enumerate(self.before) if t.type in ("_END", "LBRACE", "RBRACE")), default=0)
        return self.before[start:]

    @property
    def unclosed(self) -> Token | None:
        """The innermost bracket that is still open."""
        stack: list[Token] = []
        for other in self.before:
            if other.type in _CLOSING:
                stack.append(other)
            elif other.type in _CLOSES and stack:
                stack.pop()
        return stack[-1] if stack else None

    @property
    def in_expression(self) -> bool:
        return "PLUS" in self.accepts

    def unfinished(self) -> str:
        """How the statement or the choice goes on that has been begun; empty where that is not the matter."""
        if self.statement and self.statement[0] in _FORMS and not self.in_expression:
            return _FORMS[self.statement[0]]
        return _CONDITIONAL if "ELSE" in self.accepts else ""


def _explain_character(text: str, problem: UnexpectedCharacters) -> DSLError:
    character = text[problem.pos_in_stream or 0]
    shown = repr(character) if character.isprintable() else f"U+{ord(character):04X}"
    return DSLError(f"unexpected character {shown}", text, Position(problem.line, problem.column), _hint_for_character(character))


def _hint_for_character(character: str) -> str:
    plain = unicodedata.normalize("NFKC", character)
    if character in _SIGNS:
        return _SIGNS[character]
    if not character.isprintable():
        return "this character is invisible; remove it, or write a plain space"
    if unicodedata.decomposition(character).startswith("<super>"):
        return f"write ^{plain}"
    if plain != character and len(plain) == 1 and plain.isascii():
        return f"write {plain}, which only looks the same"
    kind, _, letter = unicodedata.name(character, "").rpartition(" LETTER ")
    if kind.startswith("GREEK"):
        return f"names are made of plain letters, digits and _: write {letter.split()[0].lower()}"
    return "names are made of plain letters, digits and _" if character.isalnum() else "this sign is not part of the language"


def _explain_end(place: _Place) -> DSLError:
    written = [t for t in place.before if t.type != "_END"]
    opened = place.unclosed
    if opened is not None:
        return DSLError(f"'{opened}' is never closed", place.text, position(opened), f"missing '{_CLOSING[opened.type]}'")
    if not written:
        return DSLError("the program is empty", place.text, Position(1, 1), "write an expression of x, such as gelu(x) + 0.1*sin(x)")
    after = Position(written[-1].end_line or 1, written[-1].end_column or 1)
    return DSLError("the program ends too early", place.text, after, place.unfinished() or "an operand or a value is missing here")


def _hint(place: _Place) -> str:
    token, previous, accepts, unclosed = place.token, place.previous, place.accepts, place.unclosed
    word, before = str(token), previous.type if previous is not None else ""
    if word in _WORDS:
        return _WORDS[word]
    if not place.in_expression and word in KEYWORDS and "NAME" in accepts and place.statement:
        return f"'{word}' is a word of the language; choose another name"
    if not place.in_expression and place.unfinished():
        return place.unfinished()
    if not place.in_expression and unclosed is not None and unclosed.type == "LBRACE":
        return "inside a repeat there are bindings alone: repeat 6 { u = ... }"
    if before == "EQUAL" and set(accepts) == {"NAME"}:
        return "the value of an option is a name: over=tensor, over=features or over=batch; a comparison is written =="
    if before == "COMPARE" or (token.type == "COMPARE" and "COMPARE" not in accepts and before in _OPERAND_ENDS):
        return "comparisons do not chain: write a < b and b < c"
    if token.type == "EQUAL":
        return _hint_for_equal(place, before)
    if token.type == "LSQB":
        return "only a parameter has a channel axis: param slope[channel] = 0.25"
    if token.type == "LBRACE":
        return "braces belong to a repeat: repeat 6 { u = ... }"
    if word in KEYWORDS:
        return _hint_for_keyword(word, before)
    if token.type in ("LPAR", "NAME", "NUMBER") and previous is not None and before in _OPERAND_ENDS:
        return _hint_for_neighbours(place, previous)
    if token.type == "COMMA" and unclosed is None:
        return "a comma stands only between arguments"
    if token.type in _CLOSES and unclosed is not None and _CLOSES[token.type] != unclosed.type:
        return f"'{unclosed}' of line {unclosed.line}, column {unclosed.column} is still open"
    if token.type == "DIVIDE" and before == "DIVIDE":
        return "a division rounded down is written floor(a/b)"
    if before in ("LPAR", "COMMA"):
        return "an argument is missing before this"
    return "an operand is missing before this" if before not in ("", "_END") else "an expression cannot begin with this"


def _hint_for_equal(place: _Place, before: str) -> str:
    statement = place.statement
    if any(t.type == "EQUAL" for t in statement):
        return "a statement has one =; a comparison is written =="
    if before in ("PLUS", "MINUS", "TIMES", "DIVIDE"):
        return "write the operation out: u = u + 1 (inside a repeat; elsewhere a binding is made once)"
    if [t.type for t in statement[:2]] == ["NAME", "LPAR"] and before == "RPAR" and place.unclosed is None:
        return f"a function is written def {statement[0]}(...) = ..."
    return "a comparison is written ==" if "COMPARE" in place.accepts else "a binding is written name = value, on a line of its own"


def _hint_for_keyword(word: str, before: str) -> str:
    if word in ("if", "else"):
        return _CONDITIONAL
    if word in _FORMS:
        return f"'{word}' begins a statement; separate statements by ';' or a new line"
    if word == "channel":
        return "'channel' is a word of the language; choose another name"
    if word == "not":
        return "write a and not b"
    return "an operand is missing before this"


def _hint_for_neighbours(place: _Place, previous: Token) -> str:
    """Two operands side by side."""
    token = place.token
    misspelt = nearest(previous, _FORMS) if previous.type == "NAME" and place.statement == [previous] else ""
    if misspelt:
        return f"did you mean '{misspelt}'?"
    if token.type == "NAME" and re.match(r"\s*=(?!=)", place.text[token.end_pos or 0 :]):
        return "separate statements by ';' or a new line"
    if previous.type == "NAME" and previous != "x" and token.type != "LPAR":
        a, b = previous[:20], token[:20]
        return f"a call is written {a}({b}), a product {a}*{b}"
    if previous.type == token.type == "NUMBER":
        return "an operator is missing between the two numbers"
    return "a product needs its sign: write *"
