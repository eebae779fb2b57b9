"""A version that is to be published, beside the live one: do the same products still have the same neighbours?

Letters: B queries, K nearest, M products, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from indexer.index.recall import scores_of
from indexer.index.vector_index import NOISE
from indexer.refresh.exact_scan import Survey, survey
from indexer.refresh.gates import Gate, GateLimits, Measured
from indexer.store.product_table import ProductTable
from ubm_embed.data.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class Sample:
    """Some products of the version to publish, and what was found around them.

    Attributes:
        table_version: where they are.
        product_ids: of all its rows, [M].
        rows: which of them were asked, [B].
        vectors: theirs, [B, D].
        found: the survey of the version, asked with them for K + 1 nearest: each product is its own nearest.
    """

    table_version: int
    product_ids: pl.Series
    rows: IntArray
    vectors: FloatArray
    found: Survey


def compare(
    table: ProductTable, sample: Sample, live_version: int, limits: GateLimits, *, same_model: bool
) -> list[Measured]:
    """The gates `neighbours` and, of the same model, `centroid`.

    Args:
        live_version: the table's version that the live version has.
    """
    before = table.read(live_version, ["product_id"])["product_id"]
    asked = places_of(before, sample.product_ids.gather(sample.rows))
    both = asked >= 0
    vectors = table.vectors(live_version, asked[both])
    if not both.any():  # no product in common: only the centroids can be compared
        vectors = sample.vectors
    old = survey(table.batches(live_version), vectors, sample.found.nearest.scores.shape[1])
    measured = []
    if both.any():
        neighbours = places_of(sample.product_ids, before.gather(_without(old.nearest.positions, asked[both]).ravel()))
        overlap = _overlap(table, sample, both, neighbours)
        least = limits.least_overlap if same_model else limits.least_overlap_of_another_model
        measured.append(Measured(Gate.NEIGHBOURS, overlap, least, False, f"{overlap:.3f} of the ten nearest still are"))
    if same_model:
        shift = float(np.linalg.norm(sample.found.centroid - old.centroid))
        says = f"the mean vector moved by {shift:.3f}"
        measured.append(Measured(Gate.CENTROID, shift, limits.most_shift, True, says))
    return measured


def _without(positions: IntArray, own: IntArray) -> IntArray:
    """Each row's nearest without itself, or where it is not among them without the last: [B, K + 1] -> [B, K]."""
    dropped = positions == own[:, None]
    dropped[~dropped.any(axis=1), -1] = True
    kept: IntArray = positions[~dropped].reshape(len(positions), -1)
    return kept


def _overlap(table: ProductTable, sample: Sample, both: np.ndarray, neighbours: IntArray) -> float:
    """Share of old neighbours that score among the nearest now; those that were removed do not count.

    Args:
        both: which of the sample the live version has too, [B].
        neighbours: rows of the old neighbours now, -1 where removed: [B * K].
    """
    here = neighbours >= 0
    if not here.any():
        return 1.0
    queries, least = sample.vectors[both], sample.found.nearest.scores[both, -1]
    found = table.vectors(sample.table_version, np.where(here, neighbours, 0))
    scores = scores_of(queries, found.reshape(len(queries), -1, queries.shape[1]))
    return float((scores >= least[:, None] - NOISE).ravel()[here].mean())


def places_of(product_ids: pl.Series, wanted: pl.Series) -> IntArray:
    """Where each of the wanted ids stands, -1 where it does not."""
    index = product_ids.alias("product_id").to_frame().with_row_index("position")
    found = wanted.alias("product_id").to_frame().join(index, on="product_id", how="left", maintain_order="left")
    places: IntArray = found["position"].cast(pl.Int64).fill_null(-1).to_numpy()
    return places
