"""One pass over all vectors of a version, in memory that does not grow with it, and its comparison with the live one.

Letters: B queries, K nearest, M products, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.index.backend import NOISE, Neighbours
from indexer.index.recall import TuningQueries, candidate_scores
from indexer.refresh.gates import Gate, GateResult
from indexer.refresh.settings import GateLimits
from indexer.refresh.shards import not_unit_length
from indexer.store.product_table import ProductTable, VectorBatch
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class ScanStatistics:
    """Results of one pass.

    Attributes:
        rows: M.
        not_unit_length: number of vectors that are not finite and of length 1.
        centroid: the mean vector, [D].
        nearest: the exact K nearest neighbours of each query: [B, K], best first, K = min(k, M).
    """

    rows: int
    not_unit_length: int
    centroid: FloatArray
    nearest: Neighbours


def exact_scan(batches: Iterable[VectorBatch], queries: FloatArray, k: int) -> ScanStatistics:
    """Read every vector once and search all of them for the queries.

    Args:
        batches: all vectors of a version, at least one.
        queries: [B, D].
    """
    rows, bad, total = 0, 0, np.zeros(queries.shape[1])
    best = Neighbours(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64))
    for _, vectors in batches:
        bad += not_unit_length(vectors).size
        total += vectors.sum(axis=0, dtype=np.float64)
        positions = np.arange(rows, rows + len(vectors))
        best = _best(best, queries @ vectors.T, positions, k)
        rows += len(vectors)
    order = np.argsort(-best.scores, axis=1, kind="stable")
    return ScanStatistics(rows, bad, (total / rows).astype(np.float32), _at_columns(best, order))


def _best(best: Neighbours, scores: FloatArray, positions: NDArray[np.int64], k: int) -> Neighbours:
    """The best k of those so far and of a batch, in any order."""
    scores = np.concatenate([best.scores, scores], axis=1)
    positions = np.concatenate([best.positions, np.broadcast_to(positions, (len(scores), positions.size))], axis=1)
    if scores.shape[1] <= k:
        return Neighbours(scores, positions)
    return _at_columns(Neighbours(scores, positions), np.argpartition(-scores, k - 1, axis=1)[:, :k])


def _at_columns(neighbours: Neighbours, columns: NDArray[np.int64]) -> Neighbours:
    scores = np.take_along_axis(neighbours.scores, columns, axis=1)
    return Neighbours(scores, np.take_along_axis(neighbours.positions, columns, axis=1))


def compare_with_live(
    table: ProductTable,
    live_version: int,
    product_ids: pl.Series,
    queries: TuningQueries,
    centroid: FloatArray,
    limits: GateLimits,
    *,
    same_model: bool,
) -> list[GateResult]:
    """The gates `neighbours` and, if the model is the same, `centroid`, of a new version.

    Args:
        live_version: the version of the table that is live.
        product_ids: ids of the new version's rows, [M].
        queries: products of the new version, with their K + 1 nearest in it.
        centroid: the mean vector of the new version, [D].
    """
    live_ids = table.read(live_version, ["product_id"])["product_id"]
    live_rows = rows_of(live_ids, product_ids.gather(queries.rows))
    in_both = live_rows >= 0
    # Without a product in common only the centroids can be compared, and any vectors will do as queries.
    vectors = table.vectors(live_version, live_rows[in_both]) if in_both.any() else queries.products
    live = exact_scan(table.batches(live_version), vectors, queries.nearest.scores.shape[1])
    results = []
    if in_both.any():
        neighbours = _without_itself(live.nearest.positions, live_rows[in_both])
        overlap = _overlap(queries, in_both, rows_of(product_ids, live_ids.gather(neighbours.ravel())))
        limit = limits.min_overlap if same_model else limits.min_overlap_of_another_model
        message = f"{overlap:.3f} of the ten nearest are the same"
        results.append(GateResult(Gate.NEIGHBOURS, overlap, limit, False, message))
    if same_model:
        shift = float(np.linalg.norm(centroid - live.centroid))
        message = f"the mean vector moved by {shift:.3f}"
        results.append(GateResult(Gate.CENTROID, shift, limits.max_shift, True, message))
    return results


def _without_itself(positions: IntArray, own: IntArray) -> IntArray:
    """Each row's nearest without itself, or without the last if it is not among them: [B, K + 1] -> [B, K]."""
    dropped = positions == own[:, None]
    dropped[~dropped.any(axis=1), -1] = True
    others: IntArray = positions[~dropped].reshape(len(positions), -1)
    return others


def _overlap(queries: TuningQueries, in_both: BoolArray, neighbours: IntArray) -> float:
    """Share of the live neighbours that score among the nearest in the new version; removed ones do not count.

    Args:
        in_both: which queries are products of the live version too, [B].
        neighbours: rows of the live neighbours in the new version, -1 if removed: [B * K].
    """
    present = neighbours >= 0
    if not present.any():
        return 1.0
    vectors, min_scores = queries.products[in_both], queries.nearest.scores[in_both, -1]
    candidates = queries.vectors(np.where(present, neighbours, 0))
    scores = candidate_scores(vectors, candidates.reshape(len(vectors), -1, vectors.shape[1]))
    return float((scores >= min_scores[:, None] - NOISE).ravel()[present].mean())


def rows_of(product_ids: pl.Series, wanted: pl.Series) -> IntArray:
    """The row of each wanted id among `product_ids`, -1 if it is missing."""
    index = product_ids.alias("product_id").to_frame().with_row_index("row")
    joined = wanted.alias("product_id").to_frame().join(index, on="product_id", how="left", maintain_order="left")
    rows: IntArray = joined["row"].cast(pl.Int64).fill_null(-1).to_numpy()
    return rows
