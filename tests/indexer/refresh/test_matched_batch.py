"""Products that are live need no cleaning, and a catalogue reads the same with and without it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.refresh.catalogue_scan import CatalogueScan
from indexer.refresh.folded_catalogue import NewerProducts
from indexer.refresh.live_rows import LiveRows
from tests.indexer.refresh.live_shop import conformed, live_rows
from ubm_embed.data import products as catalogue_file
from ubm_embed.data.product_rows import with_clean_texts
from ubm_embed.errors import InvalidData

ODD = "Fish &amp; chips "


def shop(**titles: str) -> pl.DataFrame:
    """Twenty products, some of them with these titles."""
    names = [f"p{row}" for row in range(20)]
    attributes = [[{"name": "colour", "value": "red"}]] * 20
    columns = {"product_id": names, "title": [titles.get(name, f"shoes {name}") for name in names]}
    return pl.DataFrame(columns | {"attributes": attributes, "price": [1.0] * 20})


def scanned(folder: Path, feed: pl.DataFrame, live: LiveRows, newer: NewerProducts | None = None) -> CatalogueScan:
    feed.write_parquet(folder / "feed.parquet")
    return CatalogueScan.read(folder / "feed.parquet", None, live, newer, batch_rows=6)


def by_older_software(live: LiveRows) -> LiveRows:
    version: Any = SimpleNamespace(**{**vars(live.version), "software": "0.0"})
    return LiveRows(live.known, version, live.table, live.table, live.schema)


FEEDS = {
    "as it is live": shop(),
    "texts to be cleaned": shop(p3=ODD, p7=ODD, p12="sandals", p19="\u200bboots"),
    "ids to be cleaned": shop().with_columns(pl.col("product_id").replace("p4", " p4 ")),
    "new products": pl.concat([shop(), shop().head(3).with_columns(product_id=pl.format("q{}", "product_id"))]),
    "another order": shop(p3=ODD)[::-1],
    "another price": shop().with_columns(price=pl.when(pl.col("product_id") == "p9").then(2.0).otherwise("price")),
    "a missing category": shop().with_columns(category=pl.lit("")),
}


@pytest.mark.parametrize("feed", FEEDS.values(), ids=list(FEEDS))
@pytest.mark.parametrize("live_title", ["Fish & chips", "shoes p3"])
@pytest.mark.parametrize("folded", [False, True])
def test_a_catalogue_reads_as_if_all_of_it_were_cleaned(
    tmp_path: Path, feed: pl.DataFrame, live_title: str, folded: bool
) -> None:
    live = live_rows(conformed(shop(p3=live_title), tmp_path), [0] * 20)
    newer = None
    if folded:
        gone = pl.Series(["p0", *(f"p{row}" for row in range(14, 20))])
        newer = NewerProducts(gone, conformed(shop(p15="new &amp; newer").slice(14), tmp_path))
    one, other = (scanned(tmp_path, feed, rows, newer) for rows in (live, by_older_software(live)))
    for name in ("id_hashes", "row_hashes", "text_hashes", "spooled"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.matched is not None
    assert other.matched is not None
    assert one.matched.rows.tolist() == other.matched.rows.tolist()
    assert (one.notices, one.empty) == (other.notices, other.empty)
    every = np.ones(len(one), bool)
    rows, expected = (pl.concat([frame for _, frame in scan.rows(every)]) for scan in (one, other))
    assert rows.equals(expected)


def test_only_products_that_are_not_live_are_cleaned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[str] = []

    def watched(products: pl.DataFrame, changes: Any) -> pl.DataFrame:
        cleaned.extend(products["product_id"])
        return with_clean_texts(products, changes)

    live = live_rows(conformed(shop(), tmp_path), [0] * 20)
    monkeypatch.setattr(catalogue_file, "with_clean_texts", watched)
    scanned(tmp_path, shop(p3=ODD, p12="sandals"), live)
    assert cleaned == ["p3", "p12"]
    scanned(tmp_path, shop(), by_older_software(live))
    assert len(cleaned) == 22


def test_a_product_without_text_among_live_ones_is_named_with_its_row(tmp_path: Path) -> None:
    live = live_rows(conformed(shop(), tmp_path), [0] * 20)
    feed = shop(p1="boots", p13="&#x200b; ").with_columns(
        attributes=pl.when(pl.col("product_id") != "p13").then("attributes")
    )
    with pytest.raises(InvalidData) as error:
        scanned(tmp_path, feed, live)
    assert (error.value.row, error.value.field) == (14, "title")
