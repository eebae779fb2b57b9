"""Making an earlier version live again: one small file is written, whatever the size of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.store.embedding_store import MODEL_LAST_FILE, EmbeddingStore, model_folder, version_folder
from indexer.versions.live import Live, make_live, read_live, repair_live, version_numbers
from indexer.versions.version import StoreVersion, manifest_name, read_version
from ubm_embed.errors import Conflict, InvalidData, NotFound


@dataclass(frozen=True)
class RollbackResult:
    """What a rollback did.

    Attributes:
        before: the version that was live; None if live.json was missing or damaged.
        now: the version that is live.
    """

    before: int | None
    now: StoreVersion


def roll_back(store: EmbeddingStore, number: int | None = None) -> RollbackResult:
    """Make an earlier version live. It does not wait for a refresh, which then publishes nothing.

    Args:
        number: None for the version that was live before the live one.

    Raises:
        NotFound: there is no such version.
        InvalidData: the version is incomplete; or live.json is damaged and no number was given.
        Conflict: something else was made live at the same moment.
    """
    live = _read_live(store, number)
    target = _version_before(store, live) if number is None else number
    version = read_version(store, target)
    require_complete(store, version)
    if live is None:
        repair_live(store, target)
    else:
        make_live(store, target, known=live)
        _undo_if_pruned(store, target, live)
    return RollbackResult(None if live is None else live.version, version)


def _undo_if_pruned(store: EmbeddingStore, target: int, before: Live) -> None:
    """Undo a rollback to a version that was pruned at the same moment.

    `pruning` removes the manifest first and looks at live.json after, so one of the two always notices the other.
    """
    if not store.storage.exists(manifest_name(target)):
        make_live(store, before.version, known=read_live(store))
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
    folder = version_folder(version.version)
    damaged = f"version {version.version} is damaged; see: ubm-embed doctor --store {store.uri}"
    missing = sorted(version.files.keys() - set(store.storage.list(folder)))
    if missing:
        raise InvalidData(f"missing; {damaged}", file=f"{store.uri}/{folder}/{missing[0]}")
    # The manifest's size as it is on disk: older software wrote fewer fields.
    expected = sum(file.bytes for file in version.files.values()) + store.storage.size(manifest_name(version.version))
    if store.storage.size(folder) < expected:
        raise InvalidData(f"truncated; {damaged}", file=f"{store.uri}/{folder}")
    model = f"{model_folder(version.model_id)}/{MODEL_LAST_FILE}"
    if not store.storage.exists(model):
        raise InvalidData(f"missing; {damaged}", file=f"{store.uri}/{model}")
    if lost_its_rows(store, version):
        raise InvalidData(f"does not keep its rows; {damaged}", file=store.table.uri)


def lost_its_rows(store: EmbeddingStore, version: StoreVersion) -> bool:
    """Whether the table no longer has the rows of a version, for example because it was lost and built again.

    The table's version numbers then start at 1 again, and those in older manifests mean other rows.

    Raises:
        InvalidData: the table is missing or damaged.
    """
    # Older software neither pinned rows nor described files.
    return bool(version.files) and store.table.pins().get(version.version) != version.table_version
