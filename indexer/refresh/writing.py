"""A plan carried out up to the table: shards encoded, rows committed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from indexer.index.index_request import IndexRequest
from indexer.refresh.gates import GateResult
from indexer.refresh.plan import Plan
from indexer.refresh.release_candidate import ReleaseCandidate
from indexer.refresh.row_signatures import row_signatures
from indexer.refresh.schema_changes import column_summaries
from indexer.refresh.shards import (
    EncodingJob,
    ExecutionEngine,
    Shard,
    fragments_of,
    is_encoded,
    read_shard,
    runtimes_of,
    stage_shards,
    table_rows,
)
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import table_schema
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.progress import Progress


def write_rows(
    store: EmbeddingStore,
    plan: Plan,
    index: IndexRequest,
    results: Sequence[GateResult],
    *,
    shard_rows: int,
    engine: ExecutionEngine,
    device: str,
    runtime: str | None,
    progress: Progress,
    seconds: dict[str, float],
) -> ReleaseCandidate:
    """Encode the rows of a plan and commit them to the table. Call it inside `store.write_lock`.

    Args:
        index: the index to build over them.
        results: gates that were measured before.
        seconds: the time of each step is added here.

    Raises:
        Conflict: the catalogue changed since it was scanned.
    """
    rewrite = plan.rewrite_reason is not None
    if not rewrite:
        # Rows are written with the columns of the table's newest version, and a failed gate or a rollback may have
        # left that one with other columns than the live version's.
        assert plan.base is not None, "unchanged rows can only be left where there is a live version"
        store.table.restore(plan.base.table_version)
    with timed(seconds, "cut"):
        shards = list(stage_shards(store, plan, rows=shard_rows))
    with timed(seconds, "encode"):
        left = [shard for shard in shards if not is_encoded(store, plan.model_id, shard)]
        job = EncodingJob(store.uri, plan.model_id, plan.reuse, rewrite, device, runtime)
        if left:
            engine(job, left, progress)
    with timed(seconds, "commit"):
        table_version = _commit(store, plan, shards, shard_rows)
    return ReleaseCandidate(
        table_version=table_version,
        model_id=plan.model_id,
        product_model_id=plan.product_model_id,
        source=plan.scan.file.name,
        changes=plan.changes.counts,
        encoded=int(plan.encode.sum()),
        resumed=sum(shard.to_encode for shard in shards) - sum(shard.to_encode for shard in left),
        base=plan.base,
        live=plan.live,
        pairs=plan.pairs,
        takes_over_vectors=plan.reuse is not None,
        signatures=row_signatures(plan.scan.id_hashes, plan.scan.text_hashes, plan.scan.row_hashes),
        results=tuple(results),
        revisions=plan.folded.to_dict() if plan.folded else {},
        kept=plan.kept,
        counts=plan.counts,
        runtime=_runtimes(plan, runtimes_of(store, plan.model_id, shards)),
        index=index,
        columns=column_summaries(plan.scan),
    )


def _commit(store: EmbeddingStore, plan: Plan, shards: Sequence[Shard], shard_rows: int) -> int:
    """Commit the rows of encoded shards, and the deletions; the table's new version."""
    table, fragments = store.table, fragments_of(store, plan.model_id, shards)
    if plan.rewrite_reason is not None:
        first = read_shard(store.storage, plan.model_id, shards[0].key)
        table.replace(fragments, table_schema(table_rows(first), plan.dimension), model_id=plan.model_id)
    else:
        table.drop_indexes()
        if plan.deleted.len():
            table.remove(plan.deleted)
        if fragments:
            table.append(fragments)
    return table.compact(shard_rows)


def _runtimes(plan: Plan, names: set[str]) -> str:
    """The runtimes that encoded a version's texts, those of the vectors it takes over among them."""
    if plan.reuse is not None and plan.base is not None:
        names = names | set((plan.base.runtime or RuntimeName.TORCH).split(", "))
    return ", ".join(sorted(names))


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Add the time of the block to `seconds[step]`."""
    started = time.perf_counter()
    yield
    seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - started
