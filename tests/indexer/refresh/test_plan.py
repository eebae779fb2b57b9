"""Changes against a slow, obvious comparison of two dictionaries."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.catalogue.id_hashes import id_hashes
from indexer.refresh.catalogue_scan import CatalogueScan
from indexer.refresh.changes import ChangeCounts, Changes
from indexer.refresh.interaction_counts import InteractionCounts
from indexer.refresh.live_rows import LiveRows
from tests.indexer.refresh.live_shop import live_rows
from ubm_embed.data.products import PRODUCT_SCHEMA


class Row(NamedTuple):
    """A product in short."""

    title: str
    price: int


def frame_of(products: dict[str, Row]) -> pl.DataFrame:
    rows = [(product_id, title, None, None, price) for product_id, (title, price) in products.items()]
    return pl.DataFrame(rows, schema=PRODUCT_SCHEMA | {"price": pl.Int64()}, orient="row")


def live_of(products: dict[str, Row], popularity: dict[str, int], *, hashed: bool = True) -> LiveRows:
    return live_rows(frame_of(products), [popularity.get(name, 0) for name in products], hashed=hashed)


def counts_of(popularity: dict[str, int]) -> InteractionCounts:
    return InteractionCounts.empty().plus(id_hashes(popularity), np.array(list(popularity.values()), np.int64))


def changes_of(live: LiveRows | None, products: dict[str, Row], popularity: dict[str, int] | None) -> Changes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "products.parquet"
        frame_of(products).write_parquet(file)
        scan = CatalogueScan.read(file, None, live, batch_rows=3)
    return Changes.between(live, scan, None if popularity is None else counts_of(popularity))


IDS = st.sampled_from("abcdefgh")
PRODUCTS = st.dictionaries(IDS, st.builds(Row, st.sampled_from(["x", "y"]), st.integers(0, 1)), min_size=1)
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


@given(PRODUCTS, POPULARITIES, PRODUCTS, st.none() | POPULARITIES)
@settings(deadline=None)
def test_changes_are_those_of_two_dictionaries(
    live: dict[str, Row], had: dict[str, int], now: dict[str, Row], counted: dict[str, int] | None
) -> None:
    had = {name: count for name, count in had.items() if name in live}
    changes = changes_of(live_of(live, had), now, counted)
    expected = compare(live, had, now, counted)
    ids = list(now)
    assert changes.positions.tolist() == [list(live).index(name) if name in live else -1 for name in ids]
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


@given(PRODUCTS, st.none() | POPULARITIES)
@settings(deadline=None)
def test_without_a_live_version_every_product_is_new(now: dict[str, Row], counted: dict[str, int] | None) -> None:
    changes = changes_of(None, now, counted)
    assert changes.counts == ChangeCounts(new=len(now), changed=0, updated=0, unchanged=0, removed=0)
    assert changes.text_differs.all()
    assert changes.row_differs.all()
    assert changes.popularity.tolist() == [(counted or {}).get(name, 0) for name in now]


def test_rows_without_hashes_are_all_changed() -> None:
    """Versions of older software have none."""
    products = {"a": Row("x", 1), "b": Row("y", 1)}
    changes = changes_of(live_of(products, {"a": 3}, hashed=False), products, None)
    assert changes.counts == ChangeCounts(new=0, changed=2, updated=0, unchanged=0, removed=0)
    assert changes.popularity.tolist() == [3, 0]
