"""What interactions say of products."""

from pathlib import Path

import polars as pl
import pytest

from indexer.refresh.interaction_counts import Interest
from ubm_embed.errors import NotFound


def write(file: Path, rows: list[tuple[str, int, str, str | None]]) -> Path:
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
def interest(tmp_path: Path) -> Interest:
    return Interest.read(write(tmp_path / "interactions.parquet", ROWS))


def test_each_interaction_with_a_product_counts(interest: Interest) -> None:
    assert dict(interest.counts.iter_rows()) == {"a": 2, "b": 2, "c": 1}
    assert interest.counts.columns == ["product_id", "popularity"]


def test_pairs_follow_each_other_in_one_session_and_differ(interest: Interest) -> None:
    assert sorted(interest.pairs.iter_rows()) == [("a", "b"), ("b", "a")]


def test_the_order_of_the_file_does_not_matter(tmp_path: Path, interest: Interest) -> None:
    shuffled = Interest.read(write(tmp_path / "shuffled.parquet", ROWS[::-1]))
    assert sorted(shuffled.pairs.iter_rows()) == sorted(interest.pairs.iter_rows())
    assert dict(shuffled.counts.iter_rows()) == dict(interest.counts.iter_rows())


def test_searches_alone_say_nothing(tmp_path: Path) -> None:
    interest = Interest.read(write(tmp_path / "interactions.parquet", [("s", 0, "search", None)]))
    assert (interest.counts.height, interest.pairs.height) == (0, 0)


def test_a_long_log_is_sampled_from_its_whole_length(tmp_path: Path) -> None:
    rows: list[tuple[str, int, str, str | None]] = [
        (f"s{row:06}", place, "view", f"{'ab'[place]}{row}") for row in range(30_000) for place in (0, 1)
    ]
    pairs = Interest.read(write(tmp_path / "interactions.parquet", rows)).pairs
    assert 10_000 <= pairs.height < 20_000
    numbers = pairs["product_id"].str.slice(1).cast(pl.Int64)
    assert (numbers.min(), numbers.max()) == (0, pytest.approx(30_000, abs=10))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Interest.read(tmp_path / "interactions.parquet")
