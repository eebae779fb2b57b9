"""The gates of a version that is made, as they are measured.

Letters: B sampled products, K nearest, M products, D width.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from indexer.index.index_request import IndexTarget
from indexer.index.tuning import BenchmarkResult
from indexer.index.vector_index import VectorIndex
from indexer.refresh.exact_scan import ScanStatistics
from indexer.refresh.gates import Gate, GateResult
from indexer.refresh.made_index import TakenOver
from indexer.refresh.probes import Probes
from indexer.refresh.release_candidate import ReleaseCandidate
from indexer.refresh.row_signatures import Signatures, count_differences
from indexer.refresh.settings import GateLimits
from indexer.refresh.version_shift import (
    ScannedVersion,
    VersionShift,
    kept_neighbours,
    measure_shift,
    without_itself,
)
from indexer.refresh.written_version import WrittenVersion
from indexer.store.product_table import ProductTable


def written_gate(written: WrittenVersion, expected: Signatures | None) -> list[GateResult]:
    """Whether the table holds every row of the catalogue once, unchanged, and no other row; none if that is unknown."""
    if expected is None or written.signatures is None:
        return []
    wrong = count_differences(written.signatures, expected)
    message = f"{wrong} rows of the table are not those of the catalogue"
    return [GateResult(Gate.WRITTEN, wrong, 0, True, message)]


def vectors_gate(bad: int, checked: int) -> GateResult:
    """Whether all vectors that were checked are of length 1."""
    return GateResult(Gate.VECTORS, bad, 0, True, f"{bad} of {checked} vectors are not of length 1")


def indexed_gate(index: VectorIndex, written: WrittenVersion) -> GateResult:
    """Whether the index has every row once."""
    rows, distinct = written.rows, written.distinct_ids
    wrong = max(abs(rows - count) for count in (len(index), distinct))
    message = f"{rows} rows with {distinct} different ids, of which the index holds {len(index)}"
    return GateResult(Gate.INDEXED, wrong, 0, True, message)


def target_gates(built: BenchmarkResult, target: IndexTarget, limits: GateLimits) -> list[GateResult]:
    """Whether the index is as good as requested; a request for less recall than the gate's limit lowers the limit."""
    message = f"the index finds {built.recall:.3f} of the exact ten nearest"
    recall = GateResult(Gate.RECALL, built.recall, min(limits.min_recall, target.recall), False, message)
    if target.latency_ms is None:
        return [recall]
    message = f"a query takes {built.median_ms:.3g} ms with the index {built.index.kind!r}, the best of those tried"
    return [recall, GateResult(Gate.LATENCY, built.median_ms, target.latency_ms, True, message)]


def uniformity_gate(measured: float | None, limits: GateLimits) -> list[GateResult]:
    """Whether vectors differ; none of fewer than two."""
    if measured is None:
        return []
    message = f"uniformity of the vectors is {measured:.3f}"
    return [GateResult(Gate.UNIFORMITY, measured, limits.max_uniformity, True, message)]


def shift_of_probes(table: ProductTable, table_version: int, taken_over: TakenOver) -> VersionShift | None:
    """How far a version moved from the one before, by the probes of both; None without probes.

    Only products with their vectors are in the sample; those around them may have others.
    """
    before, after, origins = taken_over.earlier.probes, taken_over.probes, taken_over.origins
    if before is None or after is None:
        return None
    stays = np.flatnonzero(np.isin(before.rows, origins.positions[after.rows]))
    neighbours = without_itself(before.nearest_of_products.positions[stays], before.rows[stays])
    neighbours = origins.now_at(neighbours.ravel()).reshape(neighbours.shape)
    kept = kept_neighbours(table, table_version, after.products, after.nearest_of_products.scores[:, -1:], neighbours)
    moved = float(np.linalg.norm(after.centroid - before.centroid))
    return VersionShift(after.rows, (neighbours >= 0).sum(axis=1), kept.sum(axis=1), moved)


def scanned_shift(
    table: ProductTable, candidate: ReleaseCandidate, probes: Probes, statistics: ScanStatistics
) -> VersionShift:
    """The same by a pass over the vectors of the version before."""
    base = candidate.base
    assert base is not None, "there is a version to compare with"
    ids = table.read(candidate.table_version, ["product_id"])["product_id"]
    of_products = replace(statistics, nearest=probes.nearest_of_products)
    later = ScannedVersion(candidate.table_version, ids, probes.rows, probes.products, of_products)
    same_model = base.vectors_model_id == candidate.vectors_model_id
    return measure_shift(table, base.table_version, later, same_model=same_model)
