"""The shop's two files as a refresh reads them: the catalogue, and optionally the interactions of shoppers.

The catalogue is never held in memory as a whole; only what tells a changed product from an unchanged one is.

Letters: M products of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import polars as pl

from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH, require_storable
from ubm_embed.data.corpus import read_interactions
from ubm_embed.data.removals import taken_back
from ubm_embed.data.products import product_batches, require_ids_once

_HASH_BYTES = 16
_BATCH_ROWS = 20_000
# Alignment is measured on a sample of 1,000 pairs, so a long log's pairs need not all be kept.
_PAIRS = 10_000


@dataclass(frozen=True)
class CatalogueScan:
    """A catalogue file that was read once.

    Attributes:
        file: its path.
        schema: the shop's columns and their types.
        rows: product_id, text_hash and row_hash of each product: [M], about 60 bytes each.
        batch_rows: products read at a time.
    """

    file: Path
    schema: pl.Schema
    rows: pl.DataFrame
    batch_rows: int = _BATCH_ROWS

    @classmethod
    def read(cls, file: str | Path, *, batch_rows: int = _BATCH_ROWS) -> CatalogueScan:
        """Check a catalogue file and hash its products.

        Raises:
            NotFound: no such file.
            InvalidData: as `product_batches`; or an id occurs twice; or the table cannot hold one of the columns.
        """
        parts: list[pl.DataFrame] = []
        schema = pl.Schema()
        for batch in product_batches(file, batch_rows):
            schema = batch.schema
            if not parts:
                require_storable(batch, file)
            parts.append(with_hashes(batch).select("product_id", TEXT_HASH, ROW_HASH))
        rows = pl.concat(parts)
        require_ids_once(rows.select("product_id"), file)
        return cls(Path(file), schema, rows, batch_rows)

    def __len__(self) -> int:
        return self.rows.height

    def batches(self) -> Iterator[pl.DataFrame]:
        """Read the products again, with both hashes, `batch_rows` at a time."""
        for batch in product_batches(self.file, self.batch_rows):
            yield with_hashes(batch)


def with_hashes(products: pl.DataFrame) -> pl.DataFrame:
    """Products with `text_hash`, a hash of what the model reads, and `row_hash`, a hash of all their columns."""
    texts = products.select(_text()).to_series()
    digests = [blake2b(text.encode("utf-8"), digest_size=_HASH_BYTES).digest() for text in texts]
    # Another version of polars may hash rows differently: each is then written once more, but nothing is encoded.
    names = sorted(name for name in products.columns if name != "product_id")  # independent of the file's column order
    rows = products.select(names).hash_rows(seed=0)
    return products.with_columns(pl.Series(TEXT_HASH, digests, pl.Binary), rows.alias(ROW_HASH))


def _text() -> pl.Expr:
    """Title, category and attributes as one string; each part follows its length, so no two products share one."""
    pair = pl.element().struct
    attribute = pl.concat_str(_with_length(pair.field("name")), _with_length(pair.field("value")))
    attributes = pl.col("attributes").list.eval(attribute).list.join("").fill_null("")
    return pl.concat_str(_with_length(pl.col("title")), _with_length(pl.col("category")), attributes)


def _with_length(part: pl.Expr) -> pl.Expr:
    part = part.fill_null("")
    return pl.concat_str(part.str.len_bytes().cast(pl.String), pl.lit(":"), part)


@dataclass(frozen=True)
class InteractionCounts:
    """Counts over a file of interactions.

    Attributes:
        popularity: product_id and popularity, its number of interactions; what was taken back out of the cart does not
            count, and pairs with nothing.
        pairs: a sample of ids of products that follow one another in a session, as two columns.
    """

    popularity: pl.DataFrame
    pairs: pl.DataFrame

    @classmethod
    def empty(cls) -> InteractionCounts:
        """The counts of no interactions."""
        pairs = pl.DataFrame(schema={"product_id": pl.String, "following": pl.String})
        return cls(pl.DataFrame(schema={"product_id": pl.String, POPULARITY: pl.UInt32}), pairs)

    @classmethod
    def read(cls, interactions: str | Path, *, min_pairs: int = _PAIRS) -> InteractionCounts:
        """Count the interactions of a file.

        Args:
            min_pairs: pairs are taken evenly from the whole file, so that at least this many stay if there are more.

        Raises:
            NotFound, InvalidData: as `read_interactions`.
        """
        read = read_interactions(interactions)
        rows = read.filter(~taken_back(read) & pl.col("product_id").is_not_null())
        following = pl.col("product_id").shift(-1).over("session_id")
        pairs = rows.select("product_id", following=following).filter(pl.col("product_id") != pl.col("following"))
        popularity = rows.group_by("product_id").len(POPULARITY)
        return cls(popularity, pairs.gather_every(max(1, pairs.height // min_pairs)))
