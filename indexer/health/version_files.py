"""The files of a version: are they those that were published, and do they fit together."""

from __future__ import annotations

import contextlib

import polars as pl

from indexer.catalogue.product_file import PRODUCTS_FILE
from indexer.catalogue.version_catalogue import open_catalogue
from indexer.counts.counts_file import COUNTS_FILE
from indexer.health.disk_index import require_searchable
from indexer.index.kinds import DISK
from indexer.index.vector_index import INDEX_FILE
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.versions.version import StoreVersion, digest_of, require_digests
from indexer.versions.version_counts import counts_holder, open_counts
from indexer.versions.version_index import open_index
from ubm_embed.errors import InvalidData


def require_sound_files(store: EmbeddingStore, version: StoreVersion) -> None:
    """Read the files of a version, which must not share those of another one.

    Raises:
        InvalidData: names the file that is missing or damaged, or does not have the products of the table.
    """
    table = store.table
    with store.storage.open_folder(version_folder(version.version)) as folder:
        require_digests(version, folder)
        index = open_index(table, version.table_version, version.index_spec, folder)
        if len(index) != version.products or index.dimension != version.dimension:
            actual = f"{len(index)} vectors of width {index.dimension}"
            expected = f"the manifest says {version.products} of width {version.dimension}"
            raise InvalidData(f"{actual}, but {expected}", file=folder / INDEX_FILE)
        if (counts := open_counts(version, folder)) is not None:
            counts.require_valid()
        with contextlib.closing(open_catalogue(store, version, folder)) as catalogue:
            ids = pl.Series("product_id", catalogue.table(["product_id"])["product_id"])
        if not ids.sort().equals(table.read(version.table_version, ["product_id"])["product_id"].sort()):
            raise InvalidData("its ids are not those of the table", file=folder / PRODUCTS_FILE)
        if version.index_spec.kind is DISK:
            require_searchable(table, version, index)


def require_shared_counts(store: EmbeddingStore, version: StoreVersion, base: StoreVersion) -> None:
    """Require that a version that has the counts of the version whose files it shares finds some there.

    Raises:
        InvalidData: that one has none.
    """
    if counts_holder(version) == base.version and COUNTS_FILE not in base.files:
        folder = f"{store.uri}/{version_folder(base.version)}"
        raise InvalidData(f"missing; version {version.version} has its counts", file=f"{folder}/{COUNTS_FILE}")


def damaged_files(store: EmbeddingStore, version: StoreVersion) -> dict[str, InvalidData]:
    """What is wrong with each of the version's own files that is missing or damaged, by name."""
    damaged = {}
    with store.storage.open_folder(version_folder(version.version)) as folder:
        for name, digest in version.files.items():
            try:
                require_digests(version.replace(files={name: digest}), folder)
            except InvalidData as error:
                file = f"{store.uri}/{version_folder(version.version)}/{name}"
                damaged[name] = InvalidData(error.problem, file=file)
    return damaged


def sound_content(store: EmbeddingStore, version: StoreVersion, name: str) -> bytes | None:
    """The content of a version's own file as it was published; None if it never was, or is lost or damaged."""
    try:
        content = store.storage.read(f"{version_folder(version.version)}/{name}")
    except FileNotFoundError:
        return None
    return content if version.files.get(name) == digest_of(content) else None
