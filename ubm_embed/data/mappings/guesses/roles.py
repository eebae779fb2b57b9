"""Which column of a sample is which of ours: by its name, and by its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from ubm_embed.data.mappings.guesses.sample import SampledColumn
from ubm_embed.data.mappings.guesses.synonyms import ATTRIBUTES, NAMES, action_of, plain_name
from ubm_embed.data.prices import parse_prices
from ubm_embed.data.tables.formats import TimeFormat
from ubm_embed.data.tables.timestamps import as_timestamp

LOG_ROLES = tuple(NAMES)
CATALOGUE_ROLES = ("product_id", "title", "category", "price")
MAX_ACTIONS = 200
ENOUGH = 0.35
_CLEAR = 0.7
_BY_VALUES = 0.55  # the score of a column whose values alone speak for it
# Those that a number alone, or ISO 8601, is not; the day first, which most of the world writes.
TIME_FORMATS = (
    None,
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%d-%m-%Y",
    "%d %b %Y %H:%M:%S",
    "%b %d, %Y %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S %z",
    "%a %b %d %H:%M:%S %Y",
    "%Y%m%d%H%M%S",
)
_CHECKED = 300  # values


@dataclass(frozen=True)
class Candidate:
    """A column that may be one of ours.

    Attributes:
        score: from 0 to 1.
        reason: what speaks for it.
    """

    role: str
    column: SampledColumn
    score: float
    reason: str


def candidates(columns: Iterable[SampledColumn], roles: Sequence[str]) -> list[Candidate]:
    """Every column that may be one of `roles`, the likeliest first."""
    found = [candidate for column in columns for role in roles if (candidate := _judge(role, column))]
    return sorted(found, key=lambda candidate: (-candidate.score, len(candidate.column.path)))


def assign(found: Sequence[Candidate]) -> dict[str, Candidate]:
    """The likeliest column of each role, each column once."""
    chosen: dict[str, Candidate] = {}
    used: set[str] = set()
    for candidate in found:
        if candidate.role not in chosen and candidate.column.path not in used:
            chosen[candidate.role] = candidate
            used.add(candidate.column.path)
    return chosen


def attribute_columns(columns: Iterable[SampledColumn]) -> dict[str, list[SampledColumn]]:
    """Columns by the attribute of a product that their name says."""
    found: dict[str, list[SampledColumn]] = {}
    for column in columns:
        name = plain_name(column.path.rpartition(".")[2])
        for attribute, names in ATTRIBUTES.items():
            if name in names:
                found.setdefault(attribute, []).append(column)
    return found


def time_format(values: Sequence[str]) -> tuple[str | None, float]:
    """The format of most of the values, None for one that needs none, and the share that it reads."""
    texts = pl.DataFrame({"text": values[:_CHECKED]}, schema={"text": pl.String})
    best: tuple[str | None, float] = (None, 0.0)
    for written in TIME_FORMATS:
        time = as_timestamp(pl.col("text"), pl.String(), TimeFormat(format=(written,) if written else None))
        fits = time.is_between(pl.datetime(1980, 1, 1), pl.datetime(2100, 1, 1))
        share = float(texts.select(fits.fill_null(False).mean()).item() or 0.0)
        if share > best[1]:
            best = (written, share)
        if share == 1:
            break
    return best


def _judge(role: str, column: SampledColumn) -> Candidate | None:
    name = _name_score(role, column.path)
    if not column.values or (not name and role not in ("action", "timestamp")):
        return None
    fit = _FITS[role](column) if role in _FITS else _some_fit(column)
    score = name * fit if name else _BY_VALUES * fit * (role in ("action", "timestamp"))
    if role == "action" and name and fit > _CLEAR:
        score = max(score, fit)  # `type` may be anything; with such values it is nothing else
    if score < ENOUGH:
        return None
    reason = "by its name and values" if name and role in _FITS else "by its name" if name else "by its values"
    return Candidate(role, column, score, reason)


def _name_score(role: str, path: str) -> float:
    """1 for the surest name, down to 0.6 for the last; 0.45 for a name that ends with one of the surest."""
    names = path.split(".")
    # Some tools write `g:id` or `item_id:token`.
    for text in ("".join(names[-2:]), names[-1], *names[-1].split(":")):
        name = plain_name(text)
        if name in NAMES[role]:
            return 1 - 0.4 * NAMES[role].index(name) / len(NAMES[role]) - 0.01 * (len(names) - 1)
    sure = [synonym for synonym in NAMES[role][:8] if len(synonym) > 3]
    return 0.45 if plain_name(names[-1]).endswith(tuple(sure)) else 0.0


def _share(column: SampledColumn, holds: Callable[[pl.Expr], pl.Expr]) -> float:
    texts = pl.DataFrame({"text": column.values[:_CHECKED]}, schema={"text": pl.String})
    return float(texts.select(holds(pl.col("text")).fill_null(False).mean()).item())


def _some_fit(column: SampledColumn) -> float:
    return 1.0


def _time_fit(column: SampledColumn) -> float:
    """A number since 1970 has 9 digits or more; without a name that says so, one of fewer than 10 is rather an id."""
    digits = 9 if _name_score("timestamp", column.path) else 10
    written, share = time_format(column.values)
    if written is None and _share(column, lambda text: text.str.contains(rf"^[0-9]{{{digits},}}|[-/:]")) <= 0.8:
        return 0.0
    return share if share > 0.8 else 0.0


def _action_fit(column: SampledColumn) -> float:
    values = column.values
    if column.distinct > MAX_ACTIONS:
        return 0.0
    known = sum(action_of(value) is not None for value in values) / len(values)
    codes = all(value.isdecimal() and len(value) < 3 for value in set(values)) and 1 < column.distinct < 10
    return max(known, 0.6 if codes else 0.0)


def _id_fit(column: SampledColumn) -> float:
    blanks = _share(column, lambda text: text.str.contains(r"\s\S+\s"))
    return 0.0 if blanks > 0.5 else 1.0


def _session_fit(column: SampledColumn) -> float:
    """An id of which every row has another one is no session."""
    return 0.4 if len(column.values) > 50 and column.distinct == len(column.values) else _id_fit(column)


def _message_fit(column: SampledColumn) -> float:
    return 1.0 if column.distinct > 0.9 * len(column.values) else 0.0


def _price_fit(column: SampledColumn) -> float:
    return _share(column, lambda text: parse_prices(text).is_not_null())


def _title_fit(column: SampledColumn) -> float:
    return _share(column, lambda text: text.str.contains(r"\p{L}"))


def _position_fit(column: SampledColumn) -> float:
    return _share(column, lambda text: text.str.contains(r"^[0-9]{1,9}$"))


_FITS: dict[str, Callable[[SampledColumn], float]] = {
    "action": _action_fit,
    "timestamp": _time_fit,
    "session_id": _session_fit,
    "product_id": _id_fit,
    "message_id": _message_fit,
    "price": _price_fit,
    "title": _title_fit,
    "position": _position_fit,
}
