"""The last values of a product against a sort of all its events."""

from datetime import datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ubm_embed.data.logs.event_table import CLEAN_SCHEMA, PRODUCT_FIELDS
from ubm_embed.data.logs.log_products import last_seen

# Before 1970 too, and more than one at the same moment.
TIMES = st.none() | st.integers(-3, 3).map(lambda second: datetime(1970, 1, 1) + timedelta(seconds=second))
ATTRIBUTES = st.none() | st.lists(st.builds(lambda value: {"name": "colour", "value": value}, st.sampled_from("ab")))
SEEN = st.tuples(
    st.sampled_from("pq"),
    TIMES,
    st.none() | st.sampled_from("xyz"),
    st.none() | st.sampled_from("kl"),
    ATTRIBUTES,
    st.none() | st.integers(0, 9),
)


@settings(max_examples=60)
@given(st.lists(SEEN, max_size=12))
def test_each_field_has_its_last_value_and_events_without_a_time_come_first(rows: list) -> None:
    columns = ("product_id", "timestamp", *PRODUCT_FIELDS)
    frame = pl.DataFrame(rows, schema={name: CLEAN_SCHEMA[name] for name in columns}, orient="row")
    events = frame.with_row_index("order")
    last = [pl.col(name).sort_by("timestamp", "order").drop_nulls().last() for name in PRODUCT_FIELDS]
    expected = events.group_by("product_id").agg(last).filter(pl.any_horizontal(pl.col(*PRODUCT_FIELDS).is_not_null()))
    assert last_seen(events.lazy()).sort("product_id").equals(expected.sort("product_id"))
