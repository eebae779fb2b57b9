"""The corpus: a shop's products and interactions on disk, as two Parquet files in a folder.

products.parquet      product_id, title, category, attributes [{name, value}], any further columns
interactions.parquet  session_id, position, action, product_id or query, optional timestamp and user_id
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ubm_embed.data.interactions import INTERACTION_SCHEMA, read_interactions
from ubm_embed.data.products import PRODUCT_SCHEMA, has_text, iter_products, read_products
from ubm_embed.data.tables.attributes import ATTRIBUTES
from ubm_embed.data.tables.columns import conform, require
from ubm_embed.data.tables.timestamps import as_timestamp
from ubm_embed.outputs import output_folder

__all__ = [
    "ATTRIBUTES",
    "INTERACTIONS_FILE",
    "INTERACTION_SCHEMA",
    "PRODUCTS_FILE",
    "PRODUCT_SCHEMA",
    "Corpus",
    "conform",
    "has_text",
    "iter_products",
    "read_interactions",
    "read_products",
]

PRODUCTS_FILE = "products.parquet"
INTERACTIONS_FILE = "interactions.parquet"


@dataclass(frozen=True)
class SessionTimes:
    """The S sessions of a corpus, in its order.

    Attributes:
        session_ids: [S] their ids.
        lengths: [S] interactions of each.
        starts: [S] int64, when each began, microseconds since 1970; None where a session has no timestamp.
    """

    session_ids: NDArray[np.object_]
    lengths: NDArray[np.int64]
    starts: NDArray[np.int64] | None


@dataclass(frozen=True)
class Corpus:
    """Products and interactions, checked.

    Attributes:
        products: one row a product, `PRODUCT_SCHEMA` first and the shop's further columns after; ids unique.
        interactions: `INTERACTION_SCHEMA` (and timestamp and user_id if the log has them), ordered by session, then
            position. Sessions are in the order of their first occurrence.
    """

    products: pl.DataFrame
    interactions: pl.DataFrame

    @classmethod
    def open(cls, folder: str | Path) -> Corpus:
        """Read and check a corpus folder.

        Raises:
            NotFound: the folder or one of its files is missing.
            InvalidData: names the file, the row and the field.
        """
        folder = Path(folder)
        products = read_products(folder / PRODUCTS_FILE)
        interactions = read_interactions(folder / INTERACTIONS_FILE)
        corpus = cls(products, interactions)
        corpus._require_known_products(folder / INTERACTIONS_FILE)
        return corpus

    def write(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the corpus folder, whole or not at all.

        Raises:
            Conflict: the folder is not empty and `overwrite` is false.
        """
        with output_folder(folder, overwrite=overwrite) as aside:
            self.products.write_parquet(aside / PRODUCTS_FILE)
            self.interactions.write_parquet(aside / INTERACTIONS_FILE)

    @property
    def sessions(self) -> int:
        """Number of sessions."""
        return self.interactions["session_id"].n_unique()

    def session_times(self) -> SessionTimes:
        """The ids, lengths and starts of the sessions."""
        columns = [pl.len().cast(pl.Int64).alias("length")]
        if "timestamp" in self.interactions.columns:
            times = as_timestamp(pl.col("timestamp"), self.interactions.schema["timestamp"])
            columns.append(times.min().dt.epoch("us").alias("start"))
        sessions = self.interactions.group_by("session_id", maintain_order=True).agg(columns)
        starts = sessions.get_column("start", default=None)
        timed = starts is not None and not starts.null_count()
        ids, lengths = sessions["session_id"].to_numpy(), sessions["length"].to_numpy()
        return SessionTimes(ids, lengths, starts.to_numpy() if timed else None)

    def _require_known_products(self, file: Path) -> None:
        known = pl.col("product_id").is_null() | pl.col("product_id").is_in(self.products["product_id"].implode())
        require(self.interactions, known, file, "product_id", f"a product of {PRODUCTS_FILE}")

    def select_sessions(self, session_ids: pl.Series) -> Corpus:
        """The same products with only these sessions."""
        return Corpus(self.products, self.interactions.filter(pl.col("session_id").is_in(session_ids.implode())))
