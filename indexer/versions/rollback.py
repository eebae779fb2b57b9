"""Back to a version that answered before: one small file is written, whatever the size of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.store.embedding_store import MODEL_LAST_FILE, EmbeddingStore, model_folder, version_folder
from indexer.versions.live import Live, make_live, read_live, repair_live, version_numbers
from indexer.versions.version import StoreVersion, manifest_of, read_version
from ubm_embed.errors import Conflict, InvalidData, NotFound


@dataclass(frozen=True)
class RollbackResult:
    """What a rollback did.

    Attributes:
        before: the version that was live, None where live.json was missing or damaged.
        now: the version that is.
    """

    before: int | None
    now: StoreVersion


def roll_back(store: EmbeddingStore, number: int | None = None) -> RollbackResult:
    """Make an earlier version live again; it does not wait for a refresh, which then publishes nothing.

    Args:
        number: None is the version that was live before this one.

    Raises:
        NotFound: there is no such version.
        InvalidData: it is not whole; or live.json is damaged and no number says where to go.
        Conflict: something else was made live in the same moment.
    """
    live = _read(store, number)
    target = _before(store, live) if number is None else number
    version = read_version(store, target)
    require_whole(store, version)
    if live is None:
        repair_live(store, target)
    else:
        make_live(store, target, known=live)
        _require_not_pruned(store, target, live)
    return RollbackResult(None if live is None else live.version, version)


def _require_not_pruned(store: EmbeddingStore, target: int, before: Live) -> None:
    """Go back on a rollback to a version that was pruned in the same moment; see `pruning`, which looks again too."""
    if not store.storage.exists(manifest_of(target)):
        make_live(store, before.version, known=read_live(store))
        raise Conflict(f"version {target} was pruned in the same moment; version {before.version} is live as before")


def _read(store: EmbeddingStore, number: int | None) -> Live | None:
    if not version_numbers(store):
        raise NotFound(f"no version in {store.uri} to go back to")
    try:
        return read_live(store)
    except InvalidData as error:
        if number is None:
            problem = f"{error.problem}; say where to go: ubm-embed versions rollback NUMBER --store {store.uri}"
            raise InvalidData(problem, file=error.file, field=error.field) from None
        return None  # that a version is named mends it


def version_before(store: EmbeddingStore) -> int:
    """Number of the version that was live before the one that is.

    Raises:
        NotFound: there is none.
        InvalidData: live.json is damaged.
    """
    return _before(store, read_live(store))


def _before(store: EmbeddingStore, live: Live | None) -> int:
    numbers = set(version_numbers(store))
    found = next((number for number in live.history if number in numbers), None) if live else None
    if found is None:
        raise NotFound(
            f"no version was live before this one in {store.uri}; see: ubm-embed versions list --store {store.uri}"
        )
    return found


def require_whole(store: EmbeddingStore, version: StoreVersion) -> None:
    """Look that all is there, in moments; `ubm-embed doctor` reads it too.

    Raises:
        InvalidData: names what is missing or truncated.
    """
    folder = version_folder(version.version)
    damaged = f"version {version.version} is damaged; see: ubm-embed doctor --store {store.uri}"
    missing = sorted(version.files.keys() - set(store.storage.list(folder)))
    if missing:
        raise InvalidData(f"missing; {damaged}", file=f"{store.uri}/{folder}/{missing[0]}")
    if store.storage.size(folder) < sum(one["bytes"] for one in version.files.values()) + len(version.to_bytes()):
        raise InvalidData(f"truncated; {damaged}", file=f"{store.uri}/{folder}")
    model = f"{model_folder(version.model_id)}/{MODEL_LAST_FILE}"
    if not store.storage.exists(model):
        raise InvalidData(f"missing; {damaged}", file=f"{store.uri}/{model}")
    if lost_its_rows(store, version):
        raise InvalidData(f"does not keep its rows; {damaged}", file=store.table.uri)


def lost_its_rows(store: EmbeddingStore, version: StoreVersion) -> bool:
    """Whether the table no longer keeps what a version was made of, as where it was lost and built anew.

    Its numbers then begin at 1 again, and those in an old manifest come to mean other rows.

    Raises:
        InvalidData: the table is gone or damaged.
    """
    # Older software neither pinned nor described files.
    return bool(version.files) and store.table.pins().get(version.version) != version.table_version
