"""From a version of the table to a version of the store: its index, its gates, and the one step that makes it live.

Letters: B queries, M products, D width.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

import numpy as np
import polars as pl

from indexer.catalogue.version_catalogue import write_version_catalogue
from indexer.index.index_request import IndexRequest, IndexTarget
from indexer.index.recall import TuningQueries, midpoints_of
from indexer.index.tuning import BenchmarkResult
from indexer.index.vector_index import VectorIndex
from indexer.refresh.built_index import TableVectors, build_saved_index
from indexer.refresh.exact_scan import ScanStatistics, exact_scan
from indexer.refresh.gates import Gate, GateResult, require_passed
from indexer.refresh.going_live import go_live
from indexer.refresh.plan import ChangeCounts
from indexer.refresh.settings import GateLimits, RefreshSettings
from indexer.refresh.version_canaries import write_canaries
from indexer.refresh.version_shift import NEAREST, ScannedVersion, measure_shift, rows_of, shift_gates
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.store.product_table import ProductTable
from indexer.versions.live import Live, version_numbers
from indexer.versions.version import LAYOUT, MANIFEST_FILE, METRIC, ColumnSummary, StoreVersion, digests
from ubm_embed.data.arrays import evenly_spaced
from ubm_embed.evaluation.uniformity import alignment, uniformity

# Vectors or pairs that uniformity and alignment are measured on.
_SAMPLE = 1000


@dataclass(frozen=True, kw_only=True)
class ReleaseCandidate:
    """A version of the table that is to be published.

    Attributes:
        table_version: its number.
        product_ids: ids of its rows, in its order: [M].
        model_id: the model that reads sessions.
        product_model_id: the model that made the vectors, if it is another one.
        source: name of the catalogue's file.
        changes: differences from `base`.
        encoded: products that the model encoded for it.
        resumed: how many of them an earlier, interrupted run had encoded.
        base: the live version that it is compared with, None if there is none.
        live: contents of live.json when the work began.
        pairs: ids of products that follow one another in sessions, as two columns; None without interactions.
        results: gates that were measured before.
        index: the index to build and its targets.
        runtime: the text runtimes that encoded its products.
        columns: the shop's columns, for the manifest.
        canaries: those of a version that is repaired, which stay; None to make them.
        revisions: what became of the rows of the revision that was live when the work began, for the manifest.
    """

    table_version: int
    product_ids: pl.Series
    model_id: str
    product_model_id: str | None
    source: str
    changes: ChangeCounts
    encoded: int
    resumed: int = 0
    base: StoreVersion | None
    live: Live | None
    pairs: pl.DataFrame | None
    results: tuple[GateResult, ...] = ()
    index: IndexRequest = field(default_factory=IndexRequest)
    runtime: str | None = None
    columns: Mapping[str, ColumnSummary] = field(default_factory=dict)
    canaries: bytes | None = None
    revisions: Mapping[str, int] = field(default_factory=dict)


def publish(
    store: EmbeddingStore, candidate: ReleaseCandidate, settings: RefreshSettings, allowed: Collection[Gate] = ()
) -> StoreVersion:
    """Build the index of a version of the table, check it, and make it live. Call it inside `store.write_lock`.

    Raises:
        QualityGateFailed: a gate failed; the version that was live still is.
        Conflict: another version was made live since the work began.
    """
    number = next_number(store, candidate.live)
    store.table.pin(number, candidate.table_version)
    store.table.fsync()
    version = make_version(store, candidate, number, settings, allowed)
    go_live(store, version, known=candidate.live)
    return version


def next_number(store: EmbeddingStore, live: Live | None) -> int:
    """A number that no version has had; a crash may have left one that was never live."""
    return max([live.last if live else 0, *version_numbers(store)]) + 1


def make_version(
    store: EmbeddingStore,
    candidate: ReleaseCandidate,
    number: int,
    settings: RefreshSettings,
    allowed: Collection[Gate] = (),
) -> StoreVersion:
    """Write a version's index, products and manifest into its folder, if it passes its gates.

    Call it inside `store.write_lock`.

    Raises:
        QualityGateFailed: a gate failed.
        InvalidData: the requested index cannot be made of these vectors, or does not fit into the memory allowed.
    """
    statistics, queries = _scan(store.table, candidate, settings.gate_queries)
    # Before the index is built, which would be in vain.
    require_passed([*candidate.results, _vectors_gate(statistics)], allowed)
    with store.storage.write_folder(version_folder(number), last=MANIFEST_FILE) as aside:
        vectors = TableVectors(store.table, candidate.table_version)
        built = build_saved_index(vectors, candidate.index, queries, aside)
        if vectors.table_version != candidate.table_version:
            candidate = replace(candidate, table_version=vectors.table_version)
            store.table.pin(number, candidate.table_version)
            store.table.fsync()
        write_version_catalogue(aside, store.table, candidate.table_version)
        measured = _uniformity(store.table, candidate)
        results = _gate_results(store.table, candidate, statistics, queries, built, measured, settings.gates)
        require_passed(results, allowed)
        write_canaries(store, candidate.model_id, built.index, aside, kept=candidate.canaries)
        version = StoreVersion(
            layout=LAYOUT,
            version=number,
            table_version=candidate.table_version,
            model_id=candidate.model_id,
            product_model_id=candidate.product_model_id,
            runtime=candidate.runtime,
            dimension=built.index.dimension,
            kind=built.index.kind,
            parameters=built.to_parameters() | candidate.index.to_parameters(),
            metric=METRIC,
            products=statistics.rows,
            indexed=len(built.index),
            recall_at_10=built.recall,
            uniformity=measured,
            alignment=_alignment(store.table, candidate),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            software=software(),
            source=candidate.source,
            base=candidate.base.version if candidate.base else None,
            changes=_changes_of(candidate),
            columns=candidate.columns,
            gates={str(result.gate): result.to_dict() for result in results},
            files=digests(aside),
        )
        version.write(aside)
    return version


def _changes_of(candidate: ReleaseCandidate) -> dict[str, Any]:
    """The manifest's entry `changes`."""
    changes = asdict(candidate.changes) | {"encoded": candidate.encoded}
    return changes | {"revisions": dict(candidate.revisions)} if candidate.revisions else changes


def _scan(table: ProductTable, candidate: ReleaseCandidate, count: int) -> tuple[ScanStatistics, TuningQueries]:
    """Scan all vectors once, for a sample of products and their midpoints as queries."""
    version, rows = candidate.table_version, evenly_spaced(len(candidate.product_ids), count)
    products = table.vectors(version, rows)
    midpoints = midpoints_of(products)
    statistics = exact_scan(table.vector_batches(version), np.concatenate([products, midpoints]), NEAREST + 1)
    of_products, of_midpoints = slice(len(products)), slice(len(products), None)
    queries = TuningQueries(
        products=products,
        rows=rows,
        nearest=statistics.nearest.part(of_products),
        midpoints=midpoints,
        nearest_midpoints=statistics.nearest.part(of_midpoints),
        vectors=lambda positions: table.vectors(version, positions),
        count=statistics.rows,
    )
    return statistics, queries


def _gate_results(
    table: ProductTable,
    candidate: ReleaseCandidate,
    statistics: ScanStatistics,
    queries: TuningQueries,
    built: BenchmarkResult,
    measured_uniformity: float | None,
    limits: GateLimits,
) -> list[GateResult]:
    """The results of every gate, those measured before among them."""
    results = [
        *candidate.results,
        _vectors_gate(statistics),
        _indexed_gate(built.index, statistics, candidate.product_ids),
        *_target_gates(built, candidate.index.target, limits),
    ]
    if measured_uniformity is not None:
        message = f"uniformity of the vectors is {measured_uniformity:.3f}"
        results.append(GateResult(Gate.UNIFORMITY, measured_uniformity, limits.max_uniformity, True, message))
    if candidate.base is None:
        return results
    return results + _live_gates(table, candidate, candidate.base, statistics, queries, limits)


def _live_gates(
    table: ProductTable,
    candidate: ReleaseCandidate,
    live: StoreVersion,
    statistics: ScanStatistics,
    queries: TuningQueries,
    limits: GateLimits,
) -> list[GateResult]:
    """The gates that compare with the live version."""
    same_model = live.vectors_model_id == (candidate.product_model_id or candidate.model_id)
    of_products = replace(statistics, nearest=queries.nearest)
    later = ScannedVersion(candidate.table_version, candidate.product_ids, queries.rows, queries.products, of_products)
    shift = measure_shift(table, live.table_version, later, same_model=same_model)
    return shift_gates(shift, limits, same_model=same_model)


def _vectors_gate(statistics: ScanStatistics) -> GateResult:
    message = f"{statistics.not_unit_length} of {statistics.rows} vectors are not of length 1"
    return GateResult(Gate.VECTORS, statistics.not_unit_length, 0, True, message)


def _indexed_gate(index: VectorIndex, statistics: ScanStatistics, product_ids: pl.Series) -> GateResult:
    rows, distinct = statistics.rows, product_ids.n_unique()
    wrong = max(abs(rows - count) for count in (len(index), distinct, len(product_ids)))
    message = f"{rows} rows with {distinct} different ids, of which the index holds {len(index)}"
    return GateResult(Gate.INDEXED, wrong, 0, True, message)


def _target_gates(built: BenchmarkResult, target: IndexTarget, limits: GateLimits) -> list[GateResult]:
    """Whether the index is as good as requested; a request for less recall than the gate's limit lowers the limit."""
    message = f"the index finds {built.recall:.3f} of the exact ten nearest"
    recall = GateResult(Gate.RECALL, built.recall, min(limits.min_recall, target.recall), False, message)
    if target.latency_ms is None:
        return [recall]
    message = f"a query takes {built.median_ms:.3g} ms with the index {built.index.kind!r}, the best of those tried"
    return [recall, GateResult(Gate.LATENCY, built.median_ms, target.latency_ms, True, message)]


def _uniformity(table: ProductTable, candidate: ReleaseCandidate) -> float | None:
    """Uniformity of a sample of the vectors (paper 4.6); None of fewer than two."""
    sample = table.vectors(candidate.table_version, evenly_spaced(len(candidate.product_ids), _SAMPLE))
    return uniformity(sample) if len(sample) > 1 else None


def _alignment(table: ProductTable, candidate: ReleaseCandidate) -> float | None:
    """Alignment of a sample of products that follow one another in sessions (paper 4.6); None without such pairs."""
    if candidate.pairs is None or candidate.pairs.is_empty():
        return None
    rows = [rows_of(candidate.product_ids, candidate.pairs[:, side]) for side in (0, 1)]
    known = np.flatnonzero((rows[0] >= 0) & (rows[1] >= 0))
    if not known.size:
        return None
    sample = known[evenly_spaced(known.size, _SAMPLE)]
    return alignment(*(table.vectors(candidate.table_version, side[sample]) for side in rows))


def software() -> str:
    """The version of ubm-embed that runs."""
    try:
        return version_of("ubm-embed")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
