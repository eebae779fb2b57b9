"""LanceDB's own index, which stays where the table is: for catalogues that are larger than the memory.

Letters: B queries, C candidates, M vectors, D width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.index.backend import enough_to_filter, kept
from indexer.index.kinds import DISK
from indexer.store.table_snapshot import TableSnapshot
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData


class DiskEngine:
    """An `Engine` over one version of the table. In memory it has the rows' ids, eight bytes each.

    Raises:
        InvalidData: the version has no index over its vectors, or one of another number of lists.
    """

    faithful = True  # what comes near is scored by the vectors themselves

    def __init__(self, table: TableSnapshot, lists: int) -> None:
        if table.lists != lists:
            problem = f"expected LanceDB's index of {lists} lists over the vectors, found {table.lists or 'none'}"
            raise InvalidData(problem, file=table.uri)
        self._table = table
        self.dimension = table.dimension
        self.widest = lists

    def __len__(self) -> int:
        return len(self._table)

    def vectors(self, positions: IntArray) -> FloatArray:
        """As `Engine`."""
        return self._table.vectors(positions)

    def candidates(
        self, queries: FloatArray, fetch: int, breadth: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        """As `Engine`: one query after the other, each read by all threads of LanceDB."""
        asked = enough_to_filter(fetch, len(self), allowed)
        scores = np.full((len(queries), asked), -np.inf, np.float32)
        positions = np.full((len(queries), asked), -1, np.int64)
        for row, query in enumerate(queries):
            near = self._table.nearest(query, asked, breadth, DISK.refined)
            scores[row, : near.places.size], positions[row, : near.places.size] = near
        return (scores, positions) if allowed is None else kept(scores, positions, allowed, fetch)
