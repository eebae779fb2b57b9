"""What the further columns of a text file hold: numbers, prices, true and false, or text.

A file of text has no types, and a condition such as `price < 50 AND in_stock` needs them. A column has a type if every
value has it that is filled and does not stand for none, as `NaN` does; `007` is no number. Two kinds of columns are
known by their names: in one of prices it is enough if half of the values are prices, and in one such as `in_stock`, `1`
and `0` are true and false. Values that do not fit become null, and are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ubm_embed.data.ids import PLACEHOLDERS
from ubm_embed.data.mappings.column import ColumnType
from ubm_embed.data.prices import is_plain_price, parse_prices
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.data.texts import filled

_NUMBER = r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$"
_CODE = r"^[+-]?0\d"
_BOOLEANS = ("false", "true")
# What else is false and true in a column whose name says that it holds nothing else.
_FLAG_PAIRS = (("0", "1"), ("no", "yes"), ("out of stock", "in stock"))
_FLAG = re.compile(r"in_stock|available|(is|has)_.+", re.IGNORECASE)
_TRUE, _FALSE = ([pair[side] for pair in (_BOOLEANS, *_FLAG_PAIRS)] for side in (1, 0))
# Beside what is no id either; in text, they may have a meaning.
_NO_VALUE = f"^(?i:{'|'.join(map(re.escape, sorted(PLACEHOLDERS | {'-', 'na'})))})$"


@dataclass(frozen=True)
class ColumnTypes:
    """The types of the columns of text.

    Attributes:
        types: by name, of those that are not text.
        nearly: the type that more than half of the values of a column of text have, by name.
        lost: how many filled values do not have the type of their column, by name; none of zero.
    """

    types: dict[str, ColumnType]
    nearly: dict[str, ColumnType]
    lost: dict[str, int]

    @property
    def prices(self) -> list[str]:
        """The columns in which a price is not written as a number."""
        return [name for name, kind in self.types.items() if kind is ColumnType.PRICE]

    @property
    def casts(self) -> list[pl.Expr]:
        """The columns in their types."""
        return [typed(pl.col(name), kind).alias(name) for name, kind in self.types.items()]


def column_types(frame: pl.LazyFrame, names: Sequence[str], files: Sequence[Path]) -> ColumnTypes:
    """The types of those columns of text, found in one pass, or two if there are prices with currencies.

    Raises:
        InvalidData: as `collect_tables`.
    """
    found = ColumnTypes({}, {}, {})
    counted = _counted(frame, {name: _counts(name) for name in names}, files)
    prices = [name for name in names if is_price(name) and 0 < counted[name]["filled"] != counted[name]["number"]]
    # Apart, since it takes ten times as long to look for a price as for a number, and most columns are of one kind.
    mixed = [name for name in names if name in prices or _is_mixed(counted[name])]
    more = {name: {"missing": pl.col(name).str.contains(_NO_VALUE).sum()} for name in mixed}
    for name in prices:
        more[name]["price"] = _number_of(pl.col(name), ColumnType.PRICE)
    counted_more = _counted(frame, more, files)
    for name in names:
        _classify(name, {"missing": 0} | counted[name] | counted_more.get(name, {}), found)
    return found


def _counted(
    frame: pl.LazyFrame, counts: Mapping[str, Mapping[str, pl.Expr]], files: Iterable[Path]
) -> dict[str, dict[str, int]]:
    """The counts of each column, by name, over its filled values."""
    if not counts:
        return {}
    flat = [count.alias(f"{len(name)} {name}{what}") for name, ours in counts.items() for what, count in ours.items()]
    # The values first, as a step of their own: otherwise polars strips them again for each of the counts.
    values = frame.select(filled(pl.col(name)) for name in counts)
    (results,) = collect_tables([values.select(flat)], files)
    row = results.row(0, named=True)
    return {name: {what: row[f"{len(name)} {name}{what}"] for what in ours} for name, ours in counts.items()}


def _is_mixed(counts: Mapping[str, int]) -> bool:
    """Whether some values, but not all, have a type; the others may stand for none."""
    every = counts["filled"]
    fitting = [count for what, count in counts.items() if what not in ("filled", "fractions", "codes")]
    return any(fitting) and every not in fitting


def _counts(name: str) -> dict[str, pl.Expr]:
    value = pl.col(name)
    flags = _FLAG_PAIRS if _FLAG.fullmatch(name) else ()
    kinds = (ColumnType.NUMBER, ColumnType.INTEGER, ColumnType.BOOLEAN)
    return {
        "filled": value.count(),
        **{" ".join(pair): value.str.to_lowercase().is_in(pair).sum() for pair in flags},
        "fractions": value.str.contains(r"[0-9][.eE]").sum(),
        "codes": value.str.contains(_CODE).sum(),
        **{str(kind): _number_of(value, kind) for kind in kinds},
    }


def _number_of(value: pl.Expr, kind: ColumnType) -> pl.Expr:
    return fits(value, kind).sum()


def _classify(name: str, counts: Mapping[str, int], found: ColumnTypes) -> None:
    every = counts["filled"] - counts["missing"]
    if not every:
        return
    # A whole number beyond 64 bits stays text.
    number = ColumnType.NUMBER if counts["fractions"] else ColumnType.INTEGER
    kind = next((kind for kind in (number, ColumnType.BOOLEAN, ColumnType.PRICE) if counts.get(kind) == every), None)
    if any(counts.get(" ".join(pair)) == every for pair in _FLAG_PAIRS):
        kind = ColumnType.BOOLEAN
    fitting = every
    if kind is None and 2 * counts.get(ColumnType.PRICE, 0) >= every:
        kind, fitting = ColumnType.PRICE, counts[ColumnType.PRICE]
    if kind:
        found.types[name] = kind
        if lost := every - fitting + counts["missing"]:
            found.lost[name] = lost
        return
    kind = next((kind for kind in (ColumnType.NUMBER, ColumnType.BOOLEAN) if every < 2 * counts[kind]), None)
    if kind and counts[kind] < every and not counts["codes"]:
        found.nearly[name] = kind


def known(text: pl.Expr) -> pl.Expr:
    """The texts that are filled and do not stand for a missing value, without blanks around them; else null."""
    value = filled(text)
    return pl.when(~value.str.contains(_NO_VALUE)).then(value)


def is_price(name: str) -> bool:
    """Whether the values of a column of this name are prices, with currencies and separators of thousands."""
    return name.lower() == "price" or name.lower().endswith("_price")


def fits(value: pl.Expr, kind: ColumnType) -> pl.Expr:
    """Whether a filled text has a type; null where it is null."""
    if kind is ColumnType.NUMBER:
        return value.str.contains(_NUMBER)
    if kind is ColumnType.INTEGER:
        whole = value.str.contains(_NUMBER) & value.cast(pl.Int64, strict=False).is_not_null()
        return pl.when(value.is_not_null()).then(whole)
    if kind is ColumnType.BOOLEAN:
        return value.str.to_lowercase().is_in(_BOOLEANS)
    return pl.when(value.is_not_null()).then(parse_prices(value).is_not_null())


def typed(text: pl.Expr, kind: ColumnType) -> pl.Expr:
    """A column of text in the type that `column_types` found; null for values without it."""
    value = known(text)
    if kind is ColumnType.BOOLEAN:
        word = value.str.to_lowercase()
        return pl.when(word.is_in(_TRUE)).then(True).when(word.is_in(_FALSE)).then(False)
    if kind is ColumnType.PRICE:
        return parse_prices(value)
    return value.cast(pl.Int64 if kind is ColumnType.INTEGER else pl.Float64)


def changed_price(prices: pl.Series) -> tuple[int, tuple[str, float]] | None:
    """How many prices of a column of text are not written as numbers, and the first, with its price; None if none."""
    value = filled(pl.col(prices.name))
    changed = prices.to_frame().select(value.filter(~is_plain_price(value) & parse_prices(value).is_not_null()))
    if changed.is_empty():
        return None
    first = changed.head(1).select(text=pl.first(), price=parse_prices(pl.first())).row(0)
    return changed.height, first


def first_misfit(frame: pl.LazyFrame, name: str, kind: ColumnType, files: Iterable[Path]) -> tuple[int, str] | None:
    """The position, from 0, and the text of the first value that is not missing and does not have the type.

    Raises:
        InvalidData: as `collect_tables`.
    """
    return _first(frame, name, ~fits(known(pl.col(name)), kind), files)


def first_lost(frame: pl.LazyFrame, name: str, kind: ColumnType, files: Iterable[Path]) -> tuple[int, str] | None:
    """The position, from 0, and the text of the first value that is filled and that `typed` makes null.

    Raises:
        InvalidData: as `collect_tables`.
    """
    text = pl.col(name)
    return _first(frame, name, filled(text).is_not_null() & typed(text, kind).is_null(), files)


def _first(frame: pl.LazyFrame, name: str, chosen: pl.Expr, files: Iterable[Path]) -> tuple[int, str] | None:
    (found,) = collect_tables([frame.select(name).with_row_index("\0row").filter(chosen).head(1)], files)
    return None if found.is_empty() else (found.item(0, 0), found.item(0, 1))
