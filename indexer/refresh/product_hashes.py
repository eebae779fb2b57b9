"""Hashes of products, by which a refresh and an update tell what changed.

Letters: K products.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.catalogue.catalogue_writer import TEXT_HASHES
from indexer.store.table_schema import ROW_HASH, TEXT_HASH


def with_hashes(products: pl.DataFrame) -> pl.DataFrame:
    """Products with `text_hash`, a hash of what the model reads, and `row_hash`, a hash of all their columns."""
    texts = pl.Series(TEXT_HASH, text_hashes(products).tolist(), pl.Binary)
    return products.with_columns(texts, pl.Series(ROW_HASH, row_hashes(products)))


def text_hashes(products: pl.DataFrame) -> NDArray[Any]:
    """A hash of what the model reads of each product: [K, 16 bytes]."""
    texts = products.select(_text()).to_series()
    digests = (blake2b(text.encode("utf-8"), digest_size=TEXT_HASHES.itemsize).digest() for text in texts)
    return np.frombuffer(b"".join(digests), TEXT_HASHES)


def row_hashes(products: pl.DataFrame) -> NDArray[np.uint64]:
    """A hash of all columns of each product but its id: [K]."""
    # Another version of polars may hash rows differently: each is then written once more, but nothing is encoded.
    names = sorted(name for name in products.columns if name != "product_id")  # independent of the file's column order
    hashes: NDArray[np.uint64] = products.select(names).hash_rows(seed=0).to_numpy()
    return hashes


def _text() -> pl.Expr:
    """Title, category and attributes as one string; each part follows its length, so no two products share one."""
    pair = pl.element().struct
    attribute = pl.concat_str(_with_length(pair.field("name")), _with_length(pair.field("value")))
    attributes = pl.col("attributes").list.eval(attribute).list.join("").fill_null("")
    return pl.concat_str(_with_length(pl.col("title")), _with_length(pl.col("category")), attributes)


def _with_length(part: pl.Expr) -> pl.Expr:
    part = part.fill_null("")
    return pl.concat_str(part.str.len_bytes().cast(pl.String), pl.lit(":"), part)
