"""A refresh builds on whatever is live: after a rollback, over other columns, and in stores of older software."""

import json
import shutil
from pathlib import Path

import lancedb
import numpy as np
import polars as pl
import pytest

from indexer.refresh.gates import Gate
from indexer.refresh.plan import ChangeCounts
from indexer.refresh.refresh import build_index
from indexer.store.table_schema import ADDED_COLUMNS
from indexer.versions.live import version_numbers
from indexer.versions.rollback import roll_back
from indexer.versions.version import read_version
from tests.indexer.refresh.shop import Shop


def test_after_a_rollback_a_refresh_starts_from_the_live_version(
    shop: Shop, model_folder: Path, tmp_path: Path
) -> None:
    shop.set("p2", title="green running shoes")
    shop.drop("p7")
    shop.refresh()
    (shop.store / "live.json").write_text('{"version": 1, "history": []}\n')
    shop.set("p3", price=99.0)
    report = shop.refresh()
    assert report.published is not None
    assert (report.base, report.published.version) == (1, 3)
    assert report.changes == ChangeCounts(new=0, changed=1, updated=1, unchanged=5, removed=1)
    assert version_numbers(shop.opened) == [1, 3]
    shop.require_as_built(model_folder, tmp_path)


class TestColumnsAreNotMixed:
    """Rows are written for the version that they join, whatever else the table had last."""

    def two_numbers(self, shop: Shop, *names: str) -> pl.DataFrame:
        """The catalogue with two columns of numbers, in this order: stock is 1, weight is 2."""
        values = {"stock": 1.0, "weight": 2.0, "size": 3.0}
        return shop.products.select("product_id", "title", "category", "attributes").with_columns(
            **{name: pl.lit(values[name]) for name in names}
        )

    def renamed(self, frame: pl.DataFrame, night: int) -> pl.DataFrame:
        """The same with another text of one product."""
        named = pl.col("product_id") == "p2"
        return frame.with_columns(title=pl.when(named).then(pl.lit(f"green shoes {night}")).otherwise("title"))

    def test_a_feed_with_other_column_order_changes_nothing(self, shop: Shop) -> None:
        shop.write(self.two_numbers(shop, "stock", "weight"))
        shop.refresh(allow={Gate.SCHEMA})
        shop.write(self.two_numbers(shop, "weight", "stock"))
        assert shop.refresh().published is None
        shop.write(self.renamed(self.two_numbers(shop, "weight", "stock"), 1))
        report = shop.refresh()
        assert report.published is not None
        assert report.written == 1
        rows = shop.rows(report.published.version)
        assert set(rows["stock"]) == {1.0}
        assert set(rows["weight"]) == {2.0}

    @pytest.mark.parametrize("other", [("weight", "stock"), ("size", "stock", "weight"), ("stock",)])
    def test_after_a_rollback_over_other_columns(self, shop: Shop, other: tuple[str, ...]) -> None:
        shop.write(self.two_numbers(shop, "stock", "weight"))
        base = shop.refresh(allow={Gate.SCHEMA}).published
        # A whole rewrite, with other columns or in another order.
        shop.write(self.renamed(self.two_numbers(shop, *other), 1).with_columns(more=pl.lit(1.0)))
        shop.refresh(allow={Gate.SCHEMA})
        assert base is not None
        roll_back(shop.opened, base.version)
        shop.write(self.renamed(self.two_numbers(shop, "stock", "weight"), 2))
        report = shop.refresh()
        assert report.published is not None
        assert report.reason is None
        rows = shop.rows(report.published.version)
        assert set(rows["stock"]) == {1.0}
        assert set(rows["weight"]) == {2.0}
        assert "more" not in rows.columns
        assert "green shoes 2" in rows["title"].to_list()


# Versions of older software have neither.
PLAIN = {"counts": False, "words": False}


def age(shop: Shop) -> None:
    """Make the store one that software before refreshes wrote: no hashes, no history, no pins, a short manifest."""
    opened, version = shop.opened, read_version(shop.opened)
    rows, table = shop.rows(), shop.store / "products.lance"
    vectors = opened.table.vectors(version.table_version, np.arange(rows.height))
    order = opened.table.read(version.table_version)
    shutil.rmtree(table)
    data = order.with_columns(pl.Series("vector", vectors, pl.Array(pl.Float32, vectors.shape[1]))).to_arrow()
    written = lancedb.connect(shop.store).create_table("products", data=data)
    assert not {"text_hash", "row_hash"} & set(written.schema.names)
    manifest = shop.store / "versions" / "1" / "manifest.json"
    later = (
        "product_model_id",
        "parameters",
        "base",
        "changes",
        "uniformity",
        "alignment",
        "columns",
        "gates",
        "files",
        "counts",
    )
    document = json.loads(manifest.read_text()) | {"table_version": written.version}
    manifest.write_text(json.dumps({name: value for name, value in document.items() if name not in later}))
    (shop.store / "live.json").write_text('{"version": 1}\n')


def test_a_store_of_older_software_answers_and_is_refreshed(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    before = shop.answer(**PLAIN)
    age(shop)
    assert shop.answer(**PLAIN) == before
    shop.set("p3", price=99.0)
    shop.drop("p7")
    report = shop.refresh()
    assert report.reason == "version 1 was written by older software"
    assert (report.base, report.written, report.encoded) == (1, 7, 7)
    assert report.changes.removed == 1
    assert shop.popularity() == {"p1": 0, "p2": 1, "p3": 3, "p4": 0, "p5": 1, "p6": 0, "p8": 0}
    assert shop.answer(version=1, **PLAIN) == before
    shop.require_as_built(model_folder, tmp_path)
    again = shop.refresh()
    assert (again.published, again.encoded) == (None, 0)
    assert shop.answer(version=1, **PLAIN) == before
    shop.set("p3", price=98.0)
    assert shop.refresh().pruned == (1,)
    assert set(ADDED_COLUMNS) <= set(shop.opened.table.schema(read_version(shop.opened).table_version).names)


def test_a_store_of_older_software_can_be_rebuilt(shop: Shop, model_folder: Path) -> None:
    before = shop.answer(**PLAIN)
    age(shop)
    build_index(model=model_folder, products=shop.file, store=shop.store)
    assert shop.answer(**PLAIN)["matches"] == before["matches"]
    assert shop.answer(version=1, **PLAIN) == before
