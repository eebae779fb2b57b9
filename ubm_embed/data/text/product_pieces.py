"""The pieces that product texts are made of, as columns: a row for each title, category and attribute value.

Letters: M products, P pieces of all products.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

TITLE, CATEGORY, ATTRIBUTE = range(3)


def product_pieces(products: pl.DataFrame) -> pl.DataFrame:
    """[P] product (its row), kind, name (of an attribute, else empty) and text, in the order of a product's text.

    Pieces without text are left out.
    """
    numbered = products.select("title", "category", "attributes").with_row_index("product")
    pairs = numbered.select("product", "attributes").explode("attributes")
    pair = pl.col("attributes").struct
    columns = [
        numbered.select("product", *_columns(TITLE, pl.lit(""), pl.col("title"))),
        numbered.select("product", *_columns(CATEGORY, pl.lit(""), pl.col("category"))),
        pairs.select("product", *_columns(ATTRIBUTE, pair.field("name"), pair.field("value"))),
    ]
    return pl.concat(columns).filter(pl.col("text") != "").sort("product", maintain_order=True)


def distinct_strings(strings: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """Each different string once, in order of first occurrence, and for each of `strings` which one it is."""
    encoded = strings.to_arrow().dictionary_encode()
    # Through polars: pyarrow's own conversion imports pandas if it is installed, which takes a quarter of a second.
    which: NDArray[np.int32] = pl.Series(encoded.indices).to_numpy()
    return pl.Series(encoded.dictionary, dtype=pl.String), which


def _columns(kind: int, name: pl.Expr, text: pl.Expr) -> list[pl.Expr]:
    return [
        pl.lit(kind, pl.UInt8).alias("kind"),
        name.cast(pl.String).fill_null("").alias("name"),
        text.cast(pl.String).alias("text"),
    ]
