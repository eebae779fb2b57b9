"""From a shop's event log to a corpus folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from ubm_embed.data.corpus import INTERACTIONS_FILE, PRODUCTS_FILE
from ubm_embed.data.interactions import INTERACTION_SCHEMA
from ubm_embed.data.logs.event_kind import EventKind
from ubm_embed.data.logs.event_table import PRODUCT_FIELDS, REPEATED, UNKNOWN_PRODUCT
from ubm_embed.data.logs.events import Events, read_events
from ubm_embed.data.logs.sessions import (
    mark_repeated,
    named_sessions,
    number_interactions,
    ordered_sessions,
    sink_aside,
    write_aside,
)
from ubm_embed.data.mappings.mapping import Mapping as ColumnMapping
from ubm_embed.data.products import PRODUCT_SCHEMA, has_text, read_catalogue
from ubm_embed.data.tables.table_files import collect_tables, refused_write
from ubm_embed.errors import InvalidData
from ubm_embed.outputs import output_folder, require_free
from ubm_embed.progress import Progress, silent

_STEPS = 4
_ORDERS = 1 << 40  # the `order` of an event is below this
_ROW = "row of catalogue"  # no shop names a column like this


@dataclass(frozen=True)
class IngestReport:
    """How many events became interactions, and why others did not.

    Attributes:
        events: events read, counted once for each of their products; the sum of `interactions` and `dropped`.
        interactions: interactions written.
        dropped: events dropped, by reason.
        sessions: sessions written.
        single_interaction_sessions: those of one interaction.
        products: products written, including those that no session holds.
        products_without_text: products of the catalogue or the log that were not written.
        actions: interactions written, by action.
    """

    events: int
    interactions: int
    dropped: Mapping[str, int]
    sessions: int
    single_interaction_sessions: int
    products: int
    products_without_text: int
    actions: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, for JSON."""
        return asdict(self)


def ingest(
    sources: Sequence[str | Path],
    *,
    kind: EventKind | ColumnMapping | str,
    out: str | Path,
    catalogue: str | Path | None = None,
    session_gap_minutes: float = 30,
    overwrite: bool = False,
    progress: Progress = silent,
) -> IngestReport:
    """Write the corpus folder `out` from logs of one kind, or read through a mapping.

    Args:
        sources: files and folders, see `read_events`.
        catalogue: a file of products. Its values take precedence over those of corpus folders among the sources, and
            those over the last ones in events.
        session_gap_minutes: the pause that ends a session, where the log has no session ids.

    Raises:
        NotFound: no such source or catalogue.
        InvalidData: not readable, not of this kind, or without a usable event.
        Conflict: `out` is not empty and `overwrite` is false.
        OSError: the system refuses to write, as on a full disk. `out` is then unchanged.
    """
    if not session_gap_minutes > 0:
        raise ValueError(f"session_gap_minutes must be more than 0, got {session_gap_minutes}")
    require_free(out, overwrite=overwrite)
    known = [read_catalogue(catalogue)] if catalogue is not None else []
    progress("ingest", 0, _STEPS, "reading events")
    events = read_events(sources, kind)
    with _writing(out, overwrite) as aside, TemporaryDirectory(dir=aside) as folder:
        rows, seen, dropped = _collect(events, Path(folder))
        progress("ingest", 1, _STEPS, "joining products")
        products, without_text = _products([*known, *reversed(events.products)], seen)
        progress("ingest", 2, _STEPS, "ordering sessions")
        gap = timedelta(minutes=session_gap_minutes)
        interactions = _interactions(rows, products, gap, dropped, Path(folder))
        if not interactions.select(pl.len()).collect().item():
            raise InvalidData(_nothing_left(dropped), file=sources[0] if len(sources) == 1 else None)
        progress("ingest", 3, _STEPS, "writing")
        products.write_parquet(aside / PRODUCTS_FILE)
        interactions.sink_parquet(aside / INTERACTIONS_FILE)
        report = _report(products.height, without_text, pl.scan_parquet(aside / INTERACTIONS_FILE, glob=False), dropped)
    progress("ingest", _STEPS, _STEPS)
    return report


@contextmanager
def _writing(out: str | Path, overwrite: bool) -> Iterator[Path]:
    """`output_folder`, with an OSError where polars reports that the system refused to write."""
    try:
        with output_folder(out, overwrite=overwrite) as aside:
            yield aside
    except (pl.exceptions.PolarsError, OSError) as error:
        raise refused_write(error) or error from None


def _collect(events: Events, folder: Path) -> tuple[pl.LazyFrame, pl.DataFrame, Counter[str]]:
    """The usable events without product texts, the last values of each product, and the number dropped by reason."""
    file = folder / "events.parquet"
    collect_tables([sink_aside(events.frame, file)], events.files)
    read = pl.scan_parquet(file, glob=False)
    good = read.filter(pl.col("dropped").is_null()).drop("dropped")
    with_text = good.filter(pl.any_horizontal(pl.col(*PRODUCT_FIELDS).is_not_null()))
    ids = good.select("product_id").drop_nulls().unique().collect(engine="streaming")
    seen = ids.join(last_seen(with_text), on="product_id", how="left").sort("product_id")
    reasons = read.group_by("dropped").len().drop_nulls("dropped").collect(engine="streaming")
    return good.drop(PRODUCT_FIELDS), seen, Counter(dict(reasons.iter_rows()))


def last_seen(events: pl.LazyFrame) -> pl.DataFrame:
    """`product_id` and the last value that is not null of each of `PRODUCT_FIELDS`, by timestamp, then `order`.

    Reads `events` twice, to keep only the few rows with a last value in memory, and not every text ever seen.
    """
    latest = events.group_by("product_id").agg(
        pl.when(pl.col(name).is_not_null()).then(_moment()).max().alias(name) for name in PRODUCT_FIELDS
    )
    moments = latest.unpivot(PRODUCT_FIELDS, index="product_id", value_name="moment").drop_nulls("moment")
    orders = moments.select((pl.col("moment") % _ORDERS).cast(pl.Int64).alias("order")).unique()
    rows = events.with_columns(pl.col("order").cast(pl.Int64)).join(orders, on="order", how="semi")
    last = [pl.col(name).sort_by("timestamp", "order").drop_nulls().last() for name in PRODUCT_FIELDS]
    return rows.collect(engine="streaming").group_by("product_id").agg(last)


def _moment() -> pl.Expr:
    """One number that orders events by timestamp, those without one first, then by `order`."""
    microseconds = pl.col("timestamp").dt.epoch("us").cast(pl.Int128) + pl.lit(1 << 63, pl.Int128)
    return microseconds.fill_null(0) * _ORDERS + pl.col("order").cast(pl.Int128)


def _products(catalogues: Sequence[pl.DataFrame], seen: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Products with text, with values of the first catalogue that has them, and the number of products without."""
    products, *others = [*catalogues, seen.drop("price") if seen["price"].null_count() == seen.height else seen]
    for other in others:
        products = _fill(products, other)
    products = products.select(*PRODUCT_SCHEMA, pl.exclude(*PRODUCT_SCHEMA))
    with_text = products.filter(has_text()).with_columns(pl.col("attributes").fill_null([]))
    return with_text, products.height - with_text.height


def _fill(products: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """`products`, with missing values, further products and further columns taken from `other`."""
    shared = [name for name in products.columns if name in other.columns and name != "product_id"]
    joined = products.with_row_index(_ROW).join(other, on="product_id", how="full", coalesce=True, suffix=" of other")
    filled = [pl.coalesce(_filled(name, products), f"{name} of other").alias(name) for name in shared]
    ordered = joined.with_columns(filled).sort(_ROW, "product_id", nulls_last=True)
    return ordered.drop(_ROW, *(f"{name} of other" for name in shared))


def _filled(name: str, products: pl.DataFrame) -> pl.Expr:
    """The column, with null for an empty text or list."""
    if isinstance(products.schema[name], pl.List):
        return pl.when(pl.col(name).list.len() > 0).then(pl.col(name))
    if products.schema[name] == pl.String:
        return pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name))
    return pl.col(name)


def _interactions(
    rows: pl.LazyFrame, products: pl.DataFrame, gap: timedelta, dropped: Counter[str], folder: Path
) -> pl.LazyFrame:
    """Interactions in the schema of a corpus. Events dropped here are added to `dropped`."""
    with_text = products.lazy().select("product_id", pl.lit(True).alias("known"))
    joined = named_sessions(rows, gap, folder).join(with_text, on="product_id", how="left")
    known = pl.col("product_id").is_null() | pl.col("known")
    dropped[UNKNOWN_PRODUCT] = joined.select((~known.fill_null(False)).sum()).collect(engine="streaming").item()
    parts: list[pl.LazyFrame] = []
    further = dict.fromkeys(("timestamp", "user_id"), False)
    for events in ordered_sessions(joined.filter(known).drop("known"), folder):
        interactions = number_interactions(mark_repeated(events).filter(pl.col("dropped").is_null()))
        dropped[REPEATED] += events.height - interactions.height
        for name in further:
            further[name] |= interactions[name].null_count() < interactions.height
        parts.append(write_aside(interactions, folder / f"part-{len(parts)}.parquet"))
    columns = [*INTERACTION_SCHEMA, *(name for name, filled in further.items() if filled)]
    return pl.concat(parts).select(columns)


def _nothing_left(dropped: Counter[str]) -> str:
    if not dropped.total():
        return "no events; expected at least one"
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in dropped.most_common() if count)
    return f"none of {dropped.total():,} events can be used; dropped: {reasons}"


def _report(products: int, without_text: int, interactions: pl.LazyFrame, dropped: Counter[str]) -> IngestReport:
    lengths = interactions.group_by("session_id").len().select(pl.len(), (pl.col("len") == 1).sum().alias("of_one"))
    actions = interactions.group_by("action").len().sort("len", "action", descending=[True, False])
    sessions, counted = pl.collect_all([lengths, actions], engine="streaming")
    total = int(counted["len"].sum())
    return IngestReport(
        events=total + dropped.total(),
        interactions=total,
        dropped={reason: count for reason, count in dropped.most_common() if count},
        sessions=sessions["len"].item(),
        single_interaction_sessions=sessions["of_one"].item(),
        products=products,
        products_without_text=without_text,
        actions=dict(counted.iter_rows()),
    )
