"""Sessions do not depend on how many events are in memory at once."""

import itertools
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ubm_embed.data.logs.sessions import named_sessions, ordered_sessions, split_sessions

NOON = datetime(2024, 1, 1, 12)
GAP = timedelta(minutes=30)
SCHEMA = {
    "session_id": pl.String,
    "user_id": pl.String,
    "timestamp": pl.Datetime("us"),
    "position": pl.Int64,
    "order": pl.UInt32,
}

# A session's name may be the one that a visit of user "a" gets.
NAMES = st.sampled_from(["s", "t", "u", f"a-{1_704_110_400_000_000}"])
MINUTES = st.integers(0, 60)
GIVEN = st.tuples(NAMES, st.none() | st.sampled_from("abc"), st.none() | MINUTES, st.none() | st.integers(0, 3))
LOOSE = st.tuples(st.none(), st.sampled_from("abc"), MINUTES, st.none() | st.integers(0, 3))


def log(rows: list[tuple[str | None, str | None, int | None, int | None]]) -> pl.LazyFrame:
    filled = [
        (session, user, None if minute is None else NOON + timedelta(minutes=minute), position, order)
        for order, (session, user, minute, position) in enumerate(rows)
    ]
    return pl.LazyFrame(filled, schema=SCHEMA, orient="row")


def slowly_ordered(events: pl.DataFrame) -> list[int]:
    """One sort over everything, session by session."""
    timed = pl.col("timestamp").is_not_null().all().over("session_id")
    begun = pl.col("timestamp").min().over("session_id")
    first = pl.col("order").min().over("session_id")
    within = [pl.when(timed).then(pl.col("timestamp")), "position", "order"]
    return events.sort(begun, first, *within, nulls_last=[True, False, False, False, False])["order"].to_list()


@settings(max_examples=40)
@given(st.lists(GIVEN | LOOSE, min_size=1, max_size=25), st.integers(1, 30))
def test_events_are_named_and_ordered_as_if_all_were_in_memory(rows: list, at_once: int) -> None:
    events = log(rows)
    expected = split_sessions(events.collect(), GAP)
    with TemporaryDirectory() as folder:
        named = named_sessions(events, GAP, Path(folder), rows=at_once)
        assert named.collect().sort("order").equals(expected)
        parts = list(ordered_sessions(named, Path(folder), rows=at_once))
    assert pl.concat(parts)["order"].to_list() == slowly_ordered(expected)
    assert pl.concat(parts).columns == expected.columns


def test_no_session_is_cut_in_two_and_parts_are_no_larger_than_needed(tmp_path: Path) -> None:
    sizes = [3, 1, 7, 2, 2, 1, 4]
    rows = [(f"s{number}", None, number, None) for number, size in enumerate(sizes) for _ in range(size)]
    parts = list(ordered_sessions(log(rows), tmp_path, rows=4))
    sessions = [part["session_id"].unique(maintain_order=True).to_list() for part in parts]
    assert list(itertools.chain.from_iterable(sessions)) == [f"s{number}" for number in range(len(sizes))]
    assert max(part.height for part in parts) < 4 + max(sizes)


@pytest.mark.parametrize("rows", [1, 10])
def test_no_events_give_no_parts(tmp_path: Path, rows: int) -> None:
    assert sum(part.height for part in ordered_sessions(log([]), tmp_path, rows=rows)) == 0
