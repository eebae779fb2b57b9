"""One cleaning step for events of any log: ids, prices and phrases, with a count of what it changes or cannot read.

Most logs are clean: each row is only looked at first (`mark_unclean`), and those that need it are cleaned apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl

from ubm_embed.data.ids import BLANKS, clean_ids, is_odd_id
from ubm_embed.data.logs.event_table import LACKING, mark_dropped
from ubm_embed.data.logs.report import EXAMPLES, Tally
from ubm_embed.data.prices import is_plain_price, parse_prices
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.data.texts import CONTROLS, filled, without_controls

_IDS = ("session_id", "user_id", "anonymous_id", "product_id", "message_id", "order_id")
# A price that a cast reads; `parse_prices` reads all others.
_PLAIN_PRICE = r"^[0-9]{1,12}(?:\.[0-9]+)?$"
# What programs write where nothing was searched for; other placeholders of ids may be words.
_NO_PHRASE = r"^(?i:undefined|null|nan|\\N|\(not set\)|\(data deleted\)|\[object object\])$"
_ODD_PHRASE = rf"^[{BLANKS}]|[{BLANKS}]$|^$|{_NO_PHRASE}|{CONTROLS}"


class _Field(NamedTuple):
    """How a field of an unclean event is told: its text as read, and whether it is counted as changed or as lost."""

    text: pl.Expr
    changed: pl.Expr
    lost: pl.Expr


def mark_unclean(events: pl.LazyFrame) -> pl.LazyFrame:
    """Raw events with `unclean`, whether `cleaned` is to change a row, and null for empty titles and the like.

    An empty value would hide that of an earlier event.
    """
    odd = [
        *(is_odd_id(pl.col(name)) for name in _IDS),
        pl.col("query").str.contains(_ODD_PHRASE),
        ~pl.col("price").str.contains(_PLAIN_PRICE),
        pl.col("unread_timestamp").is_not_null(),
        pl.col("unread").is_not_null(),
    ]
    texts = [filled(pl.col(name)) for name in ("title", "category")]
    attributes = pl.when(pl.col("attributes").list.len() > 0).then(pl.col("attributes"))
    return events.with_columns(pl.any_horizontal(odd).fill_null(False).alias("unclean"), *texts, attributes)


def cleaned(read: pl.LazyFrame, file: Path, tally: Tally) -> pl.LazyFrame:
    """Events in `CLEAN_SCHEMA`, in any order; what is changed or lost is counted.

    Args:
        read: what `mark_unclean` returns, on disk.
        file: for the rows that are unclean, if there are any.
    """
    clean = read.filter(~pl.col("unclean")).cast({"price": pl.Float64})
    unclean = read.filter("unclean")
    if not read.select(pl.col("unclean").any()).collect(engine="streaming").item():
        return clean.drop("unclean")
    of_use = pl.col("dropped").is_null() | pl.col("dropped").is_in(LACKING)
    _count(unclean.filter(of_use), tally)
    found_anew = pl.when(~pl.col("dropped").is_in(LACKING)).then("dropped").alias("dropped")
    phrase = filled(without_controls(pl.col("query")))
    phrase = pl.when(~phrase.str.contains(_NO_PHRASE)).then(phrase)
    columns = [*(clean_ids(pl.col(name)) for name in _IDS), phrase, parse_prices(pl.col("price")), found_anew]
    collect_tables([mark_dropped(unclean.with_columns(columns)).sink_parquet(file, lazy=True)], [])
    return pl.concat([clean, pl.scan_parquet(file, glob=False)]).drop("unclean")


def _fields() -> dict[str, _Field]:
    never = pl.lit(False)
    fields = {}
    for name in _IDS:
        text = filled(pl.col(name))
        fields[name] = _Field(
            pl.col(name), text.is_not_null() & clean_ids(pl.col(name)).ne_missing(pl.col(name)), never
        )
    price, valued = parse_prices(pl.col("price")), clean_ids(pl.col("price")).is_not_null()
    plain = is_plain_price(filled(pl.col("price")))
    fields["price"] = _Field(pl.col("price"), price.is_not_null() & ~plain, price.is_null() & valued)
    time = pl.col("unread_timestamp")
    fields["timestamp"] = _Field(time, never, clean_ids(time).is_not_null())
    return fields


def _count(unclean: pl.LazyFrame, tally: Tally) -> None:
    marks = {
        f"{what} {name}": mark
        for name, field in _fields().items()
        for what, mark in (("changed", field.changed), ("lost", field.lost))
    }
    counts = unclean.select(mark.sum().alias(name) for name, mark in marks.items()).collect(engine="streaming")
    for mark, count in counts.row(0, named=True).items():
        if count:
            what, name = mark.split()
            (tally.changed if what == "changed" else tally.lost)[name] += count
            first = unclean.filter(marks[mark]).select("order", _fields()[name].text).head(EXAMPLES)
            tally.show(mark, dict(first.collect(engine="streaming").iter_rows()))
    unread = unclean.select("order", "unread").drop_nulls("unread").explode("unread").unnest("unread")
    for name, count in unread.group_by("name").len().sort("name").collect(engine="streaming").iter_rows():
        tally.lost[name] += count
        first = unread.filter(pl.col("name") == name).select("order", "value").head(EXAMPLES)
        tally.show(f"lost {name}", dict(first.collect(engine="streaming").iter_rows()))
