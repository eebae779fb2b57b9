"""Whose an event is: an anonymous id and the user id that it was seen with are one person.

Memory grows by the distinct pairs of both, never by the events.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from ubm_embed.data.logs.parts import ROWS, join_short, parts_of, sink_aside, write_aside
from ubm_embed.data.logs.sightings import COLUMNS
from ubm_embed.data.tables.table_files import collect_tables

# A user with more devices, counting cookies that were deleted, is a name for all who did not log in, such as "guest".
MAX_DEVICES = 1_000
_PAIR = ("anonymous_id", "user_id")


def name_people(
    events: pl.LazyFrame, gap: timedelta, folder: Path, *, sightings: pl.LazyFrame | None = None, rows: int = ROWS
) -> pl.LazyFrame:
    """The events without `anonymous_id`, and in `user_id` the person: a user, or who stayed anonymous.

    An anonymous id that was seen with several users (a shared device) does not make them one. Its events without a user
    belong to the user who logs in next during the same visit, else to the one logged in before. A user with more than
    `MAX_DEVICES` anonymous ids is nobody.

    Args:
        events: on disk, in any order.
        gap: the pause that ends a visit.
        folder: for temporary files.
        sightings: who was seen with which device besides, as `find_sightings` returns it.
        rows: about how many events are in memory at once, at least all those of a shared device.
    """
    used = events.select(pl.col(_PAIR).is_not_null().any()).collect(engine="streaming")
    if not used["anonymous_id"].item():
        return events.drop("anonymous_id")
    if not used["user_id"].item() and sightings is None:
        return events.drop("user_id").rename({"anonymous_id": "user_id"})
    sightings = events.select(COLUMNS).clear() if sightings is None else sightings
    # Before a login some tools write the device in place of the user.
    is_device = (pl.col("user_id") == pl.col("anonymous_id")).fill_null(False)
    events, sightings = (frame.with_columns(pl.when(~is_device).then("user_id")) for frame in (events, sightings))
    pairs = pl.concat([events.select(_PAIR), sightings.select(_PAIR)]).unique().collect(engine="streaming")
    devices = pairs.drop_nulls().group_by("user_id").len()
    crowds = devices.filter(pl.col("len") > MAX_DEVICES)["user_id"]
    if crowds.len():
        in_crowd = pl.col("anonymous_id").is_not_null() & pl.col("user_id").is_in(crowds.implode())
        user = pl.when(~in_crowd.fill_null(False)).then("user_id")
        events, sightings, pairs = events.with_columns(user), sightings.with_columns(user), pairs.with_columns(user)
    owners = pairs.drop_nulls().group_by("anonymous_id").agg(pl.col("user_id").first(), pl.len().alias("users"))
    single = owners.filter(pl.col("users") == 1).select("anonymous_id", pl.col("user_id").alias("owner"))
    owned = join_short(events, single.lazy(), "anonymous_id", "left")
    shared = owners.filter(pl.col("users") > 1).select("anonymous_id")
    if shared.height:
        seen = pl.concat([events.select(COLUMNS), sightings.select(COLUMNS)])
        borrowed = _borrowers(join_short(seen, shared.lazy(), "anonymous_id", "semi"), gap, folder, rows)
        owned = join_short(owned, borrowed, "order", "left")
    else:
        owned = owned.with_columns(pl.lit(None, pl.String).alias("borrower"))
    person = pl.coalesce("user_id", "owner", "borrower", _anonymous(pairs))
    named = owned.with_columns(person.alias("user_id")).drop("anonymous_id", "owner", "borrower")
    # Later steps read the events several times, and the joins would be made again each time.
    file = folder / "people.parquet"
    collect_tables([sink_aside(named, file)], [])
    return pl.scan_parquet(file, glob=False)


def _anonymous(pairs: pl.DataFrame) -> pl.Expr:
    """The name of someone who stayed anonymous; not that of a user, since both may be plain numbers."""
    taken = pairs.filter(pl.col("anonymous_id").is_in(pairs["user_id"].drop_nulls().unique().implode()))
    name = pl.col("anonymous_id")
    if taken.is_empty():
        return name
    return (
        pl.when(name.is_in(taken["anonymous_id"].unique().implode()))
        .then(pl.format("anonymous {}", name))
        .otherwise(name)
    )


def _borrowers(events: pl.LazyFrame, gap: timedelta, folder: Path, rows: int) -> pl.LazyFrame:
    """Of the events of shared devices without a user `order` and `borrower`, the one that used the device then."""
    timed = events.filter(pl.col("timestamp").is_not_null())
    count = timed.select(pl.len()).collect(engine="streaming").item()
    files = [
        write_aside(_borrower(part, gap), folder / f"devices-{number}.parquet")
        for number, part in enumerate(parts_of(timed, pl.col("anonymous_id"), -(-count // rows), folder / "devices"))
    ]
    return pl.concat(files)


def _borrower(events: pl.DataFrame, gap: timedelta) -> pl.DataFrame:
    ordered = events.sort("anonymous_id", "timestamp", "order")
    begins = (pl.col("timestamp").diff() >= gap).fill_null(True).over("anonymous_id")
    visits = ordered.with_columns(begins.cum_sum().alias("visit"), pl.col("user_id").alias("borrower"))
    visit = ("anonymous_id", "visit")
    users = visits.with_columns(pl.col("borrower").backward_fill().over(visit))
    users = users.with_columns(pl.col("borrower").forward_fill().over(visit))
    return users.filter(pl.col("user_id").is_null() & pl.col("borrower").is_not_null()).select("order", "borrower")
