"""From a shop's event log to a corpus folder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from ubm_embed.data.corpus import INTERACTIONS_FILE, PRODUCTS_FILE
from ubm_embed.data.interactions import INTERACTION_SCHEMA
from ubm_embed.data.logs.cleaning import cleaned
from ubm_embed.data.logs.duplicates import without_duplicates
from ubm_embed.data.logs.event_kind import EventKind
from ubm_embed.data.logs.event_table import PRODUCT_FIELDS, REPEATED, UNKNOWN_PRODUCT
from ubm_embed.data.logs.events import Events, read_events
from ubm_embed.data.logs.log_products import join_products, products_of
from ubm_embed.data.logs.parts import join_short, sink_aside, write_aside
from ubm_embed.data.logs.people import name_people
from ubm_embed.data.logs.report import IngestReport, Tally, count_dropped, rows_by_file
from ubm_embed.data.logs.sessions import are_repeated, named_sessions, number_interactions, ordered_sessions
from ubm_embed.data.logs.sightings import find_sightings
from ubm_embed.data.logs.taking_back import take_back
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.products import CatalogueFile
from ubm_embed.data.removals import are_frequent
from ubm_embed.data.session import Action
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.errors import InvalidData
from ubm_embed.outputs import output_folder, require_free
from ubm_embed.progress import Progress, silent

__all__ = ["IngestReport", "ingest"]

_STEPS = 4
_ACTION = pl.Enum(Action)  # a byte for each event, while they are joined and sorted


def ingest(
    sources: Sequence[str | Path],
    *,
    kind: EventKind | Mapping | str,
    out: str | Path,
    catalogue: str | Path | None = None,
    catalogue_mapping: Mapping | None = None,
    session_gap_minutes: float = 30,
    overwrite: bool = False,
    progress: Progress = silent,
) -> IngestReport:
    """Write the corpus folder `out` from logs of one kind, or read through a mapping.

    Args:
        sources: files and folders, see `read_events`.
        catalogue: a file of products. Its values take precedence over those of corpus folders among the sources, and
            those over the last ones in events.
        catalogue_mapping: how its columns become those of products, if they are not.
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
    catalogues = [CatalogueFile(Path(catalogue), catalogue_mapping)] if catalogue is not None else []
    known = [one.read() for one in catalogues]
    progress("ingest", 0, _STEPS, "reading events")
    events = read_events(sources, kind)
    catalogues += reversed(events.catalogues)
    known += [one.read() for one in reversed(events.catalogues)]
    gap = timedelta(minutes=session_gap_minutes)
    with output_folder(out, overwrite=overwrite) as aside, TemporaryDirectory(dir=aside) as name:
        folder, tally = Path(name), Tally()
        read = _read(events, folder)
        clean = cleaned(read, folder / "cleaned.parquet", tally)
        count_dropped(clean, tally)
        sightings = find_sightings(clean, folder)
        usable = _usable(clean, folder, tally)
        progress("ingest", 1, _STEPS, "joining products")
        products, without_text = join_products(known, products_of(usable, tally))
        progress("ingest", 2, _STEPS, "ordering sessions")
        people = name_people(usable.drop(PRODUCT_FIELDS), gap, folder, sightings=sightings)
        interactions = _interactions(people, products, gap, tally, folder)
        if not interactions.select(pl.len()).collect().item():
            raise InvalidData(_nothing_left(tally), file=sources[0] if len(sources) == 1 else None)
        progress("ingest", 3, _STEPS, "writing")
        products.write_parquet(aside / PRODUCTS_FILE)
        interactions.sink_parquet(aside / INTERACTIONS_FILE)
        written = pl.scan_parquet(aside / INTERACTIONS_FILE, glob=False)
        report = _report(written, products.height, without_text, tally, read, events, catalogues)
    progress("ingest", _STEPS, _STEPS)
    return report


def _read(events: Events, folder: Path) -> pl.LazyFrame:
    """The events on disk."""
    file = folder / "events.parquet"
    collect_tables([sink_aside(events.frame, file)], events.files)
    read = pl.scan_parquet(file, glob=False)
    events.require_valid(read)
    return read


def _usable(events: pl.LazyFrame, folder: Path, tally: Tally) -> pl.LazyFrame:
    """Of clean events those that count, each once."""
    good = events.filter(pl.col("dropped").is_null())
    once = without_duplicates(good, folder, tally)
    return once.drop("dropped", "problem", "unread_timestamp", "unread", "message_id", "order_id", "file", "row")


def _interactions(
    events: pl.LazyFrame, products: pl.DataFrame, gap: timedelta, tally: Tally, folder: Path
) -> pl.LazyFrame:
    """Interactions in the schema of a corpus. Events dropped here are counted."""
    events = events.with_columns(pl.col("action").cast(_ACTION))
    with_text = products.lazy().select("product_id", pl.lit(True).alias("known"))
    joined = join_short(named_sessions(events, gap, folder), with_text, "product_id", "left")
    known = pl.col("product_id").is_null() | pl.col("known").fill_null(False)
    removals = pl.col("action") == "remove"
    sums = joined.select(pl.len(), (~known).sum().alias("unknown"), (known & removals).sum().alias("removals"))
    count, unknown, removed = sums.collect(engine="streaming").row(0)
    tally.drop_all(UNKNOWN_PRODUCT, unknown, joined.filter(~known))
    kept = are_frequent(removed, count - unknown)
    parts: list[pl.LazyFrame] = []
    further = dict.fromkeys(("timestamp", "user_id"), False)
    for part in ordered_sessions(joined.filter(known).drop("known"), folder):
        ordered = part if kept or not removed else take_back(part, tally)
        repeated = are_repeated(ordered)
        tally.drop(REPEATED, ordered["order"].filter(repeated))
        interactions = number_interactions(ordered.filter(~repeated))
        for name in further:
            further[name] |= interactions[name].null_count() < interactions.height
        parts.append(write_aside(interactions, folder / f"part-{len(parts)}.parquet"))
    columns = [*INTERACTION_SCHEMA, *(name for name, filled in further.items() if filled)]
    return pl.concat(parts).select(columns).cast({"action": pl.String})


def _nothing_left(tally: Tally) -> str:
    total = tally.dropped.total() + tally.taken_back
    if not total:
        return "no events; expected at least one"
    reasons = [f"{reason} {count:,}" for reason, count in tally.dropped.most_common() if count]
    taken_back = [f"taken back: {tally.taken_back:,}"] if tally.taken_back else []
    dropped = [f"dropped: {', '.join(reasons)}"] if reasons else []
    return "; ".join([f"none of {total:,} events can be used", *taken_back, *dropped])


def _report(
    interactions: pl.LazyFrame,
    products: int,
    without_text: int,
    tally: Tally,
    read: pl.LazyFrame,
    events: Events,
    catalogues: Sequence[CatalogueFile],
) -> IngestReport:
    lengths = interactions.group_by("session_id").len().select(pl.len(), (pl.col("len") == 1).sum().alias("of_one"))
    actions = interactions.group_by("action").len().sort("len", "action", descending=[True, False])
    sessions, counted = pl.collect_all([lengths, actions], engine="streaming")
    total = int(counted["len"].sum())
    return IngestReport(
        rows=rows_by_file(read, events.files),
        left_out=events.left_out,
        events=total + tally.taken_back + tally.dropped.total(),
        interactions=total,
        taken_back=tally.taken_back,
        dropped={reason: count for reason, count in tally.dropped.most_common() if count},
        changed=dict(tally.changed.most_common()),
        lost=dict(tally.lost.most_common()),
        sessions=sessions["len"].item(),
        single_interaction_sessions=sessions["of_one"].item(),
        products=products,
        products_without_text=without_text,
        actions=dict(counted.iter_rows()),
        catalogues={str(one.path): changes for one in catalogues if (changes := list(one.changes))},
        examples=tally.examples(read, events.files),
    )
