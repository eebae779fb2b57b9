"""Old versions go, and what only they needed: tables, indexes, models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from indexer.store.embedding_store import MODELS, STAGING, EmbeddingStore, model_folder, version_folder
from indexer.versions.live import read_live, version_numbers
from indexer.versions.rollback import lost_its_rows
from indexer.versions.tags import read_tags
from indexer.versions.version import StoreVersion, manifest_of, read_version
from ubm_embed.errors import InvalidData, UbmError


@dataclass(frozen=True, kw_only=True)
class KeepPolicy:
    """Which versions stay, beside the live one and the tagged ones.

    Attributes:
        versions: the live one and those that were live before it, so many in all.
        days: whatever is younger stays too.

    Raises:
        ValueError: fewer than one version, or negative days.
    """

    versions: int = 2
    days: float = 0.0

    def __post_init__(self) -> None:
        if self.versions < 1:
            raise ValueError(f"versions must be at least 1, got {self.versions}")
        if not self.days >= 0:
            raise ValueError(f"days must be at least 0, got {self.days}")


@dataclass(frozen=True)
class PruneResult:
    """What a pruning removed.

    Attributes:
        versions: their numbers.
        models: ids of models that no version needs any more.
        bytes: given back, of all files of the store.
        error: what stopped it, where that is no reason to fail.
    """

    versions: tuple[int, ...] = ()
    models: tuple[str, ...] = ()
    bytes: int = 0
    error: str | None = None


def to_prune(store: EmbeddingStore, keep: KeepPolicy) -> list[int]:
    """Numbers of the versions that would go, in order; among them all whose rows are lost.

    Raises:
        InvalidData: live.json, tags.json or the table is damaged.
    """
    live = read_live(store)
    kept = {live.version, *live.history[: keep.versions - 1], *read_tags(store).values()}
    others = [number for number in version_numbers(store) if number != live.version]
    return [number for number in others if _lost(store, number) or (number not in kept and _old(store, number, keep))]


def prune(store: EmbeddingStore, keep: KeepPolicy) -> PruneResult:
    """Remove versions that the policy does not keep, and give their space back. Call it inside `store.write_lock`.

    Raises:
        InvalidData: live.json, tags.json or the table is damaged; nothing more is removed then.
    """
    before = store.storage.size()
    gone = [number for number in to_prune(store, keep) if _remove(store, number)]
    here = version_numbers(store)
    _pin_all(store, here)
    # A pin without its version is left by a crash, of this or of a refresh. That of the live one can bring it back.
    for number in store.table.pins().keys() - {*here, read_live(store).version}:
        store.table.unpin(number)
    resumable = bool(store.storage.list(STAGING))
    store.table.cleanup(unfinished=not resumable)
    models = () if resumable else _remove_models(store, here)
    return PruneResult(tuple(gone), models, before - store.storage.size())


def try_prune(store: EmbeddingStore, keep: KeepPolicy, staging: str) -> PruneResult:
    """Remove what is no longer needed once a version is live, which is not undone by a failure of this.

    Args:
        staging: folder of shards that are no longer needed.
    """
    try:
        store.storage.remove(staging)
        if not store.storage.list(STAGING):
            store.storage.remove(STAGING)
        return prune(store, keep)
    except (UbmError, OSError) as error:
        return PruneResult(error=str(error))


def _remove(store: EmbeddingStore, number: int) -> bool:
    """Remove a version, unless it was made live or tagged in the same moment.

    Who does that looks for its manifest afterwards, and goes back on it where there is none.
    """
    manifest = manifest_of(number)
    kept = None if _lost(store, number) or not store.storage.exists(manifest) else store.storage.read(manifest)
    store.storage.remove(manifest)
    if kept is not None and number in {read_live(store).version, *read_tags(store).values()}:
        store.storage.write(manifest, kept)
        return False
    store.storage.remove(version_folder(number))
    return True


def _lost(store: EmbeddingStore, number: int) -> bool:
    try:
        return lost_its_rows(store, read_version(store, number))
    except InvalidData:  # of the manifest, which a pin can bring back
        return number not in store.table.pins()


def _pin_all(store: EmbeddingStore, numbers: list[int]) -> None:
    """Older software did not pin; what is kept must not lose its table."""
    for number in set(numbers) - store.table.pins().keys():
        store.table.pin(number, read_version(store, number).table_version)


def _remove_models(store: EmbeddingStore, numbers: list[int]) -> tuple[str, ...]:
    """Remove models that none of these versions needs; none where a manifest cannot be read."""
    try:
        needed = {read_version(store, number).model_id for number in numbers}
    except InvalidData:
        return ()
    unneeded = tuple(name for name in store.storage.list(MODELS) if name not in needed)
    for name in unneeded:
        store.storage.remove(model_folder(name))
    return unneeded


def _old(store: EmbeddingStore, number: int, keep: KeepPolicy) -> bool:
    return not keep.days or _days(store, number) >= keep.days


def _days(store: EmbeddingStore, number: int) -> float:
    """How long ago a version was made; of one that cannot be read, longer than any."""
    try:
        return (datetime.now(UTC) - _moment(read_version(store, number))) / timedelta(days=1)
    except (InvalidData, ValueError):
        return math.inf


def _moment(version: StoreVersion) -> datetime:
    moment = datetime.fromisoformat(version.created)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
