"""The index of a new version: that of the version before, kept up, or another one; saved, opened again and measured.

Letters: M products, K positions, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from indexer.index.index_request import IndexRequest
from indexer.index.kept_lists import keep_up, list_imbalance
from indexer.index.recall import TuningQueries
from indexer.index.tuning import BenchmarkResult, median_ms, tune_further
from indexer.index.vector_index import INDEX_FILE
from indexer.refresh.built_index import TableVectors, build_saved_index
from indexer.refresh.earlier_version import EarlierVersion
from indexer.refresh.index_update import IndexUpdate
from indexer.refresh.probes import Probes
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.shards import not_unit_length
from indexer.refresh.written_version import RowOrigins
from indexer.store.product_table import ProductTable
from indexer.versions.version_index import open_index
from ubm_embed.data.arrays import FloatArray, IntArray

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class TakenOver:
    """What a new version has from an earlier one.

    Attributes:
        earlier: the earlier version.
        origins: of the new one's products.
        probes: the earlier one's, as they are in the new one; None if too few are left, or there were none.
        not_unit_length: how many of the vectors that are new are not of length 1; counted if there are probes.
    """

    earlier: EarlierVersion
    origins: RowOrigins
    probes: Probes | None = None
    not_unit_length: int = 0

    @classmethod
    def compare(
        cls, table: ProductTable, table_version: int, earlier: EarlierVersion, origins: RowOrigins, wanted: int
    ) -> TakenOver:
        """Compare a version of the table with an earlier version: only vectors that are new or gone are read.

        Args:
            wanted: how many products are queries.
        """
        assert earlier.rows is not None, "origins come from it"
        now = origins.new_positions(len(earlier.rows))
        gone, added = np.flatnonzero(now < 0), np.flatnonzero(~origins.same_text)
        count = origins.positions.size
        # Beyond that a pass over all vectors costs less.
        if earlier.probes is None or gone.size + added.size > count // 2:
            return cls(earlier, origins)
        unread, bad = _parts(table, table_version, added), 0

        def checked() -> Iterator[tuple[IntArray, FloatArray]]:
            nonlocal bad
            for positions, vectors in unread:
                bad += not_unit_length(vectors).size
                yield positions, vectors

        lost = (vectors for _, vectors in _parts(table, earlier.version.table_version, gone))
        probes = earlier.probes.carried(now, count, lost, checked())
        if not probes.has_enough(wanted):
            return cls(earlier, origins)
        return cls(earlier, origins, probes.completed(table.vector_batches(table_version)), bad)

    @property
    def added(self) -> int:
        """Vectors that are new."""
        return int((~self.origins.same_text).sum())

    @property
    def removed(self) -> int:
        """Vectors that are gone."""
        return self.earlier.version.products - self.origins.positions.size + self.added


@dataclass(frozen=True)
class MadeIndex:
    """An index of a version, as it will be served.

    Attributes:
        built: the index, and what was measured of it.
        update: how it was made.
    """

    built: BenchmarkResult
    update: IndexUpdate


def make_index(
    vectors: TableVectors,
    request: IndexRequest,
    queries: TuningQueries,
    taken_over: TakenOver | None,
    reason: str | None,
    settings: RefreshSettings,
    folder: Path,
) -> MadeIndex:
    """Keep an index up or train one, and save it into a version's folder.

    Args:
        taken_over: what the version has from the one before; None if nothing can be kept up.
        reason: why another one is trained; None to keep one up if it can be.

    Raises:
        InvalidData: the requested index cannot be made of these vectors, or does not fit into the memory allowed.
    """
    if reason is None:
        assert taken_over is not None, "without it there is a reason"
        kept = _keep_up(vectors, request, queries, taken_over, settings, folder)
        if isinstance(kept, MadeIndex):
            return kept
        reason = kept
    built = build_saved_index(vectors, request, queries, folder)
    return MadeIndex(built, IndexUpdate.of_trained(built.index, reason))


def _keep_up(
    vectors: TableVectors,
    request: IndexRequest,
    queries: TuningQueries,
    taken_over: TakenOver,
    settings: RefreshSettings,
    folder: Path,
) -> MadeIndex | str:
    """The index of the version before with what changed since; or why that one is no longer good enough."""
    before, version, target = taken_over.earlier.index, taken_over.earlier.version, request.target
    assert before is not None, "without it there is a reason"
    update = IndexUpdate.of_version(version, before).next_night(taken_over.added, taken_over.removed)
    if reason := update.reason_to_train(queries.count, settings.retrain_every):
        return reason
    bytes_needed = before.spec.kind.estimate_bytes(queries.count, before.dimension) or 0
    if target.memory_gb is not None and bytes_needed > target.memory_gb * 1e9:
        return f"an index of the kind {before.kind!r} no longer fits into {target.memory_gb:g} GB"
    if not keep_up(before, taken_over.origins.kept, vectors.at, folder / INDEX_FILE):
        return f"an index of the kind {before.kind!r} is not kept up"
    # An index that missed the target when it was trained is held to the gate's limit only.
    recall = target.recall if version.recall_at_10 >= target.recall else min(settings.gates.min_recall, target.recall)
    index = open_index(vectors.table, vectors.table_version, before.spec, folder)
    update = replace(update, imbalance=list_imbalance(index))
    if reason := update.reason_to_train(queries.count, settings.retrain_every):
        return reason
    index, reached = tune_further(index, queries, recall, update.max_search_value)
    if reached < recall:
        return f"the kept lists found {reached:.3f} of the exact ten nearest"
    built = BenchmarkResult(index, reached, median_ms(index, queries.like_sessions))
    if target.latency_ms is not None and built.median_ms > target.latency_ms:
        return f"a query of the kept lists took {built.median_ms:.3g} ms"
    return MadeIndex(built, update)


def _parts(table: ProductTable, table_version: int, positions: IntArray) -> Iterator[tuple[IntArray, FloatArray]]:
    """Vectors of a version at these positions, some at a time."""
    for first in range(0, positions.size, _ROWS_AT_ONCE):
        part = positions[first : first + _ROWS_AT_ONCE]
        yield part, table.vectors(table_version, part)
