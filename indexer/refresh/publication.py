"""From a version of the table to a version of the store: the index, its checks, and the one step that makes it live.

Letters: B queries, M products, D width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path

import numpy as np
import polars as pl
import torch

from indexer.index.index_request import IndexRequest, IndexTarget
from indexer.index.kinds import DISK, IndexForm
from indexer.index.lance_backend import DiskEngine
from indexer.index.tuning import Questions, Trial, between, choose_index
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.refresh.changes import ChangeCounts
from indexer.refresh.comparison import Sample, compare, places_of
from indexer.refresh.exact_scan import Survey, survey
from indexer.refresh.gates import Gate, GateLimits, Measured, require_passed
from indexer.search.catalogue import IDS_FILE, write_ids
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.store.product_table import ProductTable
from indexer.versions.index_of import index_of
from indexer.versions.live import Live, make_live, version_numbers
from indexer.versions.version import MANIFEST_FILE, METRIC, StoreVersion, digests
from ubm_embed.data.arrays import FloatArray, evenly
from ubm_embed.evaluation.uniformity import alignment, uniformity

_QUERIES, _SAMPLE, _NEAREST = 200, 1000, 10


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
        index: which index, and how good it is to be.
        encoder: what read the texts of its products.
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
    index: IndexRequest = field(default_factory=IndexRequest)
    encoder: str | None = None


def publish(
    store: EmbeddingStore, candidate: Candidate, limits: GateLimits, allowed: Collection[Gate] = ()
) -> StoreVersion:
    """Build the index of a version of the table, check it, and make it live. Call it inside `store.write_lock`.

    Raises:
        QualityGateFailed: a check failed; what was live still is.
        Conflict: something else was made live since the work began.
    """
    number = next_number(store, candidate.live)
    store.table.pin(number, candidate.table_version)
    store.table.fsync()
    version = make_version(store, candidate, number, limits, allowed)
    make_live(store, number, known=candidate.live)
    return version


def make_version(
    store: EmbeddingStore, candidate: Candidate, number: int, limits: GateLimits, allowed: Collection[Gate] = ()
) -> StoreVersion:
    """Write a version's index, ids and manifest into its folder, if it passes its gates.

    Call it inside `store.write_lock`.

    Raises:
        QualityGateFailed: a check failed.
        InvalidData: the index that is asked for cannot be made of these vectors, or does not fit.
    """
    around, questions = _look_around(store.table, candidate)
    # What cannot be searched is not worth an index.
    require_passed([*candidate.measured, _sound(around.found)], allowed)
    with store.storage.write_folder(version_folder(number), last=MANIFEST_FILE) as aside:
        vectors = _Vectors(store.table, candidate.table_version)
        judged = _index(vectors, candidate.index, questions, aside)
        if vectors.table_version != candidate.table_version:
            candidate = replace(candidate, table_version=vectors.table_version)
            store.table.pin(number, candidate.table_version)
            store.table.fsync()
        write_ids(aside / IDS_FILE, candidate.product_ids)
        version = _describe(store, candidate, around, judged, number, aside, limits, allowed)
        version.write(aside)
    return version


def next_number(store: EmbeddingStore, live: Live | None) -> int:
    """A number that no version has had: a crash may have left one that was never live."""
    return max([live.last if live else 0, *version_numbers(store)]) + 1


def _look_around(table: ProductTable, candidate: Candidate) -> tuple[Sample, Questions]:
    """Some products and places between them, and what is around them: exactly, in one pass."""
    number, rows = candidate.table_version, evenly(len(candidate.product_ids), _QUERIES)
    products = table.vectors(number, rows)
    halfway = between(products)
    found = survey(table.batches(number), np.concatenate([products, halfway]), _NEAREST + 1)
    near, near_halfway = found.nearest.at(slice(len(products))), found.nearest.at(slice(len(products), None))
    questions = Questions(
        products, rows, near, halfway, near_halfway, lambda places: table.vectors(number, places), found.rows
    )
    return Sample(number, candidate.product_ids, rows, products, replace(found, nearest=near)), questions


@dataclass
class _Vectors:
    """All vectors of a version of the table, some at a time, as often as they are asked for.

    Attributes:
        table_version: the version; another one with the same rows once there is an index of LanceDB's over them.
    """

    table: ProductTable
    table_version: int

    def __iter__(self) -> Iterator[FloatArray]:
        return (batch.vectors for batch in self.table.batches(self.table_version))

    def on_disk(self, form: IndexForm) -> VectorIndex:
        """LanceDB's own index over them."""
        self.table_version = self.table.index_vectors(self.table_version, form.lists)
        return VectorIndex(DiskEngine(self.table.snapshot(self.table_version), form.lists), form)


def _index(vectors: _Vectors, asked: IndexRequest, questions: Questions, folder: Path) -> Trial:
    """Build the index into its file; what is judged is what will be served, so it is read again."""
    chosen = choose_index(asked, vectors, questions)
    form = chosen.index.form
    if form.kind is not DISK:
        chosen.index.save(folder / INDEX_FILE)
    index = index_of(vectors.table, vectors.table_version, form, folder)
    if len(index) != questions.count:
        return replace(chosen, index=index, recall=0.0)  # the gate `indexed` says more
    return replace(chosen, index=index, recall=questions.recall(index))


def _describe(
    store: EmbeddingStore,
    candidate: Candidate,
    around: Sample,
    judged: Trial,
    number: int,
    folder: Path,
    limits: GateLimits,
    allowed: Collection[Gate],
) -> StoreVersion:
    """The manifest of a version, once it has passed its gates."""
    found, index = around.found, judged.index
    sample = store.table.vectors(candidate.table_version, evenly(found.rows, _SAMPLE))
    spread = float(uniformity(torch.from_numpy(sample))) if len(sample) > 1 else None
    measured = [
        *candidate.measured,
        _sound(found),
        _indexed(index, found, candidate),
        *_as_asked(judged, candidate.index.target, limits),
        *_uniform(spread, limits),
        *_compared(store, candidate, around, limits),
    ]
    require_passed(measured, allowed)
    return StoreVersion(
        version=number,
        table_version=candidate.table_version,
        model_id=candidate.model_id,
        product_model_id=candidate.product_model_id,
        encoder=candidate.encoder,
        dimension=index.dimension,
        kind=index.kind,
        parameters=judged.to_parameters() | candidate.index.to_parameters(),
        metric=METRIC,
        products=found.rows,
        indexed=len(index),
        recall_at_10=judged.recall,
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


def _as_asked(judged: Trial, target: IndexTarget, limits: GateLimits) -> list[Measured]:
    """Whether the index is as good as was asked for; who asks for less recall than the gate does gets that."""
    says = f"the index finds {judged.recall:.3f} of the exact ten nearest"
    recall = Measured(Gate.RECALL, judged.recall, min(limits.least_recall, target.recall), False, says)
    if target.latency_ms is None:
        return [recall]
    says = f"a query takes {judged.median_ms:.3g} ms with the index {judged.index.kind!r}, the best that was found"
    return [recall, Measured(Gate.LATENCY, judged.median_ms, target.latency_ms, True, says)]


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


def _compared(store: EmbeddingStore, candidate: Candidate, sample: Sample, limits: GateLimits) -> list[Measured]:
    """The gates that look at the live version too; none where there is none."""
    base = candidate.base
    if base is None:
        return []
    same_model = base.model_id == candidate.model_id
    return compare(store.table, sample, base.table_version, limits, same_model=same_model)


def _alignment(store: EmbeddingStore, candidate: Candidate) -> float | None:
    """Of products that sessions hold next to each other (paper 4.6)."""
    if candidate.pairs is None or candidate.pairs.is_empty():
        return None
    rows = [places_of(candidate.product_ids, candidate.pairs[:, side]) for side in (0, 1)]
    known = np.flatnonzero((rows[0] >= 0) & (rows[1] >= 0))
    if not known.size:
        return None
    kept = known[evenly(known.size, _SAMPLE)]
    x, y = (torch.from_numpy(store.table.vectors(candidate.table_version, side[kept])) for side in rows)
    return float(alignment(x, y))


def software() -> str:
    """The version of ubm-embed that runs."""
    try:
        return version_of("ubm-embed")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
