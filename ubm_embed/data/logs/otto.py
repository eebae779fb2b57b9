"""Sessions of OTTO's recommender dataset: one JSON object each, with a list of events.

`{"session": 1, "events": [{"aid": 7, "ts": 1661724000278, "type": "clicks"}]}`, see
https://github.com/otto-de/recsys-dataset
"""

from __future__ import annotations

import polars as pl

from ubm_embed.data.logs.event_table import PROBLEM, ROW, event_columns, other_event, text_at, time_at, unread_time

ACTION_OF = {"clicks": "view", "carts": "add", "orders": "buy"}
# How JSON is read: numbers may be texts.
OTTO_SCHEMA: dict[str, pl.DataType] = {
    "session": pl.String(),
    "events": pl.List(pl.Struct(dict.fromkeys(("aid", "ts", "type"), pl.String))),
}


def otto_events(log: pl.LazyFrame) -> pl.LazyFrame:
    """The events of the sessions of one file, in `EVENT_SCHEMA`."""
    # `explode` would drop a session without events.
    events = log.with_columns(pl.when(pl.col("events").list.len() > 0).then("events")).explode("events")
    schema = events.collect_schema()
    kind, time = text_at(schema, "events", "type"), text_at(schema, "events", "ts")
    action = kind.replace_strict(ACTION_OF, default=None, return_dtype=pl.String)
    timed = events.with_columns(action.alias("action"), time.alias("time"))
    schema = timed.collect_schema()
    return timed.select(
        event_columns(
            session_id=text_at(schema, "session"),
            timestamp=time_at(schema, "time"),
            unread_timestamp=unread_time(schema, "time"),
            action=pl.col("action"),
            product_id=text_at(schema, "events", "aid"),
            row=pl.col(ROW),
            problem=pl.col(PROBLEM),
            dropped=other_event(),
        )
    )
