"""What shoppers' interactions say of the products of a store: how popular each is, and which stand side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from indexer.store.product_table import POPULARITY
from ubm_embed.data.corpus import read_interactions

# A sample of them is asked for anyway.
_PAIRS = 10_000


@dataclass(frozen=True)
class Interest:
    """What a file of interactions says.

    Attributes:
        counts: product_id and popularity, the interactions it had.
        pairs: ids of products that a session holds one after the other, in two columns, evenly taken from the log.
    """

    counts: pl.DataFrame
    pairs: pl.DataFrame

    @classmethod
    def nobody(cls) -> Interest:
        """Of no interactions at all."""
        pairs = pl.DataFrame(schema={"product_id": pl.String, "following": pl.String})
        return cls(pl.DataFrame(schema={"product_id": pl.String, POPULARITY: pl.UInt32}), pairs)

    @classmethod
    def read(cls, interactions: str | Path) -> Interest:
        """Count.

        Raises:
            NotFound, InvalidData: as `read_interactions`.
        """
        chosen = read_interactions(interactions).filter(pl.col("product_id").is_not_null())
        following = pl.col("product_id").shift(-1).over("session_id")
        pairs = chosen.select("product_id", following=following).filter(pl.col("product_id") != pl.col("following"))
        counts = chosen.group_by("product_id").len(POPULARITY)
        return cls(counts, pairs.gather_every(max(1, pairs.height // _PAIRS)))
