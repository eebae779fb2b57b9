"""LanceDB's own index, which stays on disk beside the table: for catalogues that are larger than the memory.

Letters: B queries, C candidates, M vectors, D width.
"""

from __future__ import annotations

import numpy as np

from indexer.index.backend import Neighbours, count_before_filter, filter_candidates
from indexer.index.kinds import DISK
from indexer.index.selection import Selection
from indexer.store.table_snapshot import TableSnapshot
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData


class LanceBackend:
    """An `IndexBackend` over one version of the table. In memory it has the rows' ids, eight bytes each.

    Raises:
        InvalidData: the version has no index over its vectors, or one with another number of lists.
    """

    exact_scores = True  # candidates are scored again by the stored vectors

    def __init__(self, table: TableSnapshot, nlist: int) -> None:
        if table.nlist != nlist:
            problem = f"expected LanceDB's index of {nlist} lists over the vectors, found {table.nlist or 'none'}"
            raise InvalidData(problem, file=table.uri)
        self._table = table
        self.dimension = table.dimension
        self.max_search_value = nlist

    def __len__(self) -> int:
        return len(self._table)

    def vectors(self, positions: IntArray) -> FloatArray:
        """As `IndexBackend`."""
        return self._table.vectors(positions)

    def search(self, queries: FloatArray, count: int, search_value: int, allowed: Selection | None) -> Neighbours:
        """As `IndexBackend`: one query after the other, each read by all threads of LanceDB."""
        fetched = count_before_filter(count, len(self), allowed)
        scores = np.full((len(queries), fetched), -np.inf, np.float32)
        positions = np.full((len(queries), fetched), -1, np.int64)
        for row, query in enumerate(queries):
            near = self._table.nearest(query, fetched, search_value, DISK.refine_factor)
            scores[row, : near.positions.size], positions[row, : near.positions.size] = near
        found = Neighbours(scores, positions)
        return found if allowed is None else filter_candidates(found, allowed, count)

    def search_all(self, query: FloatArray, allowed: Selection | None) -> Neighbours | None:
        """None: LanceDB's index is slower over all vectors than reading them."""
        return None
