"""Removing old versions, and what only they needed: tables, indexes, models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import Field

from indexer.store.embedding_store import MODELS, STAGING, EmbeddingStore, model_folder, version_folder
from indexer.versions.live import read_live, version_numbers
from indexer.versions.rollback import lost_its_rows
from indexer.versions.tags import read_tags
from indexer.versions.version import StoreVersion, manifest_name, read_version
from ubm_embed.errors import InvalidData, UbmError
from ubm_embed.validation import FrozenModel


class KeepPolicy(FrozenModel):
    """Which versions stay, besides the live one and the tagged ones.

    Attributes:
        versions: how many stay: the live one and those that were live before it.
        days: versions younger than this stay too.

    Raises:
        ValueError: fewer than one version, or negative days.
    """

    versions: Annotated[int, Field(ge=1)] = 2
    days: Annotated[float, Field(ge=0, allow_inf_nan=True)] = 0.0  # infinite: nothing goes


@dataclass(frozen=True)
class PruneResult:
    """What was removed.

    Attributes:
        versions: numbers of the removed versions.
        models: ids of the removed models, which no version needs any more.
        bytes: by how much all files of the store shrank.
        error: what stopped the pruning; None if nothing did.
    """

    versions: tuple[int, ...] = ()
    models: tuple[str, ...] = ()
    bytes: int = 0
    error: str | None = None


def prunable_versions(store: EmbeddingStore, keep: KeepPolicy) -> list[int]:
    """Numbers of the versions that `prune` would remove, in order; all whose rows are lost are among them.

    Raises:
        InvalidData: live.json, tags.json or the table is damaged.
    """
    live = read_live(store)
    protected = {live.version, *live.history[: keep.versions - 1], *read_tags(store).values()}
    others = [number for number in version_numbers(store) if number != live.version]
    return [
        number
        for number in others
        if _lost_its_rows(store, number) or (number not in protected and _is_old(store, number, keep))
    ]


def prune(store: EmbeddingStore, keep: KeepPolicy) -> PruneResult:
    """Remove the versions that the policy does not keep, and free their space. Call it inside `store.write_lock`.

    Raises:
        InvalidData: live.json, tags.json or the table is damaged; nothing more is removed then.
    """
    bytes_before = store.storage.size()
    removed = [number for number in prunable_versions(store, keep) if _remove(store, number)]
    remaining = version_numbers(store)
    _pin_all(store, remaining)
    # A crash of a pruning or a refresh can leave a pin without a version. The live version's pin can restore it.
    for number in store.table.pins().keys() - {*remaining, read_live(store).version}:
        store.table.unpin(number)
    resumable = bool(store.storage.list(STAGING))
    store.table.cleanup(unfinished=not resumable)
    models = () if resumable else _remove_models(store, remaining)
    return PruneResult(tuple(removed), models, bytes_before - store.storage.size())


def try_prune(store: EmbeddingStore, keep: KeepPolicy, staging: str) -> PruneResult:
    """Remove a refresh's staging folder and prune; an error is returned, as the new version is live already.

    Args:
        staging: the folder of the refresh's shards.
    """
    try:
        store.storage.remove(staging)
        if not store.storage.list(STAGING):
            store.storage.remove(STAGING)
        return prune(store, keep)
    except (UbmError, OSError) as error:
        return PruneResult(error=str(error))


def _remove(store: EmbeddingStore, number: int) -> bool:
    """Remove a version, unless it is made live or tagged at the same moment; whether it was removed.

    A rollback and a tag look for the manifest after they took effect, and undo themselves if it is gone.
    """
    manifest = manifest_name(number)
    lost = _lost_its_rows(store, number) or not store.storage.exists(manifest)
    content = None if lost else store.storage.read(manifest)
    store.storage.remove(manifest)
    if content is not None and number in {read_live(store).version, *read_tags(store).values()}:
        store.storage.write(manifest, content)
        return False
    store.storage.remove(version_folder(number))
    return True


def _lost_its_rows(store: EmbeddingStore, number: int) -> bool:
    try:
        return lost_its_rows(store, read_version(store, number))
    except InvalidData:  # the manifest is damaged; if the table still pins the rows, it can be written again
        return number not in store.table.pins()


def _pin_all(store: EmbeddingStore, numbers: list[int]) -> None:
    """Pin the rows of versions by older software, which did not pin, before the table is cleaned up."""
    for number in set(numbers) - store.table.pins().keys():
        store.table.pin(number, read_version(store, number).table_version)


def _remove_models(store: EmbeddingStore, numbers: list[int]) -> tuple[str, ...]:
    """Remove the models that none of these versions needs, unless a manifest cannot be read; their ids."""
    try:
        needed = {read_version(store, number).model_id for number in numbers}
    except InvalidData:
        return ()
    unneeded = tuple(name for name in store.storage.list(MODELS) if name not in needed)
    for name in unneeded:
        store.storage.remove(model_folder(name))
    return unneeded


def _is_old(store: EmbeddingStore, number: int, keep: KeepPolicy) -> bool:
    return not keep.days or _age_in_days(store, number) >= keep.days


def _age_in_days(store: EmbeddingStore, number: int) -> float:
    """Days since a version was made; infinite if its manifest or date cannot be read."""
    try:
        return (datetime.now(UTC) - _created(read_version(store, number))) / timedelta(days=1)
    except (InvalidData, ValueError):
        return math.inf


def _created(version: StoreVersion) -> datetime:
    created = datetime.fromisoformat(version.created)
    return created if created.tzinfo else created.replace(tzinfo=UTC)
