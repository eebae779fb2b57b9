"""A catalogue is cut into shards: the rows to write, in order, under keys that are hashes of their contents."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.refresh.catalogue_scan import CatalogueScan
from indexer.refresh.changes import Changes
from indexer.refresh.plan import Plan
from indexer.refresh.product_hashes import with_hashes
from indexer.refresh.shards import LIVE_ROW, Shard, read_shard, stage_shards
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH
from ubm_embed.data.products import product_batches
from ubm_embed.errors import Conflict

COUNT = 10


def shop(count: int = COUNT) -> pl.DataFrame:
    ids = [f"p{row}" for row in range(count)]
    return pl.DataFrame({"product_id": ids, "title": ids, "price": range(count)})


def scan_of(folder: Path, frame: pl.DataFrame) -> CatalogueScan:
    frame.write_parquet(folder / "products.parquet")
    return CatalogueScan.read(folder / "products.parquet")


def plan_of(
    scan: CatalogueScan,
    *,
    write: list[bool] | None = None,
    encode: list[bool] | None = None,
    popularity: int = 3,
    model_id: str = "m",
    reuse: int | None = 1,
    rewrite_reason: str | None = None,
) -> Plan:
    """A plan that writes and encodes the marked rows; the live version has all products, in reverse order.

    By default every row is written and none encoded.
    """
    encoded = np.array([False] * len(scan) if encode is None else encode)
    live_rows = np.arange(len(scan), dtype=np.int32)[::-1]
    changes = replace(
        Changes.between(None, scan, None),
        popularity=np.full(len(scan), popularity),
        table_rows=live_rows,
        table_row_differs=np.array([True] * len(scan) if write is None else write),
        text_differs=encoded,
        table_text_differs=encoded,
    )
    return Plan(
        scan=scan,
        changes=changes,
        live=None,
        base=None,
        model_id=model_id,
        product_model_id=None,
        dimension=16,
        reuse=reuse,
        rewrite_reason=rewrite_reason,
        pairs=None,
    )


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.from_uri(tmp_path / "store")


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=25),
    st.integers(1, 30),
    st.integers(1, 30),
)
@settings(max_examples=40)
def test_the_shards_together_are_the_marked_rows_in_order(
    marks: list[tuple[bool, bool]], rows: int, batch_rows: int
) -> None:
    write = [written for written, _ in marks]
    encode = [written and encoded for written, encoded in marks]
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore.from_uri(Path(folder) / "store")
        scan = replace(scan_of(Path(folder), shop(len(marks))), batch_rows=batch_rows)
        shards = list(stage_shards(store, plan_of(scan, write=write, encode=encode), rows=rows))
        parts = [read_shard(store.storage, "m", shard.key) for shard in shards]
    heights = [part.height for part in parts]
    assert [shard.rows for shard in shards] == heights
    assert [shard.to_encode for shard in shards] == [part[LIVE_ROW].null_count() for part in parts]
    assert all(height == rows for height in heights[:-1])
    assert all(0 < height <= rows for height in heights[-1:])
    live_rows = [None if encode[row] else len(marks) - 1 - row for row in range(len(marks))]
    expected = with_hashes(conformed(shop(len(marks)))).with_columns(
        pl.lit(3, pl.Int64).alias(POPULARITY), pl.Series(LIVE_ROW, live_rows, pl.Int64)
    )
    joined = pl.concat(parts) if parts else expected.clear()
    assert joined.equals(expected.filter(pl.Series(write)))


def conformed(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame as a catalogue is read."""
    with tempfile.TemporaryDirectory() as folder:
        frame.write_parquet(Path(folder) / "products.parquet")
        return pl.concat(product_batches(Path(folder) / "products.parquet"))


def keys(shards: list[Shard]) -> list[str]:
    return [shard.key for shard in shards]


@pytest.mark.parametrize("batch_rows", [1, 3, 4, 7])
def test_keys_do_not_depend_on_how_the_file_is_read(store: EmbeddingStore, tmp_path: Path, batch_rows: int) -> None:
    scan = scan_of(tmp_path, shop())
    shards = list(stage_shards(store, plan_of(scan), rows=4))
    assert [shard.rows for shard in shards] == [4, 4, 2]
    assert list(stage_shards(store, plan_of(replace(scan, batch_rows=batch_rows)), rows=4)) == shards


def test_every_shard_has_its_own_key(store: EmbeddingStore, tmp_path: Path) -> None:
    shards = list(stage_shards(store, plan_of(scan_of(tmp_path, shop())), rows=1))
    assert len(set(keys(shards))) == COUNT


@pytest.mark.parametrize(
    "change", ["title", "price", "popularity", "id", "column", "model", "reuse", "rewrite", "encode"]
)
def test_a_shard_with_other_contents_has_another_key(store: EmbeddingStore, tmp_path: Path, change: str) -> None:
    before = keys(list(stage_shards(store, plan_of(scan_of(tmp_path, shop())), rows=5)))
    last = pl.col("product_id") == "p9"
    frames = {
        "title": shop().with_columns(title=pl.when(last).then(pl.lit("new")).otherwise("title")),
        "price": shop().with_columns(price=pl.when(last).then(99).otherwise("price")),
        "id": shop().with_columns(product_id=pl.when(last).then(pl.lit("q")).otherwise("product_id")),
        "column": shop().with_columns(price=pl.col("price").cast(pl.Float64)),
    }
    scan = scan_of(tmp_path, frames.get(change, shop()))
    plans = {
        "popularity": plan_of(scan, popularity=4),
        "model": plan_of(scan, model_id="other"),
        "reuse": plan_of(scan, reuse=2),
        "rewrite": plan_of(scan, rewrite_reason="columns"),
        "encode": plan_of(scan, encode=[False] * 9 + [True]),
    }
    after = keys(list(stage_shards(store, plans.get(change, plan_of(scan)), rows=5)))
    assert before[1] != after[1]
    # The first shard has none of the products that changed.
    assert (before[0] == after[0]) == (change in ("title", "price", "id", "encode"))


def test_a_shard_whose_rows_are_missing_is_staged_again(store: EmbeddingStore, tmp_path: Path) -> None:
    plan = plan_of(scan_of(tmp_path, shop()))
    first, *others = stage_shards(store, plan, rows=4)
    store.storage.write(f"staging/m/{first.key}.json", b"{}")
    store.storage.remove(f"staging/m/{first.key}.parquet")
    assert list(stage_shards(store, plan, rows=4)) == [first, *others]
    assert all(store.storage.exists(f"staging/m/{shard.key}.parquet") for shard in (first, *others))


def test_without_rows_to_write_there_is_no_shard(store: EmbeddingStore, tmp_path: Path) -> None:
    plan = plan_of(scan_of(tmp_path, shop()), write=[False] * COUNT)
    assert list(stage_shards(store, plan, rows=4)) == []
    assert store.storage.list("staging") == []


@pytest.mark.parametrize("change", ["title", "price", "order", "shorter", "longer"])
def test_a_file_that_changed_since_the_scan_is_refused(store: EmbeddingStore, tmp_path: Path, change: str) -> None:
    plan = plan_of(scan_of(tmp_path, shop()))
    changed = {
        "title": shop().with_columns(title=pl.lit("another")),
        "price": shop().with_columns(price=pl.col("price") + 1),
        "order": shop().reverse(),
        "shorter": shop(9),
        "longer": shop(11),
    }
    changed[change].write_parquet(plan.scan.file)
    with pytest.raises(Conflict, match=r"products\.parquet changed while it was read"):
        list(stage_shards(store, plan, rows=4))


def test_shards_keep_both_hashes(store: EmbeddingStore, tmp_path: Path) -> None:
    scan = scan_of(tmp_path, shop())
    (shard,) = stage_shards(store, plan_of(scan), rows=100)
    rows = read_shard(store.storage, "m", shard.key)
    shop_columns = rows.drop(TEXT_HASH, ROW_HASH, POPULARITY, LIVE_ROW)
    assert with_hashes(shop_columns).equals(rows.drop(POPULARITY, LIVE_ROW))
