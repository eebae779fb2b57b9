"""A proposal as TOML, with comments that say why."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ubm_embed.data.mappings.guesses.part import ColumnGuess, PartGuess

_EXAMPLES, _EXAMPLE_LENGTH = 3, 40
# What JSON leaves as it is and a terminal obeys: control characters, marks and overrides of the direction of writing,
# and separators of lines.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def toml_text(parts: Sequence[PartGuess]) -> str:
    """The mapping that `parts` propose, for a file that `Mapping.read` reads."""
    lines = ["# Proposed from a look at a sample: check it, change what is wrong, and give it to `ingest --map`."]
    for kind in ("log", "catalogue"):
        same = [part for part in parts if part.is_log == (kind == "log")]
        for part in same:
            lines += ["", *_part(part, kind, f"[[{kind}]]" if len(same) > 1 else f"[{kind}]")]
    return "\n".join(lines) + "\n"


def _part(part: PartGuess, kind: str, header: str) -> list[str]:
    lines = [f"# {_rows(part.sample.rows)} of {_shown(part.sample.file.name)}"]
    lines += [f"# not found: {_plain(what)}" for what in part.missing]
    lines.append(header)
    if part.files:
        lines.append(f"files = [{', '.join(map(_quoted, part.files))}]")
    if part.each is not None:
        lines += ["# a list: one event for each of its entries", f"each = {_quoted(part.each)}"]
    if part.time_format is not None:
        again = "  # or is the month first?" if part.time_format.startswith("%d/%m") else ""
        lines.append(f"time = {{format = {_quoted(part.time_format)}}}{again}")
    if part.is_log and "session_id" not in part.columns and "order_id" not in part.columns:
        lines.append("session_gap_minutes = 30  # no session id: a user's session ends at a pause")
    lines += _csv(part, kind)
    lines += ["", f"[{kind}.columns]"]
    for name, guess in part.columns.items():
        lines += _column(name, guess, part)
    if "session_id" not in part.columns and "order_id" in part.columns and not part.columns.keys() & _PEOPLE:
        lines += ["# no session or user: an order is a session", *_column("session_id", part.columns["order_id"], part)]
    if part.attributes:
        lines += ["", f"[{kind}.columns.attributes]" if part.is_log else f"[{kind}.attributes]"]
        for name, guess in part.attributes.items():
            lines += _column(name, guess, part)
    return [*lines, *_actions(part)]


_PEOPLE = {"user_id", "anonymous_id"}


def _csv(part: PartGuess, kind: str) -> list[str]:
    lines = []
    if part.csv.separator is not None:
        lines.append(f"separator = {_quoted(part.csv.separator)}")
    if not part.csv.quote:
        lines.append('quote = ""  # there are quotes inside fields')
    if part.csv.encoding is not None:
        lines.append(f"encoding = {_quoted(part.csv.encoding)}  # it is not UTF-8")
    if part.csv.nulls:
        lines.append(f"nulls = [{', '.join(map(_quoted, part.csv.nulls))}]  # stand for missing values")
    if part.csv.names is not None:
        names = ", ".join(map(_quoted, part.csv.names))
        lines += ["# the first row is no header: give the columns their names", f"names = [{names}]"]
    return ["", f"[{kind}.csv]", *lines] if lines else []


def _column(name: str, guess: ColumnGuess, part: PartGuess) -> list[str]:
    if guess.value is not None:
        return [f"# {guess.reason}", f"{name} = {{value = {_quoted(guess.value)}}}"]
    lines = []
    for column in guess.columns[-1:] if guess.joined else guess.columns:
        examples = ", ".join(map(_shown, list(dict.fromkeys(column.values))[:_EXAMPLES]))
        counts = f"{_count(column.distinct, 'value')} in {_rows(len(column.values))}, such as {examples}"
        lines.append(f"# {_shown(column.path)} {guess.reason}: {counts}")
    if guess.others:
        lines.append(f"# or is it {' or '.join(map(_shown, guess.others))}?")
    paths = [_quoted(column.path) for column in guess.columns]
    if guess.joined:
        return [*lines, f"{name} = [{', '.join(paths)}]  # joined"]
    # Not every file has an event with every field; a price that is none is no reason to stop.
    keys = [f"first = [{', '.join(paths)}]" if len(paths) > 1 else f"path = {paths[0]}"]
    keys += ['type = "price"', 'invalid = "null"'] if name == "price" else []
    keys += ["optional = true"] if _may_lack(name, guess, part) else []
    value = paths[0] if keys == [f"path = {paths[0]}"] else f"{{{', '.join(keys)}}}"
    return [*lines, f"{name} = {value}"]


def _may_lack(name: str, guess: ColumnGuess, part: PartGuess) -> bool:
    """Whether another file of the kind may lack it: a field in a record, but not what every event has."""
    required = name in ("action", "product_id", "timestamp", "title")
    return not required and not any(column.path in part.sample.header for column in guess.columns)


def _actions(part: PartGuess) -> list[str]:
    if not part.actions:
        return []
    lines = ["", "[log.actions]"]
    for theirs, (ours, count) in part.actions.items():
        unknown = ": what is it?" if ours is None else ""
        lines.append(f"{_quoted(theirs)} = {_quoted(ours or 'drop')}  # {_rows(count)}{unknown}")
    return lines


def _rows(count: int) -> str:
    return _count(count, "row")


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _quoted(text: str) -> str:
    """A TOML string, which a terminal can show."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def _shown(text: str) -> str:
    """A text in a comment."""
    return _quoted(text if len(text) <= _EXAMPLE_LENGTH else text[: _EXAMPLE_LENGTH - 1] + "…")


def _plain(text: str) -> str:
    """A text in a comment, without quotes."""
    return _quoted(text)[1:-1]
