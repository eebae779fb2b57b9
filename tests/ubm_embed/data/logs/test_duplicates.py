from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ubm_embed.data.logs.duplicates import without_duplicates
from ubm_embed.data.logs.event_table import CLEAN_SCHEMA
from ubm_embed.data.logs.report import Tally

NOON = datetime(2024, 1, 1, 12)
COLUMNS = ("file", "row", "timestamp", "action", "product_id", "message_id", "order_id", "session_id")
SCHEMA = {"file": pl.UInt32, **{name: CLEAN_SCHEMA[name] for name in COLUMNS[1:]}}


def log(*events: tuple) -> pl.LazyFrame:
    """Events of (file, row, minute, action, product, message, order, or also session)."""
    rows = [
        (file, row, None if minute is None else NOON + timedelta(minutes=minute), *rest, *[None] * (5 - len(rest)))
        for file, row, minute, *rest in events
    ]
    return pl.LazyFrame(rows, schema=SCHEMA, orient="row").with_row_index("order")


def kept(events: pl.LazyFrame, tally: Tally | None = None, rows: int = 100) -> list[int]:
    with TemporaryDirectory() as folder:
        once = without_duplicates(events, Path(folder), tally or Tally(), rows=rows)
        return once.select("order").collect()["order"].sort().to_list()


def test_a_message_counts_once_with_all_its_products() -> None:
    events = log(
        (0, 1, 0, "buy", "p", "m", None),
        (0, 1, 0, "buy", "q", "m", None),
        (0, 2, 1, "view", "p", None, None),
        (0, 3, 1, "view", "p", None, None),
        (1, 1, 0, "buy", "p", "m", None),
        (1, 1, 0, "buy", "q", "m", None),
    )
    tally = Tally()
    assert kept(events, tally) == [0, 1, 2, 3]
    assert tally.dropped == {"duplicate message": 2}


def test_a_product_of_an_order_counts_once_however_it_is_sent() -> None:
    events = log(
        (0, 1, 5, "buy", "p", "reloaded", "o"),
        (0, 2, 0, "buy", "p", "first", "o"),
        (0, 2, 0, "buy", "q", "first", "o"),
        (0, 3, 9, "buy", "r", "later", "o"),
        (0, 4, 9, "buy", "p", "other", "o2"),
        (0, 5, 9, "view", "p", "view", "o"),
        (0, 6, None, "buy", "p", "untimed", "o"),
    )
    tally = Tally()
    assert kept(events, tally) == [1, 2, 3, 4, 5]  # the earliest one, wherever it is in the log
    assert tally.dropped == {"duplicate order": 2}


def test_the_copy_of_an_order_that_is_in_a_session_counts() -> None:
    """A shop's server sends it under a name of its own, perhaps before the browser does."""
    events = log(
        (0, 1, 0, "buy", "p", None, "o", None),
        (0, 2, 1, "buy", "p", None, "o", "s"),
        (0, 3, 2, "buy", "p", None, "o", "t"),
        (0, 4, None, "buy", "p", None, "o", "s"),
    )
    assert kept(events) == [1]


EVENT = st.tuples(
    st.integers(0, 1),
    st.integers(1, 4),
    st.none() | st.integers(0, 3),
    st.sampled_from(["buy", "view"]),
    st.sampled_from("pq"),
    st.none() | st.sampled_from("mn"),
    st.none() | st.sampled_from("o"),
    st.none() | st.sampled_from("s"),
)


@settings(max_examples=60)
@given(st.lists(EVENT, max_size=15), st.integers(1, 20))
def test_any_log_is_told_as_one_event_after_the_other_would(rows: list[tuple], at_once: int) -> None:
    def rank(entry: tuple[int, tuple]) -> tuple:
        file, row, minute, *_, session = entry[1]
        return minute is None, session is None, minute or 0, file, row

    def earliest(key: str) -> list[tuple]:
        """The rows that are left, each with its place in the log."""
        first: dict[str, tuple] = {}
        left = []
        for place, event in sorted(left_over, key=rank):
            file, row, _, action, product, message, order, _ = event
            name = message if key == "message" else order and action == "buy" and f"{order} {product}"
            if not name or first.setdefault(name, (file, row)) == (file, row):
                left.append((place, event))
        return left

    left_over = list(enumerate(rows))
    left_over = earliest("message")
    left_over = earliest("order")
    assert kept(log(*rows), rows=at_once) == sorted(place for place, _ in left_over)
