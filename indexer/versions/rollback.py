"""Making an earlier version live again: one small file is written, whatever the size of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from indexer.store.embedding_store import MODEL_LAST_FILE, EmbeddingStore, model_folder, version_folder
from indexer.versions.live import Live, read_live, repair_live, update_live, version_numbers
from indexer.versions.revision import Revision, segment_path, version_label
from indexer.versions.version import StoreVersion, manifest_name, read_version
from ubm_embed.errors import Conflict, InvalidData, NotFound


@dataclass(frozen=True)
class RollbackResult:
    """What a rollback did.

    Attributes:
        before: the version that was live; None if live.json was missing or damaged.
        now: the version that is live.
        revision_before: of the version that was live.
        revision: of the version that is live: the last one that it had.
        dropped: rows of the revision that was dropped.
    """

    before: int | None
    now: StoreVersion
    revision_before: Revision | None = None
    revision: Revision | None = None
    dropped: int = 0

    @property
    def label(self) -> str:
        """What is live, such as `2.4`."""
        return version_label(self.now.version, self.revision)

    @property
    def before_label(self) -> str | None:
        """What was live, such as `3.17`."""
        return None if self.before is None else version_label(self.before, self.revision_before)


def roll_back(store: EmbeddingStore, number: int | None = None, *, as_published: bool = False) -> RollbackResult:
    """Make an earlier version live, with its last revision. It does not wait for a refresh, which then publishes
    nothing.

    Args:
        number: None for the version that was live before the live one.
        as_published: without the changes that were made to the version since it was published. They are dropped.

    Raises:
        NotFound: there is no such version.
        InvalidData: the version or its revision is incomplete; or live.json is damaged and no number was given.
        Conflict: another version was made live at the same moment.
    """
    live = _read_live(store, number)
    target = _version_before(store, live) if number is None else number
    version = read_version(store, target)
    require_complete(store, version)
    if live is None:
        return RollbackResult(None, version, None, repair_live(store, target).revision)
    if not as_published:
        _require_revision(store, target, live.revisions.get(target))
    now = update_live(store, lambda known: _rolled_back(known, live, target, as_published=as_published))
    _undo_if_pruned(store, target, live)
    known = live.revisions.get(target)
    dropped = known.rows if known and as_published else 0
    return RollbackResult(live.version, version, live.revision, now.revision, dropped)


def _rolled_back(known: Live, seen: Live, target: int, *, as_published: bool) -> Live:
    """What is live after a rollback that began when `seen` was; only revisions may have come since."""
    if known.with_revisions_of(()) != seen.with_revisions_of(()):
        raise Conflict("live.json was changed by another process meanwhile; nothing was published")
    live = known.after(target)
    if not as_published or live.revision is None or not live.revision.segments:
        return live
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return live.with_revision(Revision.without_changes(live.revision.number + 1, now))


def _undo_if_pruned(store: EmbeddingStore, target: int, before: Live) -> None:
    """Undo a rollback to a version that was pruned at the same moment.

    `pruning` removes the manifest first and looks at live.json after, so one of the two always notices the other.
    """
    if not store.storage.exists(manifest_name(target)):
        update_live(store, lambda known: known.after(before.version))
        raise Conflict(f"version {target} was pruned in the same moment; version {before.version} is live as before")


def _read_live(store: EmbeddingStore, number: int | None) -> Live | None:
    """What is live; None if live.json is damaged but a given number repairs it."""
    if not version_numbers(store):
        raise NotFound(f"no version in {store.uri} to go back to")
    try:
        return read_live(store)
    except InvalidData as error:
        if number is None:
            problem = f"{error.problem}; name a version: ubm-embed versions rollback NUMBER --store {store.uri}"
            raise InvalidData(problem, file=error.file, field=error.field) from None
        return None


def version_before(store: EmbeddingStore) -> int:
    """Number of the version that was live before the live one.

    Raises:
        NotFound: there is no such version.
        InvalidData: live.json is damaged.
    """
    return _version_before(store, read_live(store))


def _version_before(store: EmbeddingStore, live: Live | None) -> int:
    numbers = set(version_numbers(store))
    before = next((number for number in live.history if number in numbers), None) if live else None
    if before is None:
        raise NotFound(
            f"no version was live before this one in {store.uri}; see: ubm-embed versions list --store {store.uri}"
        )
    return before


def require_complete(store: EmbeddingStore, version: StoreVersion) -> None:
    """Check in moments that nothing is missing; `ubm-embed doctor` reads the content too.

    Raises:
        InvalidData: names what is missing or truncated.
    """
    damaged = f"version {version.version} is damaged; see: ubm-embed doctor --store {store.uri}"
    _require_folder(store, version, damaged)
    if version.shares_files_of is not None:
        _require_folder(store, shared_base(store, version), damaged)
    model = f"{model_folder(version.model_id)}/{MODEL_LAST_FILE}"
    if not store.storage.exists(model):
        raise InvalidData(f"missing; {damaged}", file=f"{store.uri}/{model}")
    if lost_its_rows(store, version):
        raise InvalidData(f"does not keep its rows; {damaged}", file=store.table.uri)


def shared_base(store: EmbeddingStore, version: StoreVersion) -> StoreVersion:
    """The version whose files a version reads: itself, or the one whose files it shares.

    Raises:
        InvalidData: that one is missing or damaged, or has not the files that the version was made for.
    """
    if version.shares_files_of is None:
        return version
    try:
        base = read_version(store, version.shares_files_of)
    except NotFound:
        folder = f"{store.uri}/{version_folder(version.shares_files_of)}"
        raise InvalidData(f"missing; version {version.version} shares its files", file=folder) from None
    if base.shares_files_of is not None or base.table_version != version.table_version:
        problem = f"version {version.version} shares its files, but was made for others"
        raise InvalidData(problem, file=f"{store.uri}/{manifest_name(base.version)}")
    return base


def _require_folder(store: EmbeddingStore, version: StoreVersion, damaged: str) -> None:
    folder = version_folder(version.version)
    missing = sorted(version.files.keys() - set(store.storage.list(folder)))
    if missing:
        raise InvalidData(f"missing; {damaged}", file=f"{store.uri}/{folder}/{missing[0]}")
    # The manifest's size as it is on disk: older software wrote fewer fields.
    expected = sum(file.bytes for file in version.files.values()) + store.storage.size(manifest_name(version.version))
    if store.storage.size(folder) < expected:
        raise InvalidData(f"truncated; {damaged}", file=f"{store.uri}/{folder}")


def _require_revision(store: EmbeddingStore, number: int, revision: Revision | None) -> None:
    for segment in revision.segments if revision else ():
        name = segment_path(number, segment.name)
        size = store.storage.size(name)
        if size != segment.bytes:
            problem = "missing" if not store.storage.exists(name) else f"{size:,} bytes, expected {segment.bytes:,}"
            remedy = f"ubm-embed versions rollback {number}.0 --store {store.uri}"
            raise InvalidData(
                f"{problem}; to drop the changes of revision {version_label(number, revision)}, type: {remedy}",
                file=f"{store.uri}/{name}",
            )


def lost_its_rows(store: EmbeddingStore, version: StoreVersion) -> bool:
    """Whether the table no longer has the rows of a version, for example because it was lost and built again.

    The table's version numbers then start at 1 again, and those in older manifests mean other rows. A version that
    shares files has the rows of that one, which pins them.

    Raises:
        InvalidData: the table is missing or damaged.
    """
    # Older software neither pinned rows nor described files.
    return bool(version.files) and store.table.pins().get(version.files_version) != version.table_version
