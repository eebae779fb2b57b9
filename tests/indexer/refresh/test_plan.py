"""Changes against a slow, obvious comparison of two dictionaries."""

from pathlib import Path
from typing import NamedTuple

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from indexer.refresh.catalogue_scan import CatalogueScan, with_hashes
from indexer.refresh.plan import ChangeCounts, Changes
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH
from ubm_embed.data.products import PRODUCT_SCHEMA


class Row(NamedTuple):
    """A product in short."""

    title: str
    price: int


def frame_of(products: dict[str, Row]) -> pl.DataFrame:
    rows = [(product_id, title, None, None, price) for product_id, (title, price) in products.items()]
    return with_hashes(pl.DataFrame(rows, schema=PRODUCT_SCHEMA | {"price": pl.Int64()}, orient="row"))


def scan_of(products: dict[str, Row]) -> CatalogueScan:
    frame = frame_of(products)
    return CatalogueScan(Path("products.csv"), frame.schema, frame.select("product_id", TEXT_HASH, ROW_HASH))


def live_of(products: dict[str, Row], popularity: dict[str, int]) -> pl.DataFrame:
    counts = pl.Series(POPULARITY, [popularity.get(name, 0) for name in products], pl.Int64)
    return frame_of(products).select("product_id", TEXT_HASH, ROW_HASH, counts)


def counts_of(popularity: dict[str, int]) -> pl.DataFrame:
    schema = {"product_id": pl.String(), POPULARITY: pl.UInt32()}
    return pl.DataFrame(list(popularity.items()), schema=schema, orient="row")


IDS = st.sampled_from("abcdefgh")
PRODUCTS = st.dictionaries(IDS, st.builds(Row, st.sampled_from(["x", "y"]), st.integers(0, 1)))
POPULARITIES = st.dictionaries(IDS, st.integers(1, 2))


def compare(
    live: dict[str, Row], had: dict[str, int], now: dict[str, Row], counted: dict[str, int] | None
) -> dict[str, str]:
    """What happened to each product."""
    outcome = {}
    for name, product in now.items():
        popular = had.get(name, 0) if counted is None else counted.get(name, 0)
        if name not in live:
            outcome[name] = "new"
        elif product.title != live[name].title:
            outcome[name] = "changed"
        elif product.price != live[name].price or popular != had.get(name, 0):
            outcome[name] = "updated"
        else:
            outcome[name] = "unchanged"
    return outcome | {name: "removed" for name in live if name not in now}


@given(PRODUCTS, POPULARITIES, PRODUCTS.filter(bool), st.none() | POPULARITIES)
def test_changes_are_those_of_two_dictionaries(
    live: dict[str, Row], had: dict[str, int], now: dict[str, Row], counted: dict[str, int] | None
) -> None:
    had = {name: count for name, count in had.items() if name in live}
    popularity = None if counted is None else counts_of(counted)
    changes = Changes.between(live_of(live, had), scan_of(now), popularity)
    expected = compare(live, had, now, counted)
    ids = list(now)
    assert changes.live_rows.tolist() == [list(live).index(name) if name in live else -1 for name in ids]
    assert changes.text_differs.tolist() == [expected[name] in ("new", "changed") for name in ids]
    assert changes.row_differs.tolist() == [expected[name] != "unchanged" for name in ids]
    expected_counts = had if counted is None else counted
    assert changes.popularity.tolist() == [expected_counts.get(name, 0) for name in ids]
    assert changes.removed.to_list() == [name for name in live if name not in now]
    kinds = list(expected.values())
    assert changes.counts == ChangeCounts(
        **{kind: kinds.count(kind) for kind in ("new", "changed", "updated", "unchanged", "removed")}
    )
    assert changes.counts.none == (set(kinds) <= {"unchanged"})


@given(PRODUCTS.filter(bool), st.none() | POPULARITIES)
def test_without_a_live_version_every_product_is_new(now: dict[str, Row], counted: dict[str, int] | None) -> None:
    changes = Changes.between(None, scan_of(now), None if counted is None else counts_of(counted))
    assert changes.counts == ChangeCounts(new=len(now), changed=0, updated=0, unchanged=0, removed=0)
    assert changes.text_differs.all()
    assert changes.row_differs.all()
    assert changes.popularity.tolist() == [(counted or {}).get(name, 0) for name in now]


def test_rows_without_hashes_are_all_changed() -> None:
    """Versions of older software have none."""
    products = {"a": Row("x", 1), "b": Row("y", 1)}
    unhashed = live_of(products, {"a": 3}).with_columns(
        pl.lit(None, pl.Binary).alias(TEXT_HASH), pl.lit(None, pl.UInt64).alias(ROW_HASH)
    )
    changes = Changes.between(unhashed, scan_of(products), None)
    assert changes.counts == ChangeCounts(new=0, changed=2, updated=0, unchanged=0, removed=0)
    assert changes.popularity.tolist() == [3, 0]
