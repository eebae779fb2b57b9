"""A proposal of one part of a mapping: for one kind of file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ubm_embed.data.mappings.guesses.roles import (
    CATALOGUE_ROLES,
    LOG_ROLES,
    Candidate,
    assign,
    attribute_columns,
    candidates,
    time_format,
)
from ubm_embed.data.mappings.guesses.sample import Sample, SampledColumn
from ubm_embed.data.mappings.guesses.synonyms import action_of
from ubm_embed.data.tables.formats import CsvFormat

_OF_PRODUCT = ("product_id", "title", "category", "price")


@dataclass(frozen=True)
class ColumnGuess:
    """Where one of our columns comes from.

    Attributes:
        columns: of several the first that is not empty counts; none if it is always `value`.
        joined: all of the columns count.
        reason: why.
        others: paths that it might be instead.
    """

    columns: tuple[SampledColumn, ...]
    reason: str
    others: tuple[str, ...] = ()
    value: str | None = None
    joined: bool = False


@dataclass(frozen=True)
class PartGuess:
    """The proposal for one kind of file.

    Attributes:
        is_log: or of a catalogue.
        files: patterns of its names; none is every file.
        actions: theirs to ours or `drop`, with how often each occurs; None is a value that no word tells.
        missing: what was not found, in words.
    """

    sample: Sample
    is_log: bool
    csv: CsvFormat
    files: tuple[str, ...]
    columns: dict[str, ColumnGuess]
    attributes: dict[str, ColumnGuess]
    each: str | None = None
    time_format: str | None = None
    actions: dict[str, tuple[str | None, int]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def guess_part(sample: Sample, csv: CsvFormat, files: tuple[str, ...] = ()) -> PartGuess:
    """The proposal for the files that `sample` is of."""
    found = candidates(sample.columns.values(), LOG_ROLES)
    if _is_catalogue(found):
        catalogue = _catalogue(sample, csv, files)
        if {"product_id", "title"} <= catalogue.columns.keys():
            return catalogue
    return _log(sample, csv, files, found)


def _is_catalogue(found: Sequence[Candidate]) -> bool:
    """Titles and nothing that was done; a time, if any, beside ids that occur once, as in when a product was added."""
    chosen = assign(found)
    if "title" not in chosen or chosen.keys() & {"action", "session_id", "user_id", "order_id", "query"}:
        return False
    ids = chosen["product_id"].column if "product_id" in chosen else None
    return "timestamp" not in chosen or (ids is not None and ids.distinct == len(ids.values))


def _catalogue(sample: Sample, csv: CsvFormat, files: tuple[str, ...]) -> PartGuess:
    columns = [column for column in sample.columns.values() if column.each is None]
    found = candidates(columns, CATALOGUE_ROLES)
    chosen = assign(found)
    guesses = {role: _column(chosen[role], found) for role in CATALOGUE_ROLES if role in chosen}
    attributes = _attributes(columns, {guess.columns[0].path for guess in guesses.values()})
    return PartGuess(sample, False, csv, files, guesses, attributes)


def _log(sample: Sample, csv: CsvFormat, files: tuple[str, ...], found: Sequence[Candidate]) -> PartGuess:
    each = next((one.column.each for one in found if one.role == "product_id" and one.column.each is not None), None)
    of_events = each is not None and _is_of_events(each, found)
    found = [one for one in found if one.column.each in (None, each) and (of_events or _belongs(one))]
    chosen = assign(found)
    guesses = {role: _column(chosen[role], found, each) for role in LOG_ROLES if role in chosen}
    if "session_id" in guesses and "user_id" in guesses and _is_count(guesses["session_id"].columns[0]):
        both = guesses["user_id"].columns + guesses["session_id"].columns
        guesses["session_id"] = ColumnGuess(both, "counts the visits of a user", joined=True)
    if "action" in guesses:
        actions = {value: (action_of(value), count) for value, count in _counts(guesses["action"].columns)}
    else:
        guesses["action"], actions = _constant_action(guesses), {}
    columns = [column for column in sample.columns.values() if column.each in (None, each)]
    attributes = _attributes(columns, {column.path for guess in guesses.values() for column in guess.columns})
    times = guesses["timestamp"].columns[0].values if "timestamp" in guesses else []
    missing = tuple(_missing(guesses, actions))
    written = time_format(times)[0]
    return PartGuess(sample, True, csv, files, guesses, attributes, each, written, actions, missing)


def _is_of_events(each: str, found: Sequence[Candidate]) -> bool:
    """Whether what was done and when stands in the entries of a list, and not beside it."""
    inside, outside = ({one.role for one in found if one.column.each == place} for place in (each, None))
    return "action" in inside and not outside & {"action", "timestamp"}


def _belongs(candidate: Candidate) -> bool:
    """What is in a list is about its products."""
    return candidate.column.each is None or candidate.role in _OF_PRODUCT


def _column(chosen: Candidate, found: Sequence[Candidate], each: str | None = None) -> ColumnGuess:
    same = [one.column for one in found if one.role == chosen.role and one.column.path != chosen.column.path]
    columns = [chosen.column]
    if each is not None and chosen.role in _OF_PRODUCT:
        # An event about one product has it beside the list; the entries of a list come first.
        other_place = next((column for column in same if column.each != chosen.column.each), None)
        columns += [other_place] if other_place else []
        columns.sort(key=lambda column: column.each is None)
    others = tuple(column.path for column in same if column not in columns)[:3]
    return ColumnGuess(tuple(columns), chosen.reason, others)


def _is_count(column: SampledColumn) -> bool:
    return all(value.isdecimal() and len(value) < 5 for value in column.values)


def _constant_action(guesses: dict[str, ColumnGuess]) -> ColumnGuess:
    if "order_id" in guesses:
        return ColumnGuess((), "no column says what was done; a row belongs to an order", value="buy")
    return ColumnGuess((), "no column says what was done: is it a view?", value="view")


def _attributes(columns: Sequence[SampledColumn], used: set[str]) -> dict[str, ColumnGuess]:
    found = attribute_columns([column for column in columns if column.path not in used])
    return {
        name: ColumnGuess(tuple(sorted(same[:2], key=lambda column: column.each is None)), "by its name")
        for name, same in found.items()
    }


def _counts(columns: Sequence[SampledColumn]) -> list[tuple[str, int]]:
    return Counter(value for column in columns for value in column.values).most_common()


def _missing(guesses: dict[str, ColumnGuess], actions: dict[str, tuple[str | None, int]]) -> list[str]:
    missing = []
    if not guesses["action"].columns:
        missing.append("a column that says what was done")
    elif unknown := [value for value, (ours, _) in actions.items() if ours is None]:
        missing.append(f"what these actions mean: {', '.join(unknown[:8])}")
    if "product_id" not in guesses:
        missing.append("the id of a product")
    if not guesses.keys() & {"session_id", "user_id", "anonymous_id", "order_id"}:
        missing.append("a session or a user")
    if "session_id" not in guesses and "timestamp" not in guesses and "order_id" not in guesses:
        missing.append("a time, which sessions are split by")
    if not guesses.keys() & {"title", "category"}:
        missing.append("texts of products: give a catalogue beside it")
    return missing
