"""How the products of a catalogue differ from those that are live, and from the rows of the table.

Letters: M products of the catalogue, T rows of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.refresh.catalogue_scan import CatalogueScan
from indexer.refresh.interaction_counts import InteractionCounts
from indexer.refresh.live_rows import NOWHERE, LiveRows
from ubm_embed.data.arrays import BoolArray

# Compared at a time, for memory.
_CHUNK = 1 << 16


@dataclass(frozen=True)
class ChangeCounts:
    """Numbers of products by what changed.

    Attributes:
        new: products that the live version does not have.
        changed: products whose text differs.
        updated: products of which only something else differs, such as the price.
        unchanged: products without a difference.
        removed: products that the catalogue no longer has.
    """

    new: int
    changed: int
    updated: int
    unchanged: int
    removed: int

    @property
    def none(self) -> bool:
        """Whether the live version already is what the catalogue says."""
        return not (self.new or self.changed or self.updated or self.removed)


@dataclass(frozen=True)
class Changes:
    """A catalogue's products matched with those that are live. A product differs if it is new, too.

    Attributes:
        positions: of each product among the live ones, -1 if it is new: [M].
        text_differs: whether its text differs: [M].
        row_differs: whether anything differs: [M].
        popularity: interactions of each product: [M].
        removed: ids of live products that the catalogue no longer has.
        table_rows: of the same ids, -1 if the table lacks them: [M].
        table_text_differs: whether the text differs from that of the table's row: [M].
        table_columns_differ: whether a column of the shop does: [M].
        table_row_differs: whether a column or the popularity does: [M].
    """

    positions: NDArray[np.int32]
    text_differs: BoolArray
    row_differs: BoolArray
    popularity: NDArray[np.int64]
    removed: pl.Series
    table_rows: NDArray[np.int32]
    table_text_differs: BoolArray
    table_columns_differ: BoolArray
    table_row_differs: BoolArray

    @classmethod
    def between(cls, live: LiveRows | None, scan: CatalogueScan, counts: InteractionCounts | None) -> Changes:
        """Compare a catalogue with what is live.

        Args:
            live: None if nothing is.
            counts: the interactions; None keeps the popularity of the live products.
        """
        if live is None:
            return cls._all_new(scan, counts)
        matched = scan.matched
        assert matched is not None, "the catalogue was read with the live products beside it"
        positions = np.empty(len(scan), np.int32)
        popularity = np.empty(len(scan), np.int64)
        text, row, table_text, columns, table_row = (np.empty(len(scan), bool) for _ in range(5))
        for first in range(0, len(scan), _CHUNK):
            here = slice(first, first + _CHUNK)
            part, texts, rows = matched.part(here), scan.text_hashes[here], scan.row_hashes[here]
            live_positions, live_texts, live_rows, before = live.live_values(part)
            is_new, is_no_row = live_positions < 0, part.rows < 0
            at = np.maximum(part.rows, 0)
            kept = np.where(is_new, 0, before)
            now = kept if counts is None else counts.of(scan.id_hashes[here])
            positions[here], popularity[here] = live_positions, now
            text[here] = is_new | (live_texts != texts) | (not live.has_hashes)
            row[here] = text[here] | (live_rows != rows) | (now != before)
            table_text[here] = is_no_row | (live.table.text_hashes[at] != texts) | (not live.has_hashes)
            columns[here] = ~live.in_table(part, rows)
            table_row[here] = columns[here] | (live.table.popularity[at] != now)
        removed = live.missing_from(matched)
        return cls(positions, text, row, popularity, removed, matched.rows, table_text, columns, table_row)

    @classmethod
    def _all_new(cls, scan: CatalogueScan, counts: InteractionCounts | None) -> Changes:
        nowhere, differs = np.full(len(scan), NOWHERE, np.int32), np.ones(len(scan), bool)
        popularity = np.zeros(len(scan), np.int64) if counts is None else counts.of(scan.id_hashes)
        nobody = pl.Series("product_id", [], pl.String)
        return cls(nowhere, differs, differs, popularity, nobody, nowhere, differs, differs, differs)

    @cached_property
    def counts(self) -> ChangeCounts:
        """Numbers of products by what changed."""
        known = self.positions >= 0
        return ChangeCounts(
            new=int((~known).sum()),
            changed=int((known & self.text_differs).sum()),
            updated=int((known & self.row_differs & ~self.text_differs).sum()),
            unchanged=int((known & ~self.row_differs).sum()),
            removed=self.removed.len(),
        )
