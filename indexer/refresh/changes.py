"""What a catalogue changes against the version that is live.

Letters: M products of the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.refresh.catalogue_scan import Feed
from indexer.store.product_table import POPULARITY, ROW_HASH, TEXT_HASH


@dataclass(frozen=True)
class ChangeCounts:
    """How many products changed in which way.

    Attributes:
        new: products that the live version does not have.
        changed: products whose text is another one.
        updated: products of which something else changed, such as the price.
        unchanged: products that are the same.
        removed: products that the catalogue no longer has.
    """

    new: int
    changed: int
    updated: int
    unchanged: int
    removed: int

    @property
    def nothing(self) -> bool:
        """Whether the catalogue is as the live version has it."""
        return not (self.new or self.changed or self.updated or self.removed)


@dataclass(frozen=True)
class Changes:
    """Each product of a catalogue beside its row of the live version.

    Attributes:
        positions: rows of the live version, -1 of a new product: [M].
        text: whether the text is new or another one: [M].
        row: whether anything is: [M].
        popularity: interactions of each product: [M].
        removed: ids that the catalogue no longer has.
    """

    positions: NDArray[np.int64]
    text: NDArray[np.bool_]
    row: NDArray[np.bool_]
    popularity: NDArray[np.int64]
    removed: pl.Series

    @classmethod
    def between(cls, live: pl.DataFrame | None, feed: Feed, popularity: pl.DataFrame | None) -> Changes:
        """Compare.

        Args:
            live: product_id, text_hash, row_hash and popularity of the live version, in its order; None without one.
            popularity: interactions by product_id; None leaves each product's as the live version has it.
        """
        before = (_NOTHING if live is None else live).with_row_index("position")
        rows = feed.rows.join(before, on="product_id", how="left", maintain_order="left", suffix="_live")
        if popularity is None:
            rows = rows.with_columns(now=pl.col(POPULARITY))
        else:
            counts = popularity.select("product_id", now=POPULARITY)
            rows = rows.join(counts, on="product_id", how="left", maintain_order="left")
        now = pl.col("now").fill_null(0).cast(pl.Int64)
        text = pl.col(TEXT_HASH).ne_missing(pl.col(f"{TEXT_HASH}_live"))
        row = text | pl.col(ROW_HASH).ne_missing(pl.col(f"{ROW_HASH}_live")) | now.ne_missing(pl.col(POPULARITY))
        found = rows.select(pl.col("position").cast(pl.Int64).fill_null(-1), text=text, row=row, now=now)
        removed = before.join(feed.rows, on="product_id", how="anti", maintain_order="left")["product_id"]
        columns = {name: found[name].to_numpy() for name in ("position", "text", "row", "now")}
        return cls(columns["position"], columns["text"], columns["row"], columns["now"], removed)

    @property
    def counts(self) -> ChangeCounts:
        """How many products changed in which way."""
        known = self.positions >= 0
        return ChangeCounts(
            new=int((~known).sum()),
            changed=int((known & self.text).sum()),
            updated=int((known & self.row & ~self.text).sum()),
            unchanged=int((known & ~self.row).sum()),
            removed=self.removed.len(),
        )


_NOTHING = pl.DataFrame(
    schema={"product_id": pl.String, TEXT_HASH: pl.Binary, ROW_HASH: pl.UInt64, POPULARITY: pl.Int64}
)
