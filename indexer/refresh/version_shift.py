"""How far the products of a version moved since an earlier one: the gates `neighbours` and `centroid`.

A refresh and a diagnosis measure it here, so that they never disagree.

Letters: B sampled products, K nearest, M products, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from indexer.index.backend import NOISE
from indexer.index.recall import candidate_scores
from indexer.refresh.exact_scan import ScanStatistics, exact_scan, reported
from indexer.refresh.gates import Gate, GateResult
from indexer.refresh.settings import GateLimits
from indexer.store.product_table import ProductTable
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray, evenly_spaced
from ubm_embed.progress import Progress, silent

NEAREST = 10
_SCANNING = "scanning vectors"


@dataclass(frozen=True)
class ScannedVersion:
    """A version of the table after one pass over its vectors.

    Attributes:
        table_version: its number.
        product_ids: [M].
        rows: a sample of its products: [B].
        vectors: theirs, [B, D].
        statistics: of all vectors, with the K + 1 nearest of the sample, which are in the main the products themselves
            and K others.
    """

    table_version: int
    product_ids: pl.Series
    rows: IntArray
    vectors: FloatArray
    statistics: ScanStatistics

    @classmethod
    def scan(
        cls, table: ProductTable, table_version: int, product_ids: pl.Series, count: int, progress: Progress = silent
    ) -> ScannedVersion:
        """Scan a version for `count` of its products, evenly spaced as those of a refresh."""
        rows = evenly_spaced(len(product_ids), count)
        vectors = table.vectors(table_version, rows)
        batches = reported(table.vector_batches(table_version), _SCANNING, len(product_ids), progress)
        return cls(table_version, product_ids, rows, vectors, exact_scan(batches, vectors, NEAREST + 1))


@dataclass(frozen=True)
class VersionShift:
    """What moved from a version to a later one.

    Attributes:
        rows: in the later version, of the sampled products that the earlier one has too: [B].
        present: how many of the ten nearest in the earlier version the later one still has: [B].
        kept: how many of those are still among the ten nearest: [B].
        centroid: distance that the mean vector moved; None if two models made the vectors, which then have no common
            coordinates.
    """

    rows: IntArray
    present: IntArray
    kept: IntArray
    centroid: float | None

    @property
    def retention(self) -> float | None:
        """Share of the neighbours that are kept; removed ones do not count. None without a product in common."""
        return retention(self.kept, self.present) if self.rows.size else None


def retention(kept: IntArray, present: IntArray) -> float:
    """Share of the neighbours that are kept: 1 if there are none left to keep."""
    total = int(present.sum())
    return int(kept.sum()) / total if total else 1.0


def measure_shift(
    table: ProductTable, earlier: int, later: ScannedVersion, *, same_model: bool, progress: Progress = silent
) -> VersionShift:
    """Compare a version with an earlier one, which is scanned for this.

    Args:
        earlier: its version of the table.
        same_model: whether one model made the vectors of both.
    """
    ids = table.read(earlier, ["product_id"])["product_id"]
    rows = rows_of(ids, later.product_ids.gather(later.rows))
    in_both = np.flatnonzero(rows >= 0)
    if not (in_both.size or same_model):
        return VersionShift(in_both, in_both, in_both, None)
    # Without a product in common nothing is searched for, and only the centroids are compared.
    own = rows[in_both]
    vectors = table.vectors(earlier, own) if own.size else later.vectors[:0]
    batches = reported(table.vector_batches(earlier), _SCANNING, len(ids), progress)
    before = exact_scan(batches, vectors, later.statistics.nearest.scores.shape[1])
    neighbours = without_itself(before.nearest.positions, own)
    neighbours = rows_of(later.product_ids, ids.gather(neighbours.ravel())).reshape(neighbours.shape)
    min_scores = later.statistics.nearest.scores[in_both, -1:]
    kept = kept_neighbours(table, later.table_version, later.vectors[in_both], min_scores, neighbours)
    moved = float(np.linalg.norm(later.statistics.centroid - before.centroid)) if same_model else None
    return VersionShift(later.rows[in_both], (neighbours >= 0).sum(axis=1), kept.sum(axis=1), moved)


def shift_gates(shift: VersionShift, limits: GateLimits, *, same_model: bool) -> list[GateResult]:
    """The gate `neighbours`, if the versions have products in common, and `centroid`, if one model made the vectors."""
    results = []
    if shift.retention is not None:
        limit = limits.min_overlap if same_model else limits.min_overlap_of_another_model
        message = f"{shift.retention:.3f} of the ten nearest are the same"
        results.append(GateResult(Gate.NEIGHBOURS, shift.retention, limit, False, message))
    if shift.centroid is not None:
        message = f"the mean vector moved by {shift.centroid:.3f}"
        results.append(GateResult(Gate.CENTROID, shift.centroid, limits.max_shift, True, message))
    return results


def without_itself(positions: IntArray, own: IntArray) -> IntArray:
    """Each row's nearest without itself, or without the last if it is not among them: [B, K + 1] -> [B, K]."""
    dropped = positions == own[:, None]
    dropped[~dropped.any(axis=1), -1] = True
    others: IntArray = positions[~dropped].reshape(len(positions), positions.shape[1] - 1)
    return others


def kept_neighbours(
    table: ProductTable, table_version: int, vectors: FloatArray, min_scores: FloatArray, neighbours: IntArray
) -> BoolArray:
    """Which neighbours in the earlier version score among the nearest in the later one: [B, K].

    Args:
        table_version: the later one.
        vectors: of the sample, there: [B, D].
        min_scores: of the last of their nearest, there: [B, 1].
        neighbours: their rows there, -1 if removed: [B, K].
    """
    if not neighbours.size:
        return neighbours >= 0
    present = neighbours >= 0
    candidates = table.vectors(table_version, np.where(present, neighbours, 0).ravel())
    scores = candidate_scores(vectors, candidates.reshape(*neighbours.shape, -1))
    kept: BoolArray = present & (scores >= min_scores - NOISE)
    return kept


def rows_of(product_ids: pl.Series, wanted: pl.Series) -> IntArray:
    """The row of each wanted id among `product_ids`, -1 if it is missing."""
    index = product_ids.alias("product_id").to_frame().with_row_index("row")
    joined = wanted.alias("product_id").to_frame().join(index, on="product_id", how="left", maintain_order="left")
    rows: IntArray = joined["row"].cast(pl.Int64).fill_null(-1).to_numpy()
    return rows
