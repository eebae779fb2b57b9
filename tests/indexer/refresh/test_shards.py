"""A catalogue cut into shards: the selected rows in their order, under names that tell what is in them."""

import tempfile
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.refresh.catalogue_scan import Feed, with_hashes
from indexer.refresh.changes import Changes
from indexer.refresh.shards import POSITION, Selection, Shard, cut, read_shard
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import POPULARITY, ROW_HASH, TEXT_HASH
from ubm_embed.data.products import product_batches
from ubm_embed.errors import Conflict

COUNT = 10


def shop(count: int = COUNT) -> pl.DataFrame:
    ids = [f"p{row}" for row in range(count)]
    return pl.DataFrame({"product_id": ids, "title": ids, "price": range(count)})


def read(folder: Path, frame: pl.DataFrame) -> Feed:
    frame.write_parquet(folder / "products.parquet")
    return Feed.read(folder / "products.parquet")


def changes_of(feed: Feed, *, known: int = COUNT, popularity: int = 3) -> Changes:
    """Against a version with the first `known` of the products, the last of them first."""
    live = feed.rows.head(known).reverse().with_columns(pl.lit(popularity, pl.Int64).alias(POPULARITY))
    return Changes.between(live, feed, None)


def selection(
    write: list[bool],
    encode: list[bool] | None = None,
    *,
    model_id: str = "m",
    base: int | None = 1,
    anew: bool = False,
) -> Selection:
    encode = [False] * len(write) if encode is None else encode
    return Selection(write=np.array(write), encode=np.array(encode), model_id=model_id, base=base, anew=anew)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.from_uri(tmp_path / "store")


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=25),
    st.integers(1, 30),
    st.integers(1, 30),
)
@settings(max_examples=40)
def test_the_pieces_together_are_the_selected_rows_in_order(
    marks: list[tuple[bool, bool]], rows: int, batch: int
) -> None:
    write = [written for written, _ in marks]
    encode = [written and encoded for written, encoded in marks]
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("indexer.refresh.catalogue_scan.product_batches", partial(product_batches, rows=batch)),
    ):
        store, feed = EmbeddingStore.from_uri(Path(folder) / "store"), read(Path(folder), shop(len(marks)))
        changes = changes_of(feed, known=len(marks))
        shards = list(cut(store, feed, changes, selection(write, encode), rows=rows))
        pieces = [read_shard(store.storage, "m", shard.key) for shard in shards]
    heights = [piece.height for piece in pieces]
    assert [shard.rows for shard in shards] == heights
    assert [shard.to_encode for shard in shards] == [piece[POSITION].null_count() for piece in pieces]
    assert all(height == rows for height in heights[:-1])
    assert all(0 < height <= rows for height in heights[-1:])
    positions = [None if encode[row] else len(marks) - 1 - row for row in range(len(marks))]
    expected = with_hashes(conformed(shop(len(marks)))).with_columns(
        pl.lit(3, pl.Int64).alias(POPULARITY), pl.Series(POSITION, positions, pl.Int64)
    )
    found = pl.concat(pieces) if pieces else expected.clear()
    assert found.equals(expected.filter(pl.Series(write)))


def conformed(frame: pl.DataFrame) -> pl.DataFrame:
    """As a catalogue is read."""
    with tempfile.TemporaryDirectory() as folder:
        frame.write_parquet(Path(folder) / "products.parquet")
        return pl.concat(product_batches(Path(folder) / "products.parquet"))


def keys(shards: list[Shard]) -> list[str]:
    return [shard.key for shard in shards]


@pytest.mark.parametrize("batch", [1, 3, 4, 7])
def test_keys_are_the_same_however_the_file_is_read(store: EmbeddingStore, tmp_path: Path, batch: int) -> None:
    feed = read(tmp_path, shop())
    changes, chosen = changes_of(feed), selection([True] * COUNT)
    whole = list(cut(store, feed, changes, chosen, rows=4))
    assert [shard.rows for shard in whole] == [4, 4, 2]
    with patch("indexer.refresh.catalogue_scan.product_batches", partial(product_batches, rows=batch)):
        assert list(cut(store, feed, changes, chosen, rows=4)) == whole


def test_every_shard_has_a_key_of_its_own(store: EmbeddingStore, tmp_path: Path) -> None:
    feed = read(tmp_path, shop())
    found = keys(list(cut(store, feed, changes_of(feed), selection([True] * COUNT), rows=1)))
    assert len(set(found)) == COUNT


@pytest.mark.parametrize("change", ["title", "price", "popularity", "id", "column", "model", "base", "anew", "encode"])
def test_a_shard_with_other_contents_has_another_key(store: EmbeddingStore, tmp_path: Path, change: str) -> None:
    feed = read(tmp_path, shop())
    everything = [True] * COUNT
    before = keys(list(cut(store, feed, changes_of(feed), selection(everything), rows=5)))
    last = pl.col("product_id") == "p9"
    frames = {
        "title": shop().with_columns(title=pl.when(last).then(pl.lit("new")).otherwise("title")),
        "price": shop().with_columns(price=pl.when(last).then(99).otherwise("price")),
        "id": shop().with_columns(product_id=pl.when(last).then(pl.lit("q")).otherwise("product_id")),
    }
    selections = {
        "model": selection(everything, model_id="other"),
        "base": selection(everything, base=2),
        "anew": selection(everything, anew=True),
        "encode": selection(everything, [False] * 9 + [True]),
    }
    if change == "column":
        feed = read(tmp_path, shop().with_columns(price=pl.col("price").cast(pl.Float64)))
    if change in frames:
        feed = read(tmp_path, frames[change])
    changes = changes_of(feed, popularity=4 if change == "popularity" else 3)
    after = keys(list(cut(store, feed, changes, selections.get(change, selection(everything)), rows=5)))
    assert before[1] != after[1]
    # The first shard has none of the products that changed.
    assert (before[0] == after[0]) == (change in ("title", "price", "id", "encode"))


def test_a_shard_whose_rows_are_gone_is_staged_again(store: EmbeddingStore, tmp_path: Path) -> None:
    feed = read(tmp_path, shop())
    chosen = selection([True] * COUNT)
    first, *others = cut(store, feed, changes_of(feed), chosen, rows=4)
    store.storage.write(f"staging/m/{first.key}.json", b"{}")
    store.storage.remove(f"staging/m/{first.key}.parquet")
    assert list(cut(store, feed, changes_of(feed), chosen, rows=4)) == [first, *others]
    assert all(store.storage.exists(f"staging/m/{shard.key}.parquet") for shard in (first, *others))


def test_nothing_selected_is_no_shard(store: EmbeddingStore, tmp_path: Path) -> None:
    feed = read(tmp_path, shop())
    assert list(cut(store, feed, changes_of(feed), selection([False] * COUNT), rows=4)) == []
    assert store.storage.list("staging") == []


@pytest.mark.parametrize("change", ["title", "price", "order", "shorter", "longer"])
def test_a_file_that_changed_since_it_was_compared_is_refused(
    store: EmbeddingStore, tmp_path: Path, change: str
) -> None:
    feed = read(tmp_path, shop())
    changes = changes_of(feed)
    changed = {
        "title": shop().with_columns(title=pl.lit("another")),
        "price": shop().with_columns(price=pl.col("price") + 1),
        "order": shop().reverse(),
        "shorter": shop(9),
        "longer": shop(11),
    }
    changed[change].write_parquet(feed.file)
    with pytest.raises(Conflict, match=r"products\.parquet changed while it was read"):
        list(cut(store, feed, changes, selection([True] * COUNT), rows=4))


def test_shards_keep_both_hashes(store: EmbeddingStore, tmp_path: Path) -> None:
    feed = read(tmp_path, shop())
    (shard,) = cut(store, feed, changes_of(feed), selection([True] * COUNT), rows=100)
    assert read_shard(store.storage, "m", shard.key).select("product_id", TEXT_HASH, ROW_HASH).equals(feed.rows)
