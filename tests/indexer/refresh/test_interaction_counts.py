"""Interactions are counted and followed, in memory that does not grow with the log."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.catalogue.id_hashes import id_hashes
from indexer.refresh.interaction_counts import InteractionCounts
from ubm_embed.errors import InvalidData, NotFound


def chosen(counts: InteractionCounts, product_ids: Iterable[str]) -> dict[str, int]:
    """How often each of these products was chosen, if it was."""
    names = list(product_ids)
    return {name: count for name, count in zip(names, counts.of(id_hashes(names)).tolist(), strict=True) if count}


def write_interactions(file: Path, rows: list[tuple[str, int, str, str | None]]) -> Path:
    schema = {"session_id": pl.String, "position": pl.Int64, "action": pl.String, "product_id": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    frame.with_columns(query=pl.when(pl.col("product_id").is_null()).then(pl.lit("red"))).write_parquet(file)
    return file


ROWS: list[tuple[str, int, str, str | None]] = [
    ("s1", 0, "view", "a"),
    ("s1", 1, "search", None),
    ("s1", 2, "view", "b"),
    ("s1", 3, "buy", "b"),
    ("s1", 4, "view", "a"),
    ("s2", 0, "view", "c"),
    ("s3", 0, "search", None),
]


@pytest.fixture
def counts(tmp_path: Path) -> InteractionCounts:
    return InteractionCounts.read(write_interactions(tmp_path / "interactions.parquet", ROWS))


def test_each_interaction_with_a_product_counts(counts: InteractionCounts) -> None:
    assert chosen(counts, "abcdx") == {"a": 2, "b": 2, "c": 1}


def test_pairs_follow_each_other_in_one_session_and_differ(counts: InteractionCounts) -> None:
    assert sorted(counts.pairs.iter_rows()) == [("a", "b"), ("b", "a")]


def test_the_order_of_the_file_does_not_matter(tmp_path: Path, counts: InteractionCounts) -> None:
    shuffled = InteractionCounts.read(write_interactions(tmp_path / "shuffled.parquet", ROWS[::-1]))
    assert sorted(shuffled.pairs.iter_rows()) == sorted(counts.pairs.iter_rows())
    assert chosen(shuffled, "abcdx") == chosen(counts, "abcdx")


def test_what_was_taken_back_out_of_the_cart_counts_nowhere(tmp_path: Path) -> None:
    actions = [("view", "a"), ("add", "b"), ("remove", "b"), ("view", "c"), ("remove", "d"), ("view", "b")]
    rows = [("s", position, action, name) for position, (action, name) in enumerate(actions)]
    counts = InteractionCounts.read(write_interactions(tmp_path / "interactions.parquet", [*rows]))
    assert chosen(counts, "abcdx") == {"a": 1, "b": 1, "c": 1}
    assert sorted(counts.pairs.iter_rows()) == [("a", "c"), ("c", "b")]


def test_searches_alone_give_no_counts(tmp_path: Path) -> None:
    counts = InteractionCounts.read(write_interactions(tmp_path / "interactions.parquet", [("s", 0, "search", None)]))
    assert (counts.hashes.size, counts.pairs.height) == (0, 0)


def test_a_long_log_is_sampled_from_its_whole_length(tmp_path: Path) -> None:
    rows: list[tuple[str, int, str, str | None]] = [
        (f"s{row:03}", position, "view", f"{'ab'[position]}{row}") for row in range(300) for position in (0, 1)
    ]
    file = write_interactions(tmp_path / "interactions.parquet", rows)
    pairs = InteractionCounts.read(file, min_pairs=100).pairs
    assert pairs["product_id"].to_list() == [f"a{row}" for row in range(0, 300, 3)]
    assert InteractionCounts.read(file).pairs.height == 300


def test_missing_interactions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        InteractionCounts.read(tmp_path / "interactions.parquet")


ACTIONS = st.sampled_from(["view", "add", "remove", "buy"])


@given(st.lists(st.tuples(st.integers(0, 5), ACTIONS, st.sampled_from("abc")), min_size=1, max_size=60))
@settings(max_examples=30, deadline=None)
def test_a_long_log_is_counted_in_parts_as_a_short_one_is_at_once(steps: list[tuple[int, str, str]]) -> None:
    """However the rows of its sessions are spread over it."""
    rows = [(f"s{session}", position, action, name) for position, (session, action, name) in enumerate(steps)]
    with tempfile.TemporaryDirectory() as folder:
        file = write_interactions(Path(folder) / "interactions.parquet", [*rows])
        whole = InteractionCounts.read(file)
        parts = InteractionCounts.read(file, rows_in_memory=7)
    assert chosen(parts, "abc") == chosen(whole, "abc")
    assert sorted(parts.pairs.iter_rows()) == sorted(whole.pairs.iter_rows())


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("action", "look", "expected one of"),
        ("product_id", None, "expected a product"),
        ("session_id", "", "expected an id"),
    ],
)
def test_a_mistake_in_a_long_log_is_named_as_in_a_short_one(
    tmp_path: Path, column: str, value: str | None, problem: str
) -> None:
    file = write_interactions(tmp_path / "interactions.parquet", [(f"s{row}", 0, "view", "a") for row in range(9)])
    frame, where = pl.read_parquet(file), pl.int_range(pl.len()) == 6
    frame.with_columns(pl.when(where).then(pl.lit(value)).otherwise(column).alias(column)).write_parquet(file)
    for rows_in_memory in (100, 4):
        with pytest.raises(InvalidData, match=problem) as caught:
            InteractionCounts.read(file, rows_in_memory=rows_in_memory)
        assert (caught.value.row, caught.value.field) == (7, column)
