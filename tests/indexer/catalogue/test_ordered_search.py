"""The ids of a catalogue are found whatever order they come in, and in order without their hashes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.catalogue import ordered_search
from indexer.catalogue.id_hashes import id_hashes
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.catalogue.ordered_search import OrderedSearch

PRODUCTS = [f"p{row}" for row in range(40)]


def search(ids: Sequence[str]) -> OrderedSearch:
    return MappedCatalogue.from_table(pa.table({"product_id": pa.array(ids, pa.large_string())})).ordered_search()


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(PRODUCTS), unique=True),
    st.lists(st.one_of(st.sampled_from(PRODUCTS), st.just("p3"), st.text(max_size=2))),
    st.booleans(),
    st.integers(1, 12),
    st.sampled_from([pa.string(), pa.large_string()]),
)
def test_ids_are_found_where_they_are(
    before: list[str], wanted: list[str], in_order: bool, rows: int, kind: pa.DataType
) -> None:
    if in_order:  # nearly: what was changed stands at the end
        wanted = [*(name for name in before if name not in wanted), *wanted]
    looked = search(before)
    for first in range(0, len(wanted), rows):
        names = wanted[first : first + rows]
        found, hashes = looked.find(pa.array(names, kind))
        assert found.tolist() == [before.index(name) if name in before else -1 for name in names]
        assert hashes.tolist() == id_hashes(names).tolist()


@pytest.mark.parametrize("gone", [0, 1, 300])
def test_only_ids_out_of_order_are_hashed(monkeypatch: pytest.MonkeyPatch, gone: int) -> None:
    """Some of 2,000 products are missing from the feed, and one of each hundred was moved to the end of the table."""
    names = [f"p{row}" for row in range(2000)]
    moved = names[50::100]
    looked = search([*(name for name in names if name not in moved), *moved])
    hashed: list[str] = []

    def watched(ids: list[str]) -> np.ndarray:
        hashed.extend(ids)
        return id_hashes(ids)

    monkeypatch.setattr(ordered_search, "id_hashes", watched)
    feed = names[:1000] + names[1000 + gone :]
    for first in range(0, len(feed), 100):
        looked.find(pa.array(feed[first : first + 100]))
    assert set(hashed) >= set(moved[:9])
    assert len(hashed) <= len(moved) + (100 if gone == 300 else 0)
