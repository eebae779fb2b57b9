"""Removing old versions, and what only they needed: tables, indexes, models, revisions."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import Field

from indexer.store.embedding_store import MODELS, STAGING, EmbeddingStore, model_folder, version_folder
from indexer.versions.leftover_segments import remove_leftover_segments
from indexer.versions.live import read_live, update_live, version_numbers
from indexer.versions.rollback import lost_its_rows
from indexer.versions.tags import read_tags
from indexer.versions.version import StoreVersion, manifest_name, read_version
from ubm_embed.errors import InvalidData, NotFound, UbmError
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
        needed: of each version that the policy does not keep, the versions that stay and share its files.
    """

    versions: tuple[int, ...] = ()
    models: tuple[str, ...] = ()
    bytes: int = 0
    error: str | None = None
    needed: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def prunable_versions(store: EmbeddingStore, keep: KeepPolicy) -> list[int]:
    """Numbers of the versions that `prune` would remove, in order; all whose rows are lost are among them.

    Raises:
        InvalidData: live.json, tags.json, the live version's manifest or the table is damaged.
    """
    return sorted(set(_unwanted(store, keep)) - needed_versions(store, keep).keys())


def needed_versions(store: EmbeddingStore, keep: KeepPolicy) -> dict[int, tuple[int, ...]]:
    """Versions that `prune` would keep for their files only, each with the versions that share these.

    Raises:
        InvalidData: as `prunable_versions`.
    """
    unwanted = _unwanted(store, keep)
    staying = {number: base for number, base in _sharing(store).items() if number not in unwanted}
    return {number: users for number in unwanted if (users := _users(number, staying))}


def prune(store: EmbeddingStore, keep: KeepPolicy) -> PruneResult:
    """Remove the versions that the policy does not keep, and free their space. Call it inside `store.write_lock`.

    Raises:
        InvalidData: live.json, tags.json, the live version's manifest or the table is damaged; nothing more is removed
            then.
    """
    bytes_before = store.storage.size()
    unwanted, sharing = _unwanted(store, keep), _sharing(store)
    removed, needed = [], {}
    # Those that share files first: a crash must leave none without the files that it shares.
    for number in sorted(unwanted, key=lambda number: (number not in sharing, number)):
        if users := _users(number, sharing):
            needed[number] = users
        elif _remove(store, number):
            removed.append(number)
            sharing.pop(number, None)
    remaining = version_numbers(store)
    _remove_revisions(store, remaining)
    _pin_all(store, set(remaining) - sharing.keys())
    # A crash of a pruning or a refresh can leave a pin without a version. The live version's pin can restore it.
    for number in store.table.pins().keys() - {*remaining, *sharing.values(), read_live(store).version}:
        store.table.unpin(number)
    resumable = bool(store.storage.list(STAGING))
    store.table.cleanup(unfinished=not resumable)
    models = () if resumable else _remove_models(store, remaining)
    return PruneResult(tuple(sorted(removed)), models, bytes_before - store.storage.size(), needed=needed)


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


def _unwanted(store: EmbeddingStore, keep: KeepPolicy) -> list[int]:
    """The versions that a policy does not keep, whether others need their files or not."""
    live = read_live(store)
    protected = {live.version, *live.history[: keep.versions - 1], *read_tags(store).values()}
    others = [number for number in version_numbers(store) if number != live.version]
    return [
        number
        for number in others
        if _lost_its_rows(store, number) or (number not in protected and _is_old(store, number, keep))
    ]


def _sharing(store: EmbeddingStore) -> dict[int, int]:
    """The versions that share the files of another one, with that one."""
    live, sharing = read_live(store).version, {}
    for number in {live, *version_numbers(store)}:
        try:
            base = read_version(store, number).shares_files_of
        except (InvalidData, NotFound):
            # Without its manifest only a pin says that a version has files of its own. Another version that is damaged
            # like this cannot be repaired, and goes.
            if number == live and number not in store.table.pins():
                raise
            base = None
        if base is not None:
            sharing[number] = base
    return sharing


def _users(number: int, sharing: Mapping[int, int]) -> tuple[int, ...]:
    """The versions that share the files of this one."""
    return tuple(sorted(user for user, base in sharing.items() if base == number))


def _remove_revisions(store: EmbeddingStore, numbers: Collection[int]) -> None:
    """Remove the revisions of all other versions than these, and segments that no revision has."""
    # After the versions: one that was made live at the same moment has kept its revision.
    live = update_live(store, lambda known: known.with_revisions_of({known.version, *numbers}))
    remove_leftover_segments(store, live, numbers)


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


def _pin_all(store: EmbeddingStore, numbers: Collection[int]) -> None:
    """Pin the rows of versions by older software, which did not pin, before the table is cleaned up."""
    for number in set(numbers) - store.table.pins().keys():
        store.table.pin(number, read_version(store, number).table_version)


def _remove_models(store: EmbeddingStore, numbers: Collection[int]) -> tuple[str, ...]:
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
