"""Rebuilding damaged versions from the table, which has everything that an index is made of."""

from __future__ import annotations

from pathlib import Path

from indexer.counts.counts_file import COUNTS_FILE
from indexer.health.doctor import examine
from indexer.health.lost_files import lost_counts, lost_kept
from indexer.health.shared_files import follow_base, restore_own_files
from indexer.health.version_files import sound_content
from indexer.index.index_request import IndexRequest
from indexer.refresh.feed_time import KEPT_FILE
from indexer.refresh.gates import Gate
from indexer.refresh.plan import ChangeCounts
from indexer.refresh.publication import make_version
from indexer.refresh.release_candidate import ReleaseCandidate
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.version_counts import RestoredCounts
from indexer.store.embedding_store import EmbeddingStore, model_folder, version_folder
from indexer.versions.live import version_numbers
from indexer.versions.version import CANARIES_FILE, StoreVersion, manifest_name, read_version
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.folder import ModelFolder
from ubm_embed.progress import Notice, unsaid

_UNKNOWN = "unknown: the manifest was lost"


def repair(uri: str | Path, notice: Notice = unsaid) -> list[StoreVersion]:
    """Rebuild the versions of a store whose index, products or manifest is missing or damaged, and return them.

    Args:
        notice: is told what may be older than it was.

    Raises:
        NotFound: there is no store.
        Conflict: another process is writing to it.
        InvalidData, QualityGateFailed: as `rebuild`.
    """
    store = EmbeddingStore.from_uri(uri)
    numbers = {finding.version for finding in examine(uri) if finding.repairable and finding.version is not None}
    with store.write_lock():
        # A version comes after the one whose files it shares.
        return [rebuild(store, number, notice) for number in sorted(numbers)]


def rebuild(store: EmbeddingStore, number: int, notice: Notice = unsaid) -> StoreVersion:
    """Write a version's index, products and manifest again, from the table. Call it inside `store.write_lock`.

    The same version stays live. Of a version that shares the files of another one, those are rebuilt if they are gone,
    and its own as far as they can be.

    Raises:
        NotFound: there is no such version.
        InvalidData: the table is damaged, or nothing says which model made the version.
        QualityGateFailed: the new index does not have the products of the table.
    """
    try:
        known = read_version(store, number)
    except InvalidData:
        known = None
    except NotFound:
        if number not in store.table.pins():
            raise
        known = None  # its folder is gone, but the table still keeps its rows
    if known is not None and known.shares_files_of is not None:
        if known.shares_files_of not in version_numbers(store):
            rebuild(store, known.shares_files_of, notice)
        else:  # a repair of it may have been killed before this version followed
            follow_base(store, read_version(store, known.shares_files_of), notice)
        return restore_own_files(store, read_version(store, number), notice)
    had_counts = _has_counts(store, number) if known is None else known.counts is not None
    made = _rebuilt(store, number, known)
    if known is not None and KEPT_FILE in known.files.keys() - made.files.keys():
        notice(lost_kept(number))
    if had_counts and made.counts is None:
        notice(lost_counts(store, number))
    follow_base(store, made, notice)
    return made


def _has_counts(store: EmbeddingStore, number: int) -> bool:
    """Whether a version whose manifest is lost, which alone says what was counted, has a file of counts."""
    return COUNTS_FILE in store.storage.list(version_folder(number))


def _rebuilt(store: EmbeddingStore, number: int, known: StoreVersion | None) -> StoreVersion:
    candidate = _candidate(store, number, known)
    store.table.pin(number, candidate.table_version)  # older software did not
    # The version passed its gates when it was published; only a new index could be worse than the old one.
    allowed = [gate for gate in Gate if gate != Gate.RECALL]
    made = make_version(store, candidate, number, RefreshSettings(), allowed)
    if known is None:
        return made
    repaired = known.replace(
        layout=made.layout,
        table_version=made.table_version,
        dimension=made.dimension,
        products=made.products,
        indexed=made.indexed,
        kind=made.kind,
        parameters=made.parameters,
        recall_at_10=made.recall_at_10,
        files=made.files,
        index_update=made.index_update,
        counts=made.counts,
    )
    store.storage.write(manifest_name(number), repaired.to_bytes())
    return repaired


def _candidate(store: EmbeddingStore, number: int, known: StoreVersion | None) -> ReleaseCandidate:
    table_version = store.table.pins().get(number)
    if table_version is None and known and not known.files:  # older software had no pins
        table_version = known.table_version
    if table_version is None:
        raise InvalidData(_unknown(number, "which version of the table it is"), file=_manifest(store, number))
    model_id, product_model_id = (
        (known.model_id, known.product_model_id) if known else _model_ids(store, number, table_version)
    )
    return ReleaseCandidate(
        table_version=table_version,
        model_id=model_id,
        product_model_id=product_model_id,
        source=known.source if known else _UNKNOWN,
        changes=ChangeCounts(new=0, changed=0, updated=0, unchanged=store.table.count(table_version), removed=0),
        encoded=0,
        base=None,
        live=None,
        pairs=None,
        index=known.index_request if known else IndexRequest(),
        columns=known.columns if known else {},
        canaries=sound_content(store, known, CANARIES_FILE) if known else None,
        kept=sound_content(store, known, KEPT_FILE) if known else None,
        counts=_restored_counts(store, known) if known else None,
    )


def _restored_counts(store: EmbeddingStore, known: StoreVersion) -> RestoredCounts | None:
    """The counts of a version, which nothing but its file has: None if that is lost."""
    content = sound_content(store, known, COUNTS_FILE)
    return None if known.counts is None or content is None else RestoredCounts(known.counts, content)


def _model_ids(store: EmbeddingStore, number: int, table_version: int) -> tuple[str, str | None]:
    """The model of a version, and its product tower if it has a separate one."""
    model_id = store.table.model_id(table_version)
    if model_id is None:
        raise InvalidData(_unknown(number, "which model made it"), file=_manifest(store, number))
    try:
        with store.storage.open_folder(model_folder(model_id)) as folder:
            tower = ModelFolder.open(folder).product_tower
            return model_id, tower.model_id if tower else None
    except FileNotFoundError:
        name = f"{store.uri}/{model_folder(model_id)}"
        raise InvalidData(f"missing; version {number} needs it", file=name) from None


def _unknown(number: int, what: str) -> str:
    return f"version {number} is lost: nothing says {what}; build the store again"


def _manifest(store: EmbeddingStore, number: int) -> str:
    return f"{store.uri}/{manifest_name(number)}"
