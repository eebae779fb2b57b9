"""From a version of the table to a version of the store: its index, its gates, and the one step that makes it live."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.index.index_request import IndexRequest
from indexer.refresh.built_index import TableVectors
from indexer.refresh.earlier_version import EarlierVersion
from indexer.refresh.feed_time import KEPT_FILE
from indexer.refresh.gates import Gate, GateResult, require_passed
from indexer.refresh.going_live import go_live
from indexer.refresh.made_index import MadeIndex, kept_index, train_index
from indexer.refresh.release_candidate import ReleaseCandidate
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.vector_measurement import VectorMeasurement
from indexer.refresh.version_canaries import write_canaries
from indexer.refresh.version_counts import VersionParts, write_version_counts
from indexer.refresh.version_gates import (
    indexed_gate,
    scanned_shift,
    shift_of_probes,
    target_gates,
    uniformity_gate,
    written_gate,
)
from indexer.refresh.version_shift import shift_gates
from indexer.refresh.version_words import write_version_words
from indexer.refresh.written_version import WrittenVersion
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.store.product_table import ProductTable
from indexer.versions.live import Live, version_numbers
from indexer.versions.software import software
from indexer.versions.version import LAYOUT, MANIFEST_FILE, METRIC, StoreVersion, digests
from ubm_embed.data.arrays import evenly_spaced
from ubm_embed.evaluation.uniformity import alignment

# Vectors or pairs that uniformity and alignment are measured on.
_SAMPLE = 1000


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
    require_passed(candidate.results, allowed)
    with (
        _earlier_version(store, candidate) as earlier,
        store.storage.write_folder(version_folder(number), last=MANIFEST_FILE) as aside,
    ):
        snapshot = store.table.snapshot(candidate.table_version)
        written = WrittenVersion.write(aside, snapshot, earlier.rows if earlier else None)
        results = [*candidate.results, *written_gate(written, candidate.signatures)]
        require_passed(results, allowed)
        # What the rows were compared with takes 30 bytes a product.
        earlier, written = earlier and replace(earlier, rows=None), replace(written, signatures=None)
        vectors = TableVectors(store.table, candidate.table_version)
        measured = VectorMeasurement.measure(vectors, candidate, written, earlier, settings)
        require_passed([*results, measured.gate], allowed)  # before the index is built, which would be in vain
        measured, made = _make_index(vectors, candidate.index, measured, settings, aside)
        if vectors.table_version != candidate.table_version:
            candidate = replace(candidate, table_version=vectors.table_version)
            store.table.pin(number, candidate.table_version)
            store.table.fsync()
        results += _gate_results(store.table, candidate, written, measured, made, settings)
        require_passed(results, allowed)
        measured.probes.write(aside)
        if candidate.kept is not None:
            (aside / KEPT_FILE).write_bytes(candidate.kept)
        parts = VersionParts(aside, written.rows, vectors, lambda: made.built.index)
        write_version_words(store, earlier, written, aside)
        counts = write_version_counts(store, candidate.counts, parts, candidate.model_id, aside)
        write_canaries(store, candidate.model_id, made.built.index, aside, kept=candidate.canaries)
        version = StoreVersion(
            layout=LAYOUT,
            version=number,
            table_version=candidate.table_version,
            model_id=candidate.model_id,
            product_model_id=candidate.product_model_id,
            runtime=candidate.runtime,
            dimension=made.built.index.dimension,
            kind=made.built.index.kind,
            parameters=made.built.to_parameters() | candidate.index.to_parameters(),
            metric=METRIC,
            products=written.rows,
            indexed=len(made.built.index),
            recall_at_10=made.built.recall,
            uniformity=measured.uniformity,
            alignment=_alignment(store.table, candidate, aside, written.rows),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            software=software(),
            source=candidate.source,
            base=candidate.base.version if candidate.base else None,
            changes=_changes_of(candidate),
            columns=candidate.columns,
            gates={str(result.gate): result.to_dict() for result in results},
            files=digests(aside),
            index_update=made.update.to_dict(),
            counts=counts,
        )
        version.write(aside)
    return version


def _earlier_version(
    store: EmbeddingStore, candidate: ReleaseCandidate
) -> AbstractContextManager[EarlierVersion | None]:
    """The version that a candidate has vectors from; None if it has all of its own."""
    if candidate.base is None or not candidate.takes_over_vectors:
        return nullcontext()
    return EarlierVersion.opened(store, candidate.base)


def _make_index(
    vectors: TableVectors, request: IndexRequest, measured: VectorMeasurement, settings: RefreshSettings, folder: Path
) -> tuple[VectorMeasurement, MadeIndex]:
    """Keep an index up or train one, with what was measured of the vectors by then."""
    if measured.reason is None and measured.taken_over is not None:
        queries = measured.probes.tuning_queries(vectors.at)
        made = kept_index(vectors, request, queries, measured.taken_over, settings, folder)
        if isinstance(made, MadeIndex):
            return measured, made
        # Something is not as it was thought to be: nothing more is taken over.
        measured = measured.scanned(vectors, made, settings.gate_queries)
    assert measured.reason is not None, "there is a reason to train one"
    queries = measured.probes.tuning_queries(vectors.at)
    return measured, train_index(vectors, request, queries, measured.reason, folder)


def _gate_results(
    table: ProductTable,
    candidate: ReleaseCandidate,
    written: WrittenVersion,
    measured: VectorMeasurement,
    made: MadeIndex,
    settings: RefreshSettings,
) -> list[GateResult]:
    """The results of the gates of the vectors, the index, and how far both moved."""
    limits, base = settings.gates, candidate.base
    results = [measured.gate, indexed_gate(made.built.index, written)]
    results += target_gates(made.built, candidate.index.target, limits)
    results += uniformity_gate(measured.uniformity, limits)
    if base is None:
        return results
    shift = shift_of_probes(table, candidate.table_version, measured.taken_over) if measured.taken_over else None
    if shift is None:
        assert measured.statistics is not None, "without known probes all vectors were scanned"
        shift = scanned_shift(table, candidate, measured.probes, measured.statistics)
    return results + shift_gates(shift, limits, same_model=base.vectors_model_id == candidate.vectors_model_id)


def _changes_of(candidate: ReleaseCandidate) -> dict[str, Any]:
    """The manifest's entry `changes`."""
    changes = asdict(candidate.changes) | {"encoded": candidate.encoded}
    return changes | {"revisions": dict(candidate.revisions)} if candidate.revisions else changes


def _alignment(table: ProductTable, candidate: ReleaseCandidate, folder: Path, count: int) -> float | None:
    """Alignment of a sample of products that follow one another in sessions (paper 4.6); None without such pairs.

    Args:
        folder: with the files of the version's products.
    """
    if candidate.pairs is None or candidate.pairs.is_empty():
        return None
    first, second = (candidate.pairs[:, side].to_list() for side in (0, 1))
    with closing(MappedCatalogue.open(folder, count)) as catalogue:
        found = catalogue.find([*first, *second])
    known = [
        (found[one], found[other]) for one, other in zip(first, second, strict=True) if {one, other} <= found.keys()
    ]
    if not known:
        return None
    sample = np.array(known)[evenly_spaced(len(known), _SAMPLE)]
    return alignment(*(table.vectors(candidate.table_version, side) for side in sample.T))
