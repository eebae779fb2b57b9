"""A version in which no vector changed: it shares the index and the products of an earlier one.

Its own files are the rows that differ from those products, and the popularity of all.

Letters: M products.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from indexer.catalogue.catalogue_writer import write_popularity
from indexer.counts.count_summary import CountSummary
from indexer.index.index_request import IndexRequest
from indexer.refresh.built_index import TableVectors
from indexer.refresh.feed_time import KEPT_FILE
from indexer.refresh.gates import Gate, GateResult, require_passed
from indexer.refresh.going_live import go_live
from indexer.refresh.live_rows import LiveRows
from indexer.refresh.plan import Plan
from indexer.refresh.publication import next_number
from indexer.refresh.schema_changes import column_summaries
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.version_counts import VersionParts, copy_counts, write_version_counts
from indexer.revisions.segment import ROW_DELETED, ROW_REVISION, ROW_TIME, segment_schema, write_patch
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.store.table_schema import VECTOR
from indexer.versions.software import software
from indexer.versions.version import (
    LAYOUT,
    MANIFEST_FILE,
    PATCH_FILE,
    StoreVersion,
    digests,
)
from indexer.versions.version_index import open_index

# What these found of the vectors and the index holds as long as both do.
_STANDING = (Gate.VECTORS, Gate.INDEXED, Gate.RECALL, Gate.LATENCY, Gate.UNIFORMITY)


def may_share_files(plan: Plan, index: IndexRequest, settings: RefreshSettings) -> bool:
    """Whether a version as planned can share the index and the products of the live one."""
    if not plan.changes_no_vector or plan.base is None or index != plan.base.index_request:
        return False
    is_readable = plan.rows is not None and plan.rows.table.version.layout > 1
    return is_readable and plan.changes.table_columns_differ.sum() <= settings.max_patch_share * len(plan.scan)


def publish_attributes(
    store: EmbeddingStore, plan: Plan, results: Sequence[GateResult], allowed: Collection[Gate] = ()
) -> StoreVersion:
    """Make a version of which `may_share_files` is true, and make it live. Call it inside `store.write_lock`.

    Nothing is written to the table, and no vector is read.

    Raises:
        QualityGateFailed: a gate failed; the version that was live still is.
        Conflict: another version was made live since the work began, or the catalogue changed.
    """
    assert plan.rows is not None, "it shares the files of a live version"
    require_passed(results, allowed)
    number, shared = next_number(store, plan.live), plan.rows.table.version
    with store.storage.write_folder(version_folder(number), last=MANIFEST_FILE) as aside:
        write_patch(aside / PATCH_FILE, _patch(plan, plan.rows))
        popularity = np.zeros(len(plan.rows), np.int64)
        popularity[plan.changes.table_rows] = plan.changes.popularity
        write_popularity(aside, popularity, plan.rows.ids_of)
        if plan.kept is not None:
            (aside / KEPT_FILE).write_bytes(plan.kept)
        counts = {"counts": _write_counts(store, plan, shared, aside)}
        version = shared.model_copy(
            update=_manifest(plan, number, shared, results) | counts | {"files": digests(aside)}
        )
        version.write(aside)
    go_live(store, version, known=plan.live)
    return version


def _patch(plan: Plan, rows: LiveRows) -> pa.Table:
    """The products that differ from those of the shared files, popularity aside."""
    schema = segment_schema(rows.overlay.base.schema, plan.dimension)
    schema = schema.remove(schema.get_field_index(VECTOR))
    own = {ROW_REVISION: 0, ROW_DELETED: False, ROW_TIME: datetime.now(UTC)}
    parts = [schema.empty_table()]
    for _, products in plan.scan.rows(plan.changes.table_columns_differ):
        table = products.to_arrow()
        columns = [
            pa.repeat(pa.scalar(own[field.name], field.type), table.num_rows)
            if field.name in own
            else table[field.name].cast(field.type, safe=False)
            for field in schema
        ]
        parts.append(pa.table(columns, schema=schema))
    return pa.concat_tables(parts)


def _write_counts(store: EmbeddingStore, plan: Plan, shared: StoreVersion, folder: Path) -> CountSummary | None:
    """The counts of the version before, of which only a file of its own is copied; or those of the interactions."""
    if isinstance(plan.counts, StoreVersion):
        return copy_counts(store, plan.counts, folder)
    with store.storage.open_folder(version_folder(shared.version)) as files:
        parts = VersionParts(
            files,
            shared.products,
            TableVectors(store.table, shared.table_version),
            lambda: open_index(store.table, shared.table_version, shared.index_spec, files),
        )
        return write_version_counts(store, plan.counts, parts, shared.model_id, folder)


def _manifest(plan: Plan, number: int, shared: StoreVersion, results: Sequence[GateResult]) -> dict[str, Any]:
    """What the manifest says other than that of the version whose files are shared."""
    assert plan.base is not None
    revisions = {"revisions": plan.folded.to_dict()} if plan.folded else {}
    standing = {str(gate): shared.gates[gate] for gate in _STANDING if gate in shared.gates}
    return {
        "layout": LAYOUT,
        "version": number,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": software(),
        "source": plan.scan.file.name,
        "base": plan.base.version,
        "changes": asdict(plan.changes.counts) | {"encoded": 0} | revisions,
        "columns": column_summaries(plan.scan),
        "gates": {str(result.gate): result.to_dict() for result in results} | standing,
        "shares_files_of": shared.version,
        "index_update": {**shared.index_update, "action": "shared", "reason": "no text changed"},
    }
