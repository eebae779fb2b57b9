"""Why LanceDB refuses a condition, in the words of somebody who writes conditions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

from indexer.store.lance_errors import sentence_of

_NAMED_COLUMNS, _NAMED_CHARACTERS = 30, 100
# How LanceDB's messages name types, and what a person calls them.
_TYPES = {
    r"U?Int\d+|Float\d+|Decimal.*|Numeric.*": "a number",
    r"(Large)?Utf8|String": "text",
    r"Boolean": "a boolean",
    r"Date\d+": "a date",
    r"Timestamp.*": "a time",
    r"(Large|FixedSize)?List.*": "a list",
}
_REMEDIES = {
    "a number": "write numbers without quotes",
    "text": "texts stand in single quotes",
    "a boolean": "write the column alone, or NOT before it",
    "a date": "write date '2026-01-31'",
    "a time": "write timestamp '2026-01-31 12:00:00'",
    "a list": "write array_has(column, value)",
}


def refusal(error: Exception, columns: Sequence[str]) -> str | None:
    """What is wrong with a condition, a clause; None if it is nothing that people commonly write.

    Args:
        error: LanceDB's own.
        columns: those that conditions may name.
    """
    message = " ".join(str(error).split())
    if missing := re.search(r'No field named (?:"([^"]+)"|(\S+?))[.,]?(?: |$)', message):
        return _no_column(missing[1] or missing[2], columns)
    for pattern, explain in _EXPLANATIONS:
        if match := re.search(pattern, message):
            return explain(match)
    return None


def last_resort(error: Exception) -> str:
    """LanceDB's sentence, without the names of its own kinds of errors."""
    return re.sub(
        r"\b(Invalid user input|External error|Query Execution error|Execution error): ", "", sentence_of(error)
    )


def _no_column(name: str, columns: Sequence[str]) -> str:
    if name.upper() in ("SELECT", "WHERE"):
        return f"{name} has no place in it: write only what follows WHERE, such as price < 50"
    if name.upper() in ("AND", "OR", "NOT", "CASE", "IN", "LIKE", "BETWEEN", "IS"):
        return f"a column or a value is missing beside {name.upper()}"
    lower = {column.lower(): column for column in columns}
    close = difflib.get_close_matches(name.lower(), lower, 1)
    guess = f"; did you mean {lower[close[0]]!r}?" if close else ""
    more = f" and {len(columns) - _NAMED_COLUMNS} more" if len(columns) > _NAMED_COLUMNS else ""
    shown = name if len(name) <= _NAMED_CHARACTERS else f"{name[:_NAMED_CHARACTERS]}..."
    return f"no column {shown!r}{guess}; there is: {', '.join(columns[:_NAMED_COLUMNS])}{more}"


def _kind(name: str) -> str:
    return next((kind for pattern, kind in _TYPES.items() if re.fullmatch(pattern, name.strip())), name.strip())


def _literal(match: re.Match[str]) -> str:
    kind, value, expected = _kind(match[1]), match[2].strip('"'), _kind(match[3])
    written = f"'{value}'" if kind == "text" else value
    remedy = f"; {_REMEDIES[expected]}" if expected in _REMEDIES else ""
    return f"{written} is {kind} and stands beside {expected}{remedy}"


def _statement(match: re.Match[str]) -> str:
    expected = re.sub(r"\[NOT\] NULL \|.*", "NULL, NOT NULL, TRUE or FALSE after IS", match[1])
    expected = "a column or a value" if expected == "an expression" else expected
    found = "its end" if match[2] == "EOF" else repr(match[2])
    return f"expected {expected}, found {found}"


def _unsupported(match: re.Match[str]) -> str:
    if re.search(r"\bSELECT\b", match[1], re.IGNORECASE):
        return "SELECT has no place in it: it may only speak of the columns of one product"
    return f"{match[1]} is not supported"


def _cast(match: re.Match[str]) -> str:
    return f"{match[1]!r} is not {_kind(match[2])}"


def _coerced(match: re.Match[str]) -> str:
    return f"LIKE compares text with text, not {_kind(match[1])} with {_kind(match[2])}"


def _function(match: re.Match[str]) -> str:
    given = " and ".join(_kind(name) for name in re.findall(r"[A-Z]\w*(?:\([^)]*\))?", match[2])) or "nothing"
    return f"the function {match[1]} does not take {given}"


_PRODUCTS_TOGETHER = "is about one product: no count, sum, max or rank over all of them"
_EXPLANATIONS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"Received literal (\w+)\((.*?)\) and could not convert to literal of type '(.*?)'", _literal),
    (r"logical expression (?:Aggregate|Window)Function", lambda _: f"it {_PRODUCTS_TOGETHER}"),
    (r"Expression '(.*)' is not supported SQL", _unsupported),
    (
        r"Expected a literal value in array, instead got (\S+)",
        lambda m: f"[{m[1]}] is a list: write {m[1]} for the column",
    ),
    (r"sql parser error: Expected: (.+?), found: (.+?)\)", _statement),
    (r"The filter (.+) does not return a boolean", lambda _: "it is neither true nor false: compare it with a value"),
    (r"common type to coerce (\S+) and (\S+) in LIKE", _coerced),
    (
        r"logical boolean operation|IS DISTINCT FROM Boolean",
        lambda _: "AND, OR and NOT stand between conditions, not values",
    ),
    (r"arithmetic expression (\w+) (\S) (\w+)", lambda m: f"it calculates {_kind(m[1])} {m[2]} {_kind(m[3])}"),
    (r"Invalid function '([^']+)'", lambda m: f"there is no function {m[1]!r}"),
    (r"No function matches the given name and argument types '(\w+)\((.*?)\)'", _function),
    (r"Cannot access field", lambda _: "a point within a name reads a part of it, which the column does not have"),
    (r"Divide by zero", lambda _: "it divides by zero for some product"),
    (r"Cannot cast string '(.*)' to value of (\w+)", _cast),
)
