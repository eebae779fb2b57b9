"""From a catalogue to the version of a store that answers: `build_index` makes one, `refresh` brings it up to date.

The order of the steps makes a crash harmless: first the model, then shards beside the table, then the table, then the
index, and last the one small file that makes them live. Until then the store answers as before. Encoded shards are kept
until they are published, and the next run goes on from them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Mapping as AnyMapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from indexer.index.faiss_factory import load_faiss
from indexer.index.index_request import IndexRequest
from indexer.index.tuning import require_buildable
from indexer.refresh.catalogue_scan import CatalogueScan, read_counts
from indexer.refresh.gates import Gate, GateResult, require_passed
from indexer.refresh.model_copy import complete_graphs, copy_model, open_model, open_model_copy
from indexer.refresh.plan import ChangeCounts, Plan
from indexer.refresh.publication import publish
from indexer.refresh.schema_changes import compare_catalogues
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.shards import ExecutionEngine, encode_locally
from indexer.refresh.writing import timed, write_rows
from indexer.store.embedding_store import STAGING, EmbeddingStore, staging_folder
from indexer.versions.pruning import try_prune
from indexer.versions.rollback import require_complete
from indexer.versions.tags import read_tags
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.progress import Notice, Progress, silent, unsaid


def build_index(
    *,
    model: str | Path,
    products: str | Path,
    store: str | Path,
    interactions: str | Path | None = None,
    settings: RefreshSettings | None = None,
    allow: Collection[Gate] = (),
    engine: ExecutionEngine = encode_locally,
    device: str = "auto",
    runtime: str | None = None,
    mapping: Mapping | None = None,
    progress: Progress = silent,
    notice: Notice = unsaid,
) -> StoreVersion:
    """Embed a catalogue and make it the live version of a store. An interrupted build resumes where it stopped.

    Args:
        model: a model folder; the store keeps a copy.
        products: the catalogue, in any format that `product_batches` reads.
        store: path or URI of the store, made if it is not there.
        interactions: what shoppers did, from which popularity is counted; without them it is 0 everywhere.
        settings: limits of the gates, which versions stay, how the work is divided, which index is built.
        allow: gates that may fail.
        engine: encodes the shards.
        device: "auto" takes a GPU if there is one.
        runtime: the text runtime, a `RuntimeName`; None for what reads the model on this device.
        mapping: which columns of the catalogue are what; None if they have our names.
        notice: is told what was changed in the catalogue, and how its columns differ from those of the live version.

    Raises:
        NotFound: a file is missing; or faiss or the runtime's library is not installed.
        InvalidData: names the file, row and field; or the model was fine-tuned for another task than next items.
        Conflict: another process writes to the store, or the folder holds something else.
        QualityGateFailed: a gate failed; the version that was live still is.
    """
    load_faiss()  # fail now if it is missing, not after hours of embedding
    settings = settings or RefreshSettings()
    index = settings.index or IndexRequest()
    folder = open_model(model)
    scan = CatalogueScan.read(products, mapping)
    scan.give_notice(notice)
    counts = read_counts(interactions, notice)
    target = EmbeddingStore.create(store)
    with target.write_lock():
        read_tags(target)  # pruning needs them: fail now if they are damaged
        plan = Plan.to_build(target, scan, counts, folder)
        require_buildable(index, plan.dimension)
        may_fail = Gate.SCHEMA in allow
        compared = compare_catalogues(target, plan, settings.gates.max_lost, notice, may_fail=may_fail)
        require_passed(compared, allow)
        copy_model(target, folder)
        complete_graphs(target, plan.model_id, notice)
        candidate = write_rows(
            target,
            plan,
            index,
            compared,
            shard_rows=settings.shard_rows,
            engine=engine,
            device=device,
            runtime=runtime,
            progress=progress,
            seconds={},
        )
        version = publish(target, candidate, settings, allow)
        try_prune(target, settings.keep, STAGING)  # what it fails to remove, the next refresh removes
    return version


@dataclass(frozen=True, kw_only=True)
class RefreshReport:
    """What a refresh did, or would do.

    Attributes:
        base: number of the version that was live before.
        published: the version that is live now; None if nothing was published.
        changes: differences from `base`.
        written: products written to the table, encoded or not.
        encoded: products that the model encoded for it.
        resumed: how many of them an earlier, interrupted refresh had encoded.
        reason: why the whole table is written again, or None.
        index: `from`, the index there was with its kind and its request, and `to`, the one requested now. None if the
            request is the same.
        gates: measured value, limit and whether it passed, by gate; those of `published` if there is one.
        seconds: time of each step.
        pruned: versions that were removed.
        freed: bytes that were freed by it.
        prune_error: why old versions could not be removed after the new one was published; None if they could.
    """

    base: int
    published: StoreVersion | None
    changes: ChangeCounts
    written: int
    encoded: int
    resumed: int = 0
    reason: str | None = None
    index: AnyMapping[str, Any] | None = None
    gates: AnyMapping[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pruned: tuple[int, ...] = ()
    freed: int = 0
    prune_error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "base": self.base,
            "version": self.published.version if self.published else None,
            **asdict(self.changes),
            "written": self.written,
            "encoded": self.encoded,
            "resumed": self.resumed,
            "reason": self.reason,
            "index": self.index,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "pruned": list(self.pruned),
            "freed_bytes": self.freed,
            "prune_error": self.prune_error,
            "gates": dict(self.gates),
        }


def refresh(
    *,
    products: str | Path,
    store: str | Path,
    model: str | Path | None = None,
    interactions: str | Path | None = None,
    settings: RefreshSettings | None = None,
    allow: Collection[Gate] = (),
    dry_run: bool = False,
    engine: ExecutionEngine = encode_locally,
    device: str = "auto",
    runtime: str | None = None,
    mapping: Mapping | None = None,
    progress: Progress = silent,
    notice: Notice = unsaid,
) -> RefreshReport:
    """Bring a store up to date with a catalogue. Unchanged texts are not encoded; without a change nothing happens.

    Args:
        products: the catalogue, in any format that `product_batches` reads.
        store: path or URI of a store that answers.
        model: another model's folder, which encodes everything again. None is the model of the live version.
        interactions: what shoppers did, from which popularity is counted; None leaves it as it is.
        settings: as of `build_index`.
        allow: gates that may fail.
        dry_run: only report what would happen.
        engine: encodes the shards.
        device: "auto" takes a GPU if there is one.
        runtime: the text runtime, a `RuntimeName`; None for what reads the model on this device.
        mapping: which columns of the catalogue are what; None if they have our names.
        notice: is told what was changed in the catalogue, and how its columns differ from those of the live version.

    Raises:
        NotFound: a file or the store is missing; or faiss or the runtime's library is not installed.
        InvalidData: names the file, row and field; or the model was fine-tuned for another task than next items; or
            the requested index cannot be made; or nothing changed, but the live version is damaged.
        Conflict: another process writes to the store, or made another version live meanwhile; or the catalogue changed
            while it was read.
        QualityGateFailed: a gate failed; the version that was live still is.
    """
    load_faiss()  # fail now if it is missing, not after hours of embedding
    settings, seconds = settings or RefreshSettings(), dict[str, float]()
    target = EmbeddingStore.open(store)
    read_tags(target)  # pruning needs them: fail now if they are damaged
    folder = None if model is None else open_model(model)
    with nullcontext() if dry_run else target.write_lock():
        with timed(seconds, "compare"):
            counts = read_counts(interactions, notice)
            scan = CatalogueScan.read(products, mapping)
            scan.give_notice(notice)
            plan = Plan.to_refresh(target, scan, counts, folder)
            may_fail = dry_run or Gate.SCHEMA in allow
            compared = compare_catalogues(target, plan, settings.gates.max_lost, notice, may_fail=may_fail)
        index = _requested_index(plan, settings)
        report = _planned(plan, compared, index, seconds)
        if dry_run:
            return report
        require_passed(compared, allow)
        if folder is not None:
            copy_model(target, folder)
        if plan.is_empty and report.index is None:
            require_complete(target, read_version(target, report.base))
        else:
            complete_graphs(target, plan.model_id, notice)
            with open_model_copy(target, plan.model_id):
                pass  # a version that a damaged model would have to read must not go live, encoded or not
            candidate = write_rows(
                target,
                plan,
                index,
                compared,
                shard_rows=settings.shard_rows,
                engine=engine,
                device=device,
                runtime=runtime,
                progress=progress,
                seconds=seconds,
            )
            with timed(seconds, "index, check and publish"):
                version = publish(target, candidate, settings, allow)
            report = replace(report, published=version, resumed=candidate.resumed, gates=version.gates)
        with timed(seconds, "tidy up"):
            # Another model's shards belong to an interrupted change of models; only such a change removes them.
            staging = staging_folder(plan.model_id) if model is None else STAGING
            pruned = try_prune(target, settings.keep, staging)
        return replace(report, pruned=pruned.versions, freed=max(0, pruned.bytes), prune_error=pruned.error)


def _requested_index(plan: Plan, settings: RefreshSettings) -> IndexRequest:
    """The index that the settings ask for; what they leave out is as for the live version.

    Raises:
        InvalidData: it cannot be made; a dry run must not promise it.
    """
    assert plan.base is not None, "a refresh has a live version"
    before = plan.base.index_request
    index = before if settings.index is None else settings.index.over(before)
    require_buildable(index, plan.dimension)
    return index


def _planned(
    plan: Plan, compared: Sequence[GateResult], index: IndexRequest, seconds: dict[str, float]
) -> RefreshReport:
    """The report of a refresh that has not begun."""
    assert plan.base is not None, "a refresh has a live version"
    return RefreshReport(
        base=plan.base.version,
        published=None,
        changes=plan.changes.counts,
        written=int(plan.write.sum()),
        encoded=int(plan.encode.sum()),
        reason=plan.rewrite_reason,
        index=_index_change(plan.base, index),
        gates={} if plan.is_empty else {str(result.gate): result.to_dict() for result in compared},
        seconds=seconds,
    )


def _index_change(base: StoreVersion, index: IndexRequest) -> dict[str, Any] | None:
    """The index of the live version and the requested one, None if the request is the same."""
    if index == base.index_request:
        return None
    old, new = base.index_request.model_dump(exclude_none=True), index.model_dump(exclude_none=True)
    return {"from": {"kind": base.kind, **old}, "to": {"index": index.index_or_auto, **new}}
