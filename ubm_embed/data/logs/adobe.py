"""Events of an Adobe Analytics data feed: hits without a header, whose columns a file beside them names.

https://experienceleague.adobe.com/en/docs/analytics/export/analytics-data-feed/data-feed-contents/datafeeds-reference
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ubm_embed.data.logs.adobe_headers import HEADERS, LOOKUP_DATA, column_headers
from ubm_embed.data.logs.event_table import OTHER_EVENT, ROW, event_columns, text_at, time_at, unread_time
from ubm_embed.data.prices import parse_prices
from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.table_files import scan_table
from ubm_embed.errors import InvalidData

EXCLUDED = "excluded hit"
DUPLICATE_PURCHASE = "duplicate purchase"
# What a feed delivers beside the hits.
_LOOKUPS = frozenset(
    {
        "browser.tsv",
        "browser_type.tsv",
        "color_depth.tsv",
        HEADERS,
        "connection_type.tsv",
        "country.tsv",
        "event.tsv",
        "event_list.tsv",
        "javascript_version.tsv",
        "languages.tsv",
        "operating_systems.tsv",
        "plugins.tsv",
        "referrer_type.tsv",
        "resolution.tsv",
        "search_engines.tsv",
    }
)
# By the numbers of Adobe's events. Of a hit with several the first one here counts.
_ACTION_OF = {"1": "buy", "12": "add", "13": "remove", "2": "view"}
# Hits that Adobe's own reports leave out too: bots, and what was uploaded or copied from elsewhere.
_OTHER_SOURCES = ("5", "7", "8", "9")
_VISITOR = ("post_visid_high", "post_visid_low")
_VISIT = (*_VISITOR, "visit_num", "visit_start_time_gmt")
# In lists, a caret stands before a character that is meant as itself.
_ESCAPED = {"^^": "\ue000", "^,": "\ue001", "^;": "\ue002", "^=": "\ue003"}


def is_lookup(file: Path) -> bool:
    """Whether the file explains the hits and has none."""
    return file.name in _LOOKUPS or LOOKUP_DATA in file.parent.name


def adobe_hits(file: Path) -> pl.LazyFrame:
    """The raw events of one file.

    Raises:
        NotFound: no such file.
        InvalidData: see `adobe_log`.
    """
    return adobe_events(adobe_log(file))


def adobe_log(file: Path) -> pl.LazyFrame:
    """The hits of one file, and `ROW`.

    Raises:
        NotFound: no such file.
        InvalidData: no names of the columns, see `column_headers`; another number of columns, or a column missing.
    """
    log = scan_table(file, csv=CsvFormat(separator="\t", quote="", escape="\\", names=column_headers(file)), row=ROW)
    names = log.collect_schema().names()
    for name in (*_VISIT, "hit_time_gmt"):
        if name not in names:
            raise InvalidData(f"no such column in {HEADERS}", file=file, field=name)
    return log


def adobe_events(log: pl.LazyFrame) -> pl.LazyFrame:
    """The events of one file, in `EVENT_SCHEMA`."""
    schema = log.collect_schema()
    events = pl.coalesce(text_at(schema, "post_event_list"), text_at(schema, "event_list")).str.split(",")
    # A value may follow the number: `200=1.5`.
    numbers = events.list.eval(pl.element().str.split("=").list.first())
    action = pl.coalesce(
        pl.when(numbers.list.contains(number)).then(pl.lit(action)) for number, action in _ACTION_OF.items()
    )
    products = pl.coalesce(text_at(schema, "post_product_list"), text_at(schema, "product_list"))
    hit = log.with_columns(action.alias("action"), products.alias("product"), _dropped(schema).alias("dropped"))
    entry = hit.with_columns(pl.when(pl.col("action").is_not_null()).then(_split(pl.col("product"), ",")))
    return entry.explode("product").select(_columns(schema))


def _dropped(schema: pl.Schema) -> pl.Expr:
    excluded = (text_at(schema, "exclude_hit") != "0") | text_at(schema, "hit_source").is_in(_OTHER_SOURCES)
    again = text_at(schema, "duplicate_purchase") == "1"
    return pl.when(excluded).then(pl.lit(EXCLUDED)).when(again).then(pl.lit(DUPLICATE_PURCHASE))


def _columns(schema: pl.Schema) -> list[pl.Expr]:
    # Category;Product;Quantity;Price;Events;eVars
    fields = pl.col("product").str.split(";").list

    def field(index: int) -> pl.Expr:
        text = fields.get(index, null_on_oob=True)
        for escaped, stand_in in _ESCAPED.items():
            text = text.str.replace_all(stand_in, escaped[1], literal=True)
        return pl.when(text.str.strip_chars() != "").then(text)

    # The price is that of all pieces. One that cannot be read stays as it is, to be counted.
    quantity = field(2).cast(pl.Float64, strict=False)
    each = parse_prices(field(3)) / pl.when(quantity > 0).then(quantity).otherwise(1.0)
    price = pl.coalesce(each.cast(pl.String), field(3))
    return event_columns(
        session_id=pl.concat_str([text_at(schema, name) for name in _VISIT], separator="-"),
        anonymous_id=pl.concat_str([text_at(schema, name) for name in _VISITOR], separator="-"),
        timestamp=time_at(schema, "hit_time_gmt"),
        unread_timestamp=unread_time(schema, "hit_time_gmt"),
        position=text_at(schema, "visit_page_num"),
        action=pl.col("action"),
        product_id=field(1),
        category=field(0),
        price=price,
        message_id=pl.concat_str([text_at(schema, name) for name in ("hitid_high", "hitid_low")], separator="-"),
        order_id=pl.coalesce(text_at(schema, "post_purchaseid"), text_at(schema, "purchaseid")),
        row=pl.col(ROW),
        dropped=pl.coalesce("dropped", pl.when(pl.col("action").is_null()).then(pl.lit(OTHER_EVENT))),
    )


def _split(text: pl.Expr, separator: str) -> pl.Expr:
    for escaped, stand_in in _ESCAPED.items():
        text = text.str.replace_all(escaped, stand_in, literal=True)
    return text.str.split(separator)
