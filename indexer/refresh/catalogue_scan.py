"""A catalogue as a refresh reads it: never whole, but what tells a changed product from an unchanged one is kept.

Letters: M products of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import polars as pl

from indexer.store.product_table import ROW_HASH, TEXT_HASH, require_storable
from ubm_embed.data.products import product_batches, require_ids_once

_HASH_BYTES = 16


@dataclass(frozen=True)
class Feed:
    """A catalogue's file, read once.

    Attributes:
        file: where it is.
        schema: the shop's columns and their types.
        rows: product_id, text_hash and row_hash of each product: [M], some 60 bytes each.
    """

    file: Path
    schema: pl.Schema
    rows: pl.DataFrame

    @classmethod
    def read(cls, file: str | Path) -> Feed:
        """Check a catalogue's file and keep what tells its products apart.

        Raises:
            NotFound: no such file.
            InvalidData: as `product_batches`; or an id given twice; or a column that a table cannot hold.
        """
        parts: list[pl.DataFrame] = []
        schema = pl.Schema()
        for batch in product_batches(file):
            schema = batch.schema
            if not parts:
                require_storable(batch, file)
            parts.append(with_hashes(batch).select("product_id", TEXT_HASH, ROW_HASH))
        rows = pl.concat(parts)
        require_ids_once(rows.select("product_id"), file)
        return cls(Path(file), schema, rows)

    def __len__(self) -> int:
        return self.rows.height

    def batches(self) -> Iterator[pl.DataFrame]:
        """The products again, with both hashes, some thousands at a time."""
        for batch in product_batches(self.file):
            yield with_hashes(batch)


def with_hashes(products: pl.DataFrame) -> pl.DataFrame:
    """Products with `text_hash`, of what the model reads, and `row_hash`, of all their columns."""
    texts = products.select(_text()).to_series()
    digests = [blake2b(text.encode("utf-8"), digest_size=_HASH_BYTES).digest() for text in texts]
    # polars may hash otherwise in another version: rows are then written anew once, but nothing is encoded for it.
    names = sorted(name for name in products.columns if name != "product_id")  # in whatever order a feed has them
    rows = products.select(names).hash_rows(seed=0)
    return products.with_columns(pl.Series(TEXT_HASH, digests, pl.Binary), rows.alias(ROW_HASH))


def _text() -> pl.Expr:
    """Title, category and attributes as one string, each part after its length, so that no two products share one."""
    pair = pl.element().struct
    attribute = pl.concat_str(_counted(pair.field("name")), _counted(pair.field("value")))
    attributes = pl.col("attributes").list.eval(attribute).list.join("").fill_null("")
    return pl.concat_str(_counted(pl.col("title")), _counted(pl.col("category")), attributes)


def _counted(part: pl.Expr) -> pl.Expr:
    part = part.fill_null("")
    return pl.concat_str(part.str.len_bytes().cast(pl.String), pl.lit(":"), part)
