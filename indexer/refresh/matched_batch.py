"""Products of a catalogue that are looked for among the live ones before they are cleaned.

Letters: K products.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.refresh.live_rows import LiveRows, Matched
from indexer.refresh.product_hashes import row_hashes
from ubm_embed.data.arrays import BoolArray


@dataclass(frozen=True)
class MatchedBatch:
    """Some products of a catalogue among the live ones.

    Attributes:
        product_ids: of them: [K].
        matched: where they are among the live ones.
        id_hashes, row_hashes: of them: [K] each.
        known: which of them are live as they are: [K].
    """

    product_ids: pl.Series
    matched: Matched
    id_hashes: NDArray[np.uint64]
    row_hashes: NDArray[np.uint64]
    known: BoolArray

    @classmethod
    def of(cls, products: pl.DataFrame, live: LiveRows) -> Self:
        """Products, matched with those that are live."""
        rows, (matched, ids) = row_hashes(products), live.match(products["product_id"])
        return cls(products["product_id"], matched, ids, rows, live.known_texts(matched, rows)[1])

    def cleaned(self, products: pl.DataFrame) -> MatchedBatch:
        """The same products, those cleaned that were not known."""
        rows = self.row_hashes.copy()
        rows[~self.known] = row_hashes(products.filter(pl.Series(~self.known)))
        return replace(self, row_hashes=rows)
