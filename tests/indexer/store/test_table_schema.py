"""Which columns the product table can hold."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest

from indexer.store.table_schema import require_storable, table_schema
from ubm_embed.errors import InvalidData

PRODUCTS = pl.DataFrame({"product_id": ["p1"], "title": ["red shirt"]})


def test_the_schema_has_the_products_columns_and_the_vector() -> None:
    schema = table_schema(PRODUCTS, 16)
    assert schema.names == ["product_id", "title", "vector"]
    assert schema.field("vector").type == pa.list_(pa.float32(), 16)


@pytest.mark.parametrize(
    "name", ["vector", "popularity", "text_hash", "row_hash", "price.eur", "_rowid", "*", "", "a`b"]
)
def test_a_name_that_cannot_be_stored_is_refused(name: str) -> None:
    frame = PRODUCTS.with_columns(pl.lit(1).alias(name))
    with pytest.raises(InvalidData, match="rename it") as caught:
        require_storable(frame, "products.csv")
    assert (caught.value.file, caught.value.field) == ("products.csv", name)


def test_a_type_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(InvalidData, match="'n': values of type Int128"):
        require_storable(PRODUCTS.with_columns(n=pl.lit(1, pl.Int128)), "products.csv")
