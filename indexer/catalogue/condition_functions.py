"""The functions that a condition may call: LanceDB's, without those that make more of what they are given.

`replace(replace(title, ...), ...)` makes gigabytes of a few words; LanceDB has no limit for that.
"""

from __future__ import annotations

import difflib

_OF_TEXTS = """lower upper initcap btrim ltrim rtrim length char_length character_length octet_length ascii reverse
    left right split_part concat starts_with ends_with contains strpos position instr regexp_like regexp_match
    regexp_count"""
_OF_NUMBERS = "abs signum round trunc sqrt power pow exp ln log log2 log10 isnan nanvl greatest least"
_OF_DATES = """now today current_date current_timestamp date_part datepart date_trunc datetrunc date_bin make_date
    to_date to_timestamp to_timestamp_seconds to_timestamp_millis to_timestamp_micros from_unixtime
    to_unixtime"""
_OF_LISTS = """array_has array_contains list_has list_contains array_has_any array_has_all list_has_any list_has_all
    arrays_overlap array_length list_length cardinality array_position list_position array_element list_element"""
_OF_ANY = "coalesce nullif ifnull nvl"
FUNCTIONS = frozenset(" ".join((_OF_TEXTS, _OF_NUMBERS, _OF_DATES, _OF_LISTS, _OF_ANY)).split())
# What else may stand before a bracket; types such as DECIMAL(10, 2) among them.
_KEYWORDS = """CAST TRY_CAST AND OR NOT IN LIKE ILIKE BETWEEN IS CASE WHEN THEN ELSE SELECT FROM WHERE
    DECIMAL NUMERIC VARCHAR TIMESTAMP"""
_OF_MANY_ROWS = "COUNT MIN MAX SUM AVG"  # LanceDB refuses these itself
_OTHERS = frozenset(f"{_KEYWORDS} {_OF_MANY_ROWS}".split())


def may_be_called(name: str) -> bool:
    """Whether a name may stand before a bracket."""
    return name.lower() in FUNCTIONS or name.upper() in _OTHERS


def similar_function(name: str) -> str | None:
    """The function that somebody who wrote this name may have meant."""
    return next(iter(difflib.get_close_matches(name.lower(), sorted(FUNCTIONS), 1)), None)
