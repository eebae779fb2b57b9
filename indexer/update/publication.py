"""From a version of the table to a version of the store: the index, its checks, and the one step that makes it live.

Letters: B queries, M products, D width.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path

import numpy as np
import polars as pl
import torch

from indexer.catalogue import IDS_FILE, write_ids
from indexer.index import INDEX_FILE, NOISE, VectorIndex
from indexer.recall import index_recall_at_k, scores_of
from indexer.store import EmbeddingStore, version_folder
from indexer.update.changes import ChangeCounts
from indexer.update.gates import Gate, GateLimits, Measured, require_passed
from indexer.update.survey import Survey, survey
from indexer.versions.live import Live, make_live
from indexer.versions.version import MANIFEST_FILE, METRIC, StoreVersion, digests, version_numbers
from ubm_embed.data.arrays import FloatArray
from ubm_embed.evaluation.uniformity import alignment, uniformity

_QUERIES, _SAMPLE, _NEAREST = 100, 1000, 10


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A version of the table that is to be published.

    Attributes:
        table_version: its number.
        product_ids: of its rows, in its order: [M].
        model_id: the model that reads sessions.
        product_model_id: the model that made the vectors, where it is another one.
        source: name of the catalogue's file.
        changes: against `base`.
        encoded: products that the model read for it.
        base: the live version that it is compared with, None for none.
        live: what live.json said when the work began.
        pairs: ids of products that sessions hold next to each other, in two columns; None without sessions.
        measured: gates that were asked before.
    """

    table_version: int
    product_ids: pl.Series
    model_id: str
    product_model_id: str | None
    source: str
    changes: ChangeCounts
    encoded: int
    base: StoreVersion | None
    live: Live | None
    pairs: pl.DataFrame | None
    measured: tuple[Measured, ...] = ()


def publish(
    store: EmbeddingStore, candidate: Candidate, limits: GateLimits, allowed: Collection[Gate] = ()
) -> StoreVersion:
    """Build the index of a version of the table, check it, and make it live. Call it inside `store.writing`.

    Raises:
        QualityGateFailed: a check failed; what was live still is.
        Conflict: something else was made live since the work began.
    """
    number = next_number(store, candidate.live)
    store.table.pin(number, candidate.table_version)
    version = make_version(store, candidate, number, limits, allowed)
    make_live(store, number, known=candidate.live)
    return version


def make_version(
    store: EmbeddingStore, candidate: Candidate, number: int, limits: GateLimits, allowed: Collection[Gate] = ()
) -> StoreVersion:
    """Put a version's index, ids and manifest in their place, if it passes its gates. Call it inside `store.writing`.

    Raises:
        QualityGateFailed: a check failed.
    """
    with store.place.filling(version_folder(number), last=MANIFEST_FILE) as aside:
        parts = (batch.vectors for batch in store.table.batches(candidate.table_version))
        VectorIndex.build(parts, expected=len(candidate.product_ids)).save(aside / INDEX_FILE)
        write_ids(aside / IDS_FILE, candidate.product_ids)
        index = VectorIndex.load(aside / INDEX_FILE)  # what is judged is what will be served
        version = _describe(store, candidate, index, number, aside, limits, allowed)
        version.write(aside)
    return version


def next_number(store: EmbeddingStore, live: Live | None) -> int:
    """A number that no version has had: a crash may have left one that was never live."""
    once = (live.version, *live.history) if live else ()
    return max([0, *version_numbers(store), *once]) + 1


def _describe(
    store: EmbeddingStore,
    candidate: Candidate,
    index: VectorIndex,
    number: int,
    folder: Path,
    limits: GateLimits,
    allowed: Collection[Gate],
) -> StoreVersion:
    """The manifest of a version, once it has passed its gates."""
    queries = _evenly(len(candidate.product_ids), _QUERIES)
    vectors = store.table.vectors(candidate.table_version, queries)
    found = survey(store.table.batches(candidate.table_version), vectors, _NEAREST)
    sample = store.table.vectors(candidate.table_version, _evenly(found.rows, _SAMPLE))
    recall = _recall(store, candidate, index, vectors, found)
    spread = float(uniformity(torch.from_numpy(sample))) if len(sample) > 1 else None
    measured = [
        *candidate.measured,
        _sound(found),
        _indexed(index, found, candidate),
        Measured(
            Gate.RECALL, recall, limits.least_recall, False, f"the index finds {recall:.3f} of the exact ten nearest"
        ),
        *_uniform(spread, limits),
        *_compared(store, candidate, queries, vectors, found, limits),
    ]
    require_passed(measured, allowed)
    return StoreVersion(
        version=number,
        table_version=candidate.table_version,
        model_id=candidate.model_id,
        product_model_id=candidate.product_model_id,
        dimension=index.dimension,
        kind=index.kind,
        parameters={},
        metric=METRIC,
        products=found.rows,
        indexed=len(index),
        recall_at_10=recall,
        uniformity=spread,
        alignment=_alignment(store, candidate),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        software=software(),
        source=candidate.source,
        base=candidate.base.version if candidate.base else None,
        changes=asdict(candidate.changes) | {"encoded": candidate.encoded},
        gates={str(one.gate): one.to_dict() for one in measured},
        files=digests(folder),
    )


def _recall(
    store: EmbeddingStore, candidate: Candidate, index: VectorIndex, queries: FloatArray, found: Survey
) -> float:
    if len(index) != found.rows:
        return 0.0  # the gate `indexed` says more
    return index_recall_at_k(
        index, queries, found.nearest, lambda positions: store.table.vectors(candidate.table_version, positions)
    )


def _sound(found: Survey) -> Measured:
    says = f"{found.unsound} of {found.rows} vectors are not of length 1"
    return Measured(Gate.VECTORS, found.unsound, 0, True, says)


def _indexed(index: VectorIndex, found: Survey, candidate: Candidate) -> Measured:
    distinct = candidate.product_ids.n_unique()
    wrong = max(abs(found.rows - len(index)), abs(found.rows - distinct), abs(found.rows - len(candidate.product_ids)))
    says = f"{found.rows} rows with {distinct} different ids, of which the index holds {len(index)}"
    return Measured(Gate.INDEXED, wrong, 0, True, says)


def _uniform(spread: float | None, limits: GateLimits) -> list[Measured]:
    if spread is None:
        return []
    says = f"uniformity of the vectors is {spread:.3f}"
    return [Measured(Gate.UNIFORMITY, spread, limits.most_uniformity, True, says)]


def _compared(
    store: EmbeddingStore,
    candidate: Candidate,
    queries: np.ndarray,
    vectors: FloatArray,
    found: Survey,
    limits: GateLimits,
) -> list[Measured]:
    """The gates that look at the live version too; none where there is none, or no product in common."""
    base = candidate.base
    if base is None:
        return []
    before = store.table.read(base.table_version, ["product_id"])["product_id"]
    asked = _positions(before, candidate.product_ids.gather(queries))
    both = asked >= 0
    if not both.any():
        return []
    old = survey(
        store.table.batches(base.table_version), store.table.vectors(base.table_version, asked[both]), _NEAREST
    )
    same = base.model_id == candidate.model_id
    neighbours = _positions(candidate.product_ids, before.gather(old.nearest.positions.ravel()))
    overlap = _overlap(store, candidate, vectors[both], found.nearest.scores[both, -1], neighbours)
    least = limits.least_overlap if same else limits.least_overlap_of_another_model
    kept = Measured(Gate.NEIGHBOURS, overlap, least, False, f"{overlap:.3f} of the ten nearest still are")
    if not same:
        return [kept]
    shift = float(np.linalg.norm(found.centroid - old.centroid))
    return [kept, Measured(Gate.CENTROID, shift, limits.most_shift, True, f"the mean vector moved by {shift:.3f}")]


def _overlap(
    store: EmbeddingStore, candidate: Candidate, queries: FloatArray, least: FloatArray, neighbours: np.ndarray
) -> float:
    """Share of old neighbours that score among the ten nearest now; those that were removed do not count.

    Args:
        queries: [B, D].
        least: the tenth best score of each, [B].
        neighbours: rows of the old neighbours now, -1 where removed: [B * K].
    """
    here = neighbours >= 0
    if not here.any():
        return 1.0
    found = store.table.vectors(candidate.table_version, np.where(here, neighbours, 0))
    scores = scores_of(queries, found.reshape(len(queries), -1, queries.shape[1]))
    return float((scores >= least[:, None] - NOISE).ravel()[here].mean())


def _alignment(store: EmbeddingStore, candidate: Candidate) -> float | None:
    """Of products that sessions hold next to each other (paper 4.6)."""
    if candidate.pairs is None or candidate.pairs.is_empty():
        return None
    rows = [_positions(candidate.product_ids, candidate.pairs[:, side]) for side in (0, 1)]
    known = np.flatnonzero((rows[0] >= 0) & (rows[1] >= 0))
    if not known.size:
        return None
    kept = known[_evenly(known.size, _SAMPLE)]
    x, y = (torch.from_numpy(store.table.vectors(candidate.table_version, side[kept])) for side in rows)
    return float(alignment(x, y))


def _positions(product_ids: pl.Series, wanted: pl.Series) -> np.ndarray:
    """Where each of the wanted ids stands, -1 where it does not."""
    index = product_ids.alias("product_id").to_frame().with_row_index("position")
    found = wanted.alias("product_id").to_frame().join(index, on="product_id", how="left", maintain_order="left")
    return found["position"].cast(pl.Int64).fill_null(-1).to_numpy()


def _evenly(count: int, most: int) -> np.ndarray:
    """At most `most` of the numbers below `count`, evenly spread: the same each time."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))


def software() -> str:
    """The version of ubm-embed that runs."""
    try:
        return version_of("ubm-embed")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
