"""From a catalogue to the version of a store that answers: `build_index` makes one, `refresh` brings it up to date.

The order of the steps makes a crash harmless: first the model, then shards beside the table, then the table, then the
index, and last the one small file that makes them live. Until then the store answers as before. Encoded shards are kept
until they are published, and the next run goes on from them.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from indexer.index.faiss_factory import load_faiss
from indexer.index.index_request import IndexRequest
from indexer.index.tuning import require_buildable
from indexer.refresh.attribute_version import may_share_files, publish_attributes
from indexer.refresh.catalogue_scan import CatalogueScan
from indexer.refresh.feed_time import FoldCounts, exported_at, newer_products
from indexer.refresh.gates import Gate, require_passed
from indexer.refresh.interaction_counts import InteractionCounts, read_counts
from indexer.refresh.live_rows import LiveRows
from indexer.refresh.model_copy import complete_graphs, copy_model, open_model, open_model_copy
from indexer.refresh.plan import Plan
from indexer.refresh.publication import publish
from indexer.refresh.report import RefreshReport
from indexer.refresh.schema_changes import compare_catalogues
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.shards import ExecutionEngine, encode_locally
from indexer.refresh.version_counts import count_weights
from indexer.refresh.writing import timed, write_rows
from indexer.store.embedding_store import LIVE_FILE, STAGING, EmbeddingStore, staging_folder
from indexer.versions.live import read_live
from indexer.versions.pruning import try_prune
from indexer.versions.rollback import require_complete
from indexer.versions.tags import read_tags
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.products import CatalogueFile
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.folder import ModelFolder
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
    counts: bool = True,
    progress: Progress = silent,
    notice: Notice = unsaid,
) -> StoreVersion:
    """Embed a catalogue and make it the live version of a store. An interrupted build resumes where it stopped.

    Args:
        model: a model folder; the store keeps a copy.
        products: the catalogue, in any format that `product_batches` reads.
        store: path or URI of the store, made if it is not there.
        interactions: what shoppers did, from which popularity is counted, and what followed what; without them
            popularity is 0 everywhere and there are no counts.
        settings: limits of the gates, which versions stay, how the work is divided, which index is built.
        allow: gates that may fail.
        engine: encodes the shards.
        device: "auto" takes a GPU if there is one.
        runtime: the text runtime, a `RuntimeName`; None for what reads the model on this device.
        mapping: which columns of the catalogue are what; None if they have our names.
        counts: whether the version has counts of what followed what.
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
    counted = read_counts(interactions, notice, folder.count_weights if counts else None)
    if counted is not None:
        counted.give_notice(scan.id_hashes, str(interactions), notice)
    target = EmbeddingStore.create(store)
    with target.write_lock():
        read_tags(target)  # pruning needs them: fail now if they are damaged
        plan = _build_plan(target, scan, counted, folder)
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


def _build_plan(
    store: EmbeddingStore, scan: CatalogueScan, counts: InteractionCounts | None, model: ModelFolder
) -> Plan:
    """The plan of a build, for which the catalogue is read once more if there is a live version to compare it with."""
    if not store.storage.exists(LIVE_FILE):
        return Plan.to_build(scan, counts, model)
    live, rows = read_live(store), None
    try:
        live_rows = LiveRows.open(store)
        store.table.read(live_rows.version.table_version, ["product_id"])  # lost files would be noticed by the gates
        rows = live_rows
        live, scan = rows.known, scan.matched_with(rows)
    except (InvalidData, NotFound):
        pass  # a build is how a store with a damaged live version is repaired
    return Plan.to_build(scan, counts, model, live, rows)


def refresh(
    *,
    products: str | Path,
    store: str | Path,
    model: str | Path | None = None,
    interactions: str | Path | None = None,
    feed_time: datetime | None = None,
    settings: RefreshSettings | None = None,
    allow: Collection[Gate] = (),
    dry_run: bool = False,
    engine: ExecutionEngine = encode_locally,
    device: str = "auto",
    runtime: str | None = None,
    mapping: Mapping | None = None,
    counts: bool = True,
    progress: Progress = silent,
    notice: Notice = unsaid,
) -> RefreshReport:
    """Bring a store up to date with a catalogue. Unchanged texts are not encoded; without a change nothing happens.

    Args:
        products: the catalogue, in any format that `product_batches` reads.
        store: path or URI of a store that answers.
        model: another model's folder, which encodes everything again. None is the model of the live version.
        interactions: what shoppers did, from which popularity is counted, and what followed what; None leaves both as
            they are: new products take the counts of their nearest.
        feed_time: when the catalogue was exported: what was upserted or deleted later is kept. None is when the newest
            of its files was written.
        settings: as of `build_index`.
        allow: gates that may fail.
        dry_run: only report what would happen.
        engine: encodes the shards.
        device: "auto" takes a GPU if there is one.
        runtime: the text runtime, a `RuntimeName`; None for what reads the model on this device.
        mapping: which columns of the catalogue are what; None if they have our names.
        counts: whether the version has counts of what followed what.
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
            counted = read_counts(interactions, notice, _count_weights(target, folder) if counts else None)
            live = LiveRows.open(target)
            time = exported_at(feed_time, CatalogueFile(Path(products), mapping).files)
            newer, folded = newer_products(live, time, notice)
            scan = CatalogueScan.read(products, mapping, live, newer)
            scan.give_notice(notice)
            if counted is not None:
                counted.give_notice(scan.id_hashes, str(interactions), notice)
            plan = Plan.to_refresh(scan, counted, folder, live, folded, keep_counts=counts)
            may_fail = dry_run or Gate.SCHEMA in allow
            compared = compare_catalogues(target, plan, settings.gates.max_lost, notice, may_fail=may_fail)
        index, model_id, has_counts = _requested_index(plan, settings), plan.model_id, plan.counts is not None
        report = RefreshReport.planned(plan, compared, index, seconds)
        changes_nothing = plan.is_empty and report.index is None
        if may_share := may_share_files(plan, index, settings) and not changes_nothing:
            patched = int(plan.changes.table_columns_differ.sum())
            report = replace(report, shares_files_of=live.table.version.version, written=patched)
        if dry_run:
            return report
        require_passed(compared, allow)
        if folder is not None:
            copy_model(target, folder)
        if changes_nothing:
            require_complete(target, read_version(target, report.base))
        else:
            complete_graphs(target, model_id, notice)
            with open_model_copy(target, model_id):
                pass  # a version that a damaged model would have to read must not go live, encoded or not
            if may_share:
                with timed(seconds, "publish"):
                    version, resumed = publish_attributes(target, plan, compared, allow), 0
            else:
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
                del plan, scan, live, newer  # what they hold of each product is not needed any more
                with timed(seconds, "index, check and publish"):
                    version, resumed = publish(target, candidate, settings, allow), candidate.resumed
            if has_counts and version.counts is None:
                lost = f"the counts of version {report.base} are missing or damaged"
                notice(f"{lost}: version {version.version} answers without; --interactions FILE counts anew")
            folded = _with_carried(target, version, folded)
            report = replace(report, published=version, resumed=resumed, gates=version.gates, revisions=folded)
        with timed(seconds, "tidy up"):
            # Another model's shards belong to an interrupted change of models; only such a change removes them.
            staging = staging_folder(model_id) if model is None else STAGING
            pruned = try_prune(target, settings.keep, staging)
        return replace(report, pruned=pruned.versions, freed=max(0, pruned.bytes), prune_error=pruned.error)


def _count_weights(store: EmbeddingStore, model: ModelFolder | None) -> CountWeights:
    """How transitions are counted for the model of a refresh, None for that of the live version."""
    return model.count_weights if model else count_weights(store, read_version(store).model_id)


def _with_carried(store: EmbeddingStore, version: StoreVersion, folded: FoldCounts | None) -> FoldCounts | None:
    """The counts, and what was carried over into the revision that a version went live with; None for nothing."""
    revision = read_live(store).revisions.get(version.version)
    if revision is None:
        return folded
    return replace(folded or FoldCounts(), carried=revision.rows)


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
