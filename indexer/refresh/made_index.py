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
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.refresh.built_index import TableVectors, build_saved_index
from indexer.refresh.earlier_version import EarlierVersion
from indexer.refresh.index_update import IndexUpdate
from indexer.refresh.probes import Probes
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.shards import not_unit_length
from indexer.refresh.written_version import RowOrigins
from indexer.versions.version_index import open_index
from ubm_embed.data.arrays import FloatArray, IntArray, evenly_spaced

_ROWS_AT_ONCE = 8192
# A vector as it is stored, times the table's. In a byte a value loses less than 0.001 of it, unless it is beyond all
# those that the index was trained with, which a few may be.
_SAMPLE, _MIN_AGREEMENT, _MAX_DISAGREEING = 1000, 0.9, 0.01


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
    def compare(cls, vectors: TableVectors, earlier: EarlierVersion, origins: RowOrigins, wanted: int) -> TakenOver:
        """Compare a version of the table with an earlier version: only vectors that are new or gone are read.

        Args:
            vectors: of the version.
            wanted: how many products are queries.
        """
        now = origins.new_positions(earlier.version.products)
        gone, added = np.flatnonzero(now < 0), np.flatnonzero(~origins.same_text)
        count = origins.positions.size
        # Beyond that a pass over all vectors costs less.
        if earlier.probes is None or gone.size + added.size > count // 2:
            return cls(earlier, origins)
        unread, bad = _parts(vectors, added), 0

        def checked() -> Iterator[tuple[IntArray, FloatArray]]:
            nonlocal bad
            for positions, part in unread:
                bad += not_unit_length(part).size
                yield positions, part

        before = TableVectors(vectors.table, earlier.version.table_version)
        lost = (part for _, part in _parts(before, gone))
        probes = earlier.probes.carried(now, count, lost, checked())
        if not probes.has_enough(wanted):
            return cls(earlier, origins)
        return cls(earlier, origins, probes.completed(vectors), bad)

    @property
    def added(self) -> int:
        """Vectors that are new."""
        return int((~self.origins.same_text).sum())

    def next_night(self, index: VectorIndex) -> IndexUpdate:
        """What is said of the earlier version's index once it is kept up for the new one, as far as that is known."""
        return IndexUpdate.of_version(self.earlier.version, index).next_night(self.added, self.removed)

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


def train_index(
    vectors: TableVectors, request: IndexRequest, queries: TuningQueries, reason: str, folder: Path
) -> MadeIndex:
    """Train an index and save it into a version's folder.

    Args:
        reason: why that of the version before is not kept up.

    Raises:
        InvalidData: the requested index cannot be made of these vectors, or does not fit into the memory allowed.
    """
    built = build_saved_index(vectors, request, queries, folder)
    return MadeIndex(built, IndexUpdate.of_trained(built.index, reason))


def kept_index(
    vectors: TableVectors,
    request: IndexRequest,
    queries: TuningQueries,
    taken_over: TakenOver,
    settings: RefreshSettings,
    folder: Path,
) -> MadeIndex | str:
    """The index of the version before with what changed since, saved; or why that one is no longer good enough."""
    before, version, target = taken_over.earlier.index, taken_over.earlier.version, request.target
    assert before is not None, "without it there is a reason not to try"
    bytes_needed = before.spec.kind.estimate_bytes(queries.count, before.dimension) or 0
    if target.memory_gb is not None and bytes_needed > target.memory_gb * 1e9:
        return f"an index of the kind {before.kind!r} no longer fits into {target.memory_gb:g} GB"
    if not keep_up(before, taken_over.origins.kept, vectors.at, folder / INDEX_FILE):
        return f"an index of the kind {before.kind!r} is not kept up"
    # An index that missed the target when it was trained is held to the gate's limit only.
    recall = target.recall if version.recall_at_10 >= target.recall else min(settings.gates.min_recall, target.recall)
    index = open_index(vectors.table, vectors.table_version, before.spec, folder)
    update = replace(taken_over.next_night(before), imbalance=list_imbalance(index))
    if reason := update.reason_to_train(queries.count, settings.retrain_every):
        return reason
    if wrong := _disagreements(index, vectors, queries.count):
        return f"{wrong} of {_SAMPLE} vectors of the kept index are not those of the table"
    index, reached = tune_further(index, queries, recall, update.max_search_value)
    if reached < recall:
        return f"the kept lists found {reached:.3f} of the exact ten nearest"
    built = BenchmarkResult(index, reached, median_ms(index, queries.like_sessions))
    if target.latency_ms is not None and built.median_ms > target.latency_ms:
        return f"a query of the kept lists took {built.median_ms:.3g} ms"
    return MadeIndex(built, update)


def _disagreements(index: VectorIndex, vectors: TableVectors, count: int) -> int:
    """How many of a sample of an index's vectors are not those of the table; 0 for the few that codes cannot hold."""
    sample = evenly_spaced(count, _SAMPLE)
    scores = np.einsum("kd,kd->k", index.vectors(sample), vectors.at(sample))
    wrong = int((~(scores >= _MIN_AGREEMENT)).sum())
    return wrong if wrong > _MAX_DISAGREEING * sample.size else 0


def _parts(vectors: TableVectors, positions: IntArray) -> Iterator[tuple[IntArray, FloatArray]]:
    """Vectors at these positions, some at a time."""
    for first in range(0, positions.size, _ROWS_AT_ONCE):
        part = positions[first : first + _ROWS_AT_ONCE]
        yield part, vectors.at(part)
