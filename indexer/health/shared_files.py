"""Making the files again of a version that shares the index and the products of another one."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from indexer.catalogue.catalogue_writer import POPULARITY_FILE, write_popularity
from indexer.counts.counts_file import COUNTS_FILE
from indexer.health.lost_files import lost_counts, lost_kept
from indexer.health.version_files import damaged_files, sound_content
from indexer.refresh.feed_time import KEPT_FILE
from indexer.revisions.version_rows import VersionRows
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.versions.live import version_numbers
from indexer.versions.rollback import shared_base
from indexer.versions.version import (
    MANIFEST_FILE,
    PATCH_FILE,
    StoreVersion,
    digests,
    manifest_name,
    read_version,
)
from ubm_embed.errors import InvalidData
from ubm_embed.progress import Notice


def restore_own_files(store: EmbeddingStore, version: StoreVersion, notice: Notice) -> StoreVersion:
    """Write a version's own files again where they are lost. Call it inside `store.write_lock`.

    Args:
        notice: is told what may be older than it was.

    Raises:
        InvalidData: the patch is damaged, which nothing else has, or the shared files are.
    """
    damaged = damaged_files(store, version)
    if PATCH_FILE in damaged:
        raise damaged[PATCH_FILE]
    if not damaged:
        return version
    base = shared_base(store, version)
    rows = VersionRows.open(store, base)
    popularity = rows.popularity
    if POPULARITY_FILE in damaged:
        notice(f"popularity of version {version.version} is lost: it is now that of version {base.version}")
    else:
        popularity = _array(store.storage.read(_name(version, POPULARITY_FILE)))
    if KEPT_FILE in damaged:
        notice(lost_kept(version.version))
    counts = version.counts
    if COUNTS_FILE in damaged:
        counts = base.counts
        notice(lost_counts(store, version.version, None if counts is None else base.version))
    copied = {name: sound_content(store, version, name) for name in (PATCH_FILE, KEPT_FILE, COUNTS_FILE)}
    with store.storage.write_folder(version_folder(version.version), last=MANIFEST_FILE) as aside:
        for name, content in copied.items():
            if content is not None:
                (aside / name).write_bytes(content)
        ids = rows.overlay.base.table(["product_id"]).column(0)
        write_popularity(aside, popularity, ids.take)
        restored = version.replace(files=digests(aside), counts=counts)
        restored.write(aside)
    return restored


def follow_base(store: EmbeddingStore, base: StoreVersion, notice: Notice) -> None:
    """Let the versions that share the files of one that was rebuilt say what its index is now.

    Call it inside `store.write_lock`.

    Args:
        notice: is told which of them answer without counts from now on.
    """
    for number in version_numbers(store):
        try:
            version = read_version(store, number)
        except InvalidData:  # which is reported on its own
            continue
        if version.shares_files_of != base.version:
            continue
        names = ("table_version", "dimension", "kind", "parameters", "recall_at_10")
        has_those_of_base = version.counts is not None and COUNTS_FILE not in version.files
        counts = base.counts if has_those_of_base else version.counts
        followed = version.replace(**{name: getattr(base, name) for name in names}, counts=counts)
        if version.counts is not None and counts is None:
            notice(lost_counts(store, number))
        if followed != version:
            store.storage.write(manifest_name(number), followed.to_bytes())


def _name(version: StoreVersion, file: str) -> str:
    return f"{version_folder(version.version)}/{file}"


def _array(content: bytes) -> NDArray[np.int64]:
    array: NDArray[np.int64] = np.load(io.BytesIO(content), allow_pickle=False)
    return array
