"""What followed what in a log of interactions, by the hashes of the products' ids.

Letters: P products of the log, M products of a catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.catalogue.id_hashes import id_hashes
from ubm_embed.counts.counting import TransitionCounter
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.arrays import BoolArray, IntArray, offsets_of
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import Action


@dataclass(frozen=True)
class CatalogueTransitions:
    """What was counted of the products that a catalogue has.

    Attributes:
        hashes: of the ids of all products of the log, ascending: [P].
        counts: between those that the catalogue has; the rows of the others are empty.
        seen: interactions with each product: [P].
        interactions: with products.
        sessions: that they were in.
    """

    hashes: NDArray[np.uint64]
    counts: TransitionCounts
    seen: NDArray[np.int64]
    interactions: int
    sessions: int

    def digest(self) -> str:
        """A hash of the counts. Another order of the interactions makes another one, as does another way to count."""
        digest = blake2b(digest_size=16)
        for part in (self.counts.offsets, self.counts.neighbours, self.counts.values):
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()


class LoggedTransitions:
    """Adds up the transitions of a log, whose parts have whole sessions.

    Attributes:
        hashes: of the ids of its products, ascending: [P].

    Args:
        weights: say how to count.
    """

    def __init__(self, hashes: NDArray[np.uint64], weights: CountWeights) -> None:
        self.hashes = hashes
        self._counter = TransitionCounter(hashes.size, weights)
        self._sessions = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Count a part: session_id, action and product_id, each session's rows in their order, without removals."""
        table = _session_table(rows, self._positions(rows["product_id"]))
        self._sessions += len(table)
        self._counter.add(table)

    @property
    def seen(self) -> NDArray[np.int64]:
        """Interactions with each product: [P]."""
        return self._counter.seen

    def of_catalogue(self, id_hashes: NDArray[np.uint64]) -> CatalogueTransitions:
        """The counts of the products of a catalogue. Nothing can be added any more.

        Args:
            id_hashes: of the products of the catalogue, in any order: [M].
        """
        wanted: BoolArray = np.isin(self.hashes, id_hashes)
        seen = self._counter.seen
        return CatalogueTransitions(self.hashes, self._counter.finish(wanted), seen, int(seen.sum()), self._sessions)

    def _positions(self, product_ids: pl.Series) -> NDArray[np.int32]:
        """Which product of the log each row has."""
        distinct = product_ids.unique()
        positions = np.searchsorted(self.hashes, id_hashes(distinct.to_list())).astype(np.int32)
        codes: IntArray = product_ids.cast(pl.Enum(distinct)).to_physical().to_numpy()
        return positions[codes]


def _session_table(rows: pl.DataFrame, positions: NDArray[np.int32]) -> SessionTable:
    """Rows as sessions: what stands together has the same session_id."""
    lengths = rows["session_id"].rle().struct.field("len").to_numpy().astype(np.int64)
    actions = np.full(positions.size, Action.VIEW.code, np.uint8)  # none of them takes another one back
    return SessionTable(actions, positions, offsets_of(lengths))
