"""A shop whose products change, and what a version with revisions has to say about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.revisions.segment import HASH_BYTES, segment_schema

DIMENSION = 4
PAIRS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))
COLUMNS = pa.schema(
    [
        ("product_id", pa.string()),
        ("title", pa.string()),
        ("category", pa.string()),
        ("attributes", PAIRS),
        ("price", pa.float64()),
        ("tags", pa.list_(pa.string())),
    ]
)
WITH_POPULARITY = COLUMNS.append(pa.field("popularity", pa.int64()))
SEGMENT = segment_schema(WITH_POPULARITY, DIMENSION)
CONDITIONS = (
    "price < 3",
    "price IS NULL",
    "category LIKE 's%' AND price >= 2",
    "popularity > 1 OR category IS NULL",
    "array_has(tags, 'new')",
    "product_id IN ('a', 'x', '7')",
)


@dataclass(frozen=True)
class Row:
    """A product as the shop has it."""

    title: str = "shoe"
    category: str | None = None
    colour: str | None = None
    price: float | None = None
    tags: tuple[str, ...] | None = None

    @property
    def text_hash(self) -> bytes:
        """Of what the model reads."""
        return _digest((self.title, self.category, self.colour))

    @property
    def vector(self) -> list[float]:
        """As a model would make it: by the text alone."""
        return [byte / 256 for byte in self.text_hash[:DIMENSION]]

    def columns(self, product_id: str) -> dict[str, Any]:
        """As in a table."""
        pairs = [] if self.colour is None else [{"name": "colour", "value": self.colour}]
        tags = None if self.tags is None else list(self.tags)
        return {
            "product_id": product_id,
            "title": self.title,
            "category": self.category,
            "attributes": pairs,
            "price": self.price,
            "tags": tags,
        }


Shop = Mapping[str, Row]
Change = tuple[str, Row | None]  # None deletes the product

ROWS = st.builds(
    Row,
    title=st.sampled_from(["shoe", "boot"]),
    category=st.sampled_from([None, "shoes", "sandals"]),
    colour=st.sampled_from([None, "red"]),
    price=st.sampled_from([None, 1.0, 2.0, 5.0]),
    tags=st.sampled_from([None, (), ("new",), ("new", "hot")]),
)
IDS = [*"abcxyz", "7"]
SHOPS = st.dictionaries(st.sampled_from(IDS[:4]), ROWS, min_size=1)
CHANGES = st.lists(st.tuples(st.sampled_from(IDS), st.none() | ROWS), max_size=12)


def popularity(product_id: str) -> int:
    """Of a product of the base."""
    return {"a": 3, "b": 1, "c": 3}.get(product_id, 0)


def table(shop: Shop, popular: Iterable[str]) -> pa.Table:
    """The products of a shop, of which these have their popularity."""
    popular = set(popular)
    rows = [
        {**row.columns(name), "popularity": popularity(name) if name in popular else 0} for name, row in shop.items()
    ]
    return pa.Table.from_pylist(rows, WITH_POPULARITY)


def segment_rows(base: Shop, changes: Sequence[Change], first: int = 1) -> pa.Table:
    """Changes as rows of segments, each in a revision of its own."""
    rows = [_segment_row(base, name, row, number) for number, (name, row) in enumerate(changes, first)]
    return pa.Table.from_pylist(rows, SEGMENT)


def _segment_row(base: Shop, name: str, row: Row | None, number: int) -> dict[str, Any]:
    changed = {"product_id": name, "_row_revision": number, "_row_time": datetime(2026, 1, 1, tzinfo=UTC)}
    if row is None:
        return {**changed, "_row_deleted": True}
    same_text = name in base and base[name].text_hash == row.text_hash
    return {
        **row.columns(name),
        **changed,
        "vector": None if same_text else row.vector,
        "text_hash": row.text_hash,
        "row_hash": row_hash(row),
        "_row_deleted": False,
    }


def row_hash(row: Row) -> int:
    """Of all columns."""
    return int.from_bytes(_digest(row)[:8], "little")


def changed(shop: Shop, changes: Iterable[Change]) -> dict[str, Row]:
    """The shop after changes."""
    after = dict(shop)
    for name, row in changes:
        after.pop(name, None)
        if row is not None:
            after[name] = row
    return after


def described(catalogue: Catalogue) -> dict[str, Any]:
    """All that a catalogue says of its products, by id, whatever their positions."""
    found = catalogue.find([*IDS, "nobody"])
    ids = {position: name for name, position in found.items()}
    positions = np.array(list(ids), np.int64)
    visible = np.ones(len(catalogue), bool) if catalogue.visible is None else catalogue.visible.mask
    assert sorted(np.flatnonzero(visible)) == sorted(ids)
    return {
        "products": {ids[position]: product for position, product in catalogue.products(ids).items()},
        "rows": {ids[position]: row for position, row in catalogue.rows(ids).items()},
        "values": {
            name: dict(zip(found, catalogue.values(name, positions), strict=True)) for name in WITH_POPULARITY.names
        },
        "codes": {name: _classes(catalogue.codes(name)[positions], found) for name in WITH_POPULARITY.names},
        "where": {where: {ids[row] for row in catalogue.where(where).positions.tolist()} for where in CONDITIONS},
        "popular": [ids[position] for position in catalogue.popular.tolist()],
    }


def from_scratch(base: Shop, shop: Shop) -> dict[str, Any]:
    """What a catalogue says that was written with the products as they are; popularity is that of the base."""
    return described(MappedCatalogue.from_table(table(shop, base)))


def _classes(codes: np.ndarray, names: Iterable[str]) -> set[frozenset[str]]:
    """Products that share a value, and those that have none in a class with `None`."""
    classes: dict[int, set[Any]] = {-1: {None}}
    for name, code in zip(names, codes.tolist(), strict=True):
        classes.setdefault(code, set()).add(name)
    return set(map(frozenset, classes.values()))


def _digest(value: object) -> bytes:
    return blake2b(repr(value).encode(), digest_size=HASH_BYTES).digest()
