"""A condition in SQL, checked before LanceDB reads it.

LanceDB reads a double-quoted name as a text, stops without a word where an expression ends, so that the rest of the
condition is lost, and overflows its stack on long chains. What it would read
differently from what was written is refused here; all other mistakes are left for LanceDB to report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from indexer.catalogue.condition_functions import may_be_called, similar_function
from ubm_embed.errors import InvalidData

MAX_CHARACTERS = 100_000
# LanceDB answers a chain of 800 tokens such as `a IS NULL IS NULL ...`, and overflows its stack at 1,400. AND, OR and
# commas do not add to the depth: it answers 30,000 of them.
MAX_CHAIN = 200
_MAX_DIGITS = 38
_SHOWN = 40

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+)
    | (?P<comment>--|/\*)
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<name>`[^`]+`|[^\W\d]\w*)
    | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
    | (?P<compare><=|>=|<>|!=|==|=|<|>)
    | (?P<operator>\|\||::|[+\-*/%.])
    | (?P<open>[(\[])
    | (?P<close>[)\]])
    | (?P<comma>,)
    """,
    re.VERBOSE,
)
# Names that may stand in a list of values.
_CONSTANTS = {"TRUE", "FALSE", "NULL", "DATE", "TIMESTAMP"}
_COMPARING_WORDS = {"LIKE", "ILIKE", "IN", "BETWEEN"}
_BEFORE_COMPARISON = {"", "(", "[", ",", "AND", "OR", "NOT"}
# What to write instead of a character that has no place in a condition.
_INSTEAD = {
    ";": "write one condition: nothing after a semicolon is read",
    "!": "write NOT",
    "&": "write AND",
    "|": "write OR",
    "'": "a text begins here that is not closed; a quote within a text is written twice",
    '"': "a text begins here that is not closed; texts stand in single quotes",
    "`": "a name begins here that is not closed",
    "‘": "texts stand in straight single quotes",
    "’": "texts stand in straight single quotes",
    "“": "texts stand in straight single quotes",
    "”": "texts stand in straight single quotes",
}


class _Token(NamedTuple):
    kind: str
    text: str
    position: int  # of its first character, from 1

    @property
    def word(self) -> str:
        """A keyword or an operator as it can be compared; the text in quotes and backticks is neither."""
        return "" if self.kind in ("text", "number") or self.text.startswith("`") else self.text.upper()


_NOTHING = _Token("end", "", 0)


@dataclass
class _Level:
    """What stands between one pair of brackets.

    Attributes:
        chain: tokens since the last AND, OR or comma, with those of the deepest brackets among them.
    """

    opened: _Token = _NOTHING
    is_not_in: bool = False
    chain: int = 0
    longest: int = 0

    def separate(self) -> None:
        """Begin a new chain."""
        self.longest, self.chain = max(self.longest, self.chain), 0


def check_condition(where: str) -> None:
    """Check that LanceDB would read all of a condition, and as it was written.

    Raises:
        InvalidData: names what stands there, its position, and what to write instead.
    """
    if not where.strip():
        _refuse("expected a condition such as 'price < 50 AND in_stock', got an empty one")
    if len(where) > MAX_CHARACTERS:
        _refuse(
            f"expected at most {MAX_CHARACTERS:,} characters, got {len(where):,}; "
            "a list of products to leave out can be a file: --exclude"
        )
    if half := re.search("[\ud800-\udfff]", where):
        _refuse(f"half a character at character {half.start() + 1:,}: expected text that UTF-8 can encode")
    tokens = list(_tokens(where))
    _check_brackets(tokens)
    _check_tokens(tokens)


def columns_named(where: str, columns: Iterable[str]) -> list[str]:
    """The columns that a condition may name, in their order. One too many does no harm.

    LanceDB takes a name without backticks in any case, and one before a point as a column of structs.
    """
    named = {token.text.strip("`").lower() for token in _tokens(where) if token.kind == "name"}
    return [column for column in columns if column.lower() in named]


def _tokens(where: str) -> Iterator[_Token]:
    position = 0
    while position < len(where):
        match = _TOKEN.match(where, position)
        kind, text = (match.lastgroup or "", match[0]) if match else ("", where[position])
        token = _Token(kind, text, position + 1)
        if not kind:
            _refuse(f"unexpected {text!a}{_at(token)}: {_INSTEAD.get(text, 'it has no meaning here')}")
        if kind == "quoted":
            name = token.text[1:-1].replace('""', '"')
            single = "'" + name.replace("'", "''") + "'"
            _refuse(
                f"{_short(text)}{_at(token)} stands in double quotes, which LanceDB reads as a text: "
                f"write {_short(f'`{name}`')} for the column, {_short(single)} for the text"
            )
        if kind == "comment":
            _refuse(f"a comment begins{_at(token)}: nothing after it may be read; write the condition without it")
        if kind != "blank":
            yield token
        position += len(text)


def _check_brackets(tokens: list[_Token]) -> None:
    """Check that brackets match, lists stand in brackets, and no chain of operators is too long."""
    levels = [_Level()]
    last, before_last = _NOTHING, _NOTHING
    for token in tokens:
        level = levels[-1]
        if token.kind == "open":
            levels.append(_Level(token, is_not_in=(before_last.word, last.word) == ("NOT", "IN")))
        elif token.kind == "close":
            if level.opened.text != {")": "(", "]": "["}[token.text]:
                _refuse(f"{token.text!r}{_at(token)} closes nothing")
            levels.pop()
            level.separate()
            levels[-1].chain += level.longest
        elif token.kind == "comma" and len(levels) == 1:
            _refuse(f"','{_at(token)} stands in no list: join conditions with AND or OR, and write 5.50 for 5,50")
        elif token.kind == "comma" or token.word in ("AND", "OR"):
            level.separate()
        elif token.kind == "name" and level.opened.text == "[" and token.word not in _CONSTANTS:
            _refuse(f"{_short(token.text)}{_at(token)} stands in a list, which may hold values only")
        elif token.word == "NULL" and level.is_not_in:
            _refuse(f"NULL{_at(token)} is in the list of NOT IN, which is then never true: leave it out")
        levels[-1].chain += 1
        if levels[-1].chain > MAX_CHAIN:
            _refuse(f"more than {MAX_CHAIN} words and signs without AND, OR or a comma, up to the one{_at(token)}")
        last, before_last = token, last
    if len(levels) > 1:
        _refuse(f"{levels[-1].opened.text!r}{_at(levels[-1].opened)} is not closed")


def _check_tokens(tokens: list[_Token]) -> None:
    """Check that the cost of all functions is bounded, and no comparison is the same for all products by mistake.

    A comparison of two texts is, and so is one with NULL.
    """
    padded = [_NOTHING, *tokens, _NOTHING, _NOTHING, _NOTHING]
    for index, token in enumerate(tokens, start=1):
        before, after = padded[index - 1], padded[index + 1]
        letter = token.kind == "name" and len(token.text) == 1
        if letter and after.kind == "text" and after.position == token.position + 1:
            # N'...' ends LanceDB's thread, E'...' is read as a column.
            _refuse(f"{token.text}'...'{_at(token)}: a text has no letter before its quote")
        if token.kind == "name" and after.text == "(" and not may_be_called(token.text):
            _refuse_function(token)
        if token.word == "DECIMAL" and after.text == "(":
            _check_digits(token, "".join(one.text for one in tokens[index : index + 5]))
        if token.word == "NULL" and "compare" in (before.kind, after.kind):
            _refuse(f"a comparison with NULL{_at(token)} is never true: write IS NULL or IS NOT NULL")
        if token.kind == "text" and before.word in _BEFORE_COMPARISON and _compares_with_text(padded[index + 1 :]):
            name = token.text[1:-1]
            _refuse(
                f"{_short(token.text)}{_at(token)} is a text, and the same for all products: "
                f"write {_short(f'`{name}`')} for the column"
            )


def _check_digits(decimal: _Token, after: str) -> None:
    """Check the digits of a type such as DECIMAL(10, 2); LanceDB's thread ends on others."""
    digits = re.match(r"\((\d{1,2})(?:,\d{1,2})?\)", after)
    if not digits or not 1 <= int(digits[1]) <= _MAX_DIGITS:
        _refuse(f"{decimal.text}{_at(decimal)}: expected 1 to {_MAX_DIGITS} digits, such as DECIMAL(10, 2)")


def _refuse_function(name: _Token) -> NoReturn:
    similar = similar_function(name.text)
    guess = f"did you mean {similar}?" if similar else "docs/store.md lists them"
    _refuse(f"there is no function {_short(name.text)!r} for conditions{_at(name)}; {guess}")


def _compares_with_text(after: list[_Token]) -> bool:
    """Whether tokens begin with a comparison whose right side is a text, or tests for NULL."""
    rest = [token for token in after[:4] if token.word not in ("NOT", "(")]
    if not rest:
        return False
    compares = rest[0].kind == "compare" or rest[0].word in _COMPARING_WORDS
    return rest[0].word == "IS" or (compares and len(rest) > 1 and rest[1].kind == "text")


def _at(token: _Token) -> str:
    return f" at character {token.position:,}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _refuse(problem: str) -> NoReturn:
    raise InvalidData(problem, field="where")
