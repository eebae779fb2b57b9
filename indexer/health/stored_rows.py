"""The rows of a version in the table: are they those that were published."""

from __future__ import annotations

from indexer.refresh.product_hashes import with_hashes
from indexer.refresh.shards import not_unit_length
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import TEXT_HASH, VECTOR
from indexer.versions.rollback import lost_its_rows
from indexer.versions.version import StoreVersion
from ubm_embed.data.corpus import PRODUCT_SCHEMA
from ubm_embed.errors import InvalidData


def require_sound_rows(store: EmbeddingStore, version: StoreVersion) -> None:
    """Read all rows of a version.

    Raises:
        InvalidData: rows or vectors are missing or damaged, or a text is not the one that was encoded.
    """
    table, rows, bad = store.table, 0, 0
    for batch in table.batches(version.table_version):
        rows += len(batch.vectors)
        bad += not_unit_length(batch.vectors).size
    changed = _count_changed_texts(store, version)
    if lost_its_rows(store, version):
        raise InvalidData(f"does not keep the rows of version {version.version}", file=table.uri)
    if changed:
        raise InvalidData(f"{changed} of {rows} products have a text that was not encoded", file=table.uri)
    if bad:
        raise InvalidData(f"{bad} of {rows} vectors are not of length 1", file=table.uri)


def _count_changed_texts(store: EmbeddingStore, version: StoreVersion) -> int:
    """Read all other columns and count the rows whose text does not have the stored hash."""
    names = [name for name in store.table.schema(version.table_version).names if name != VECTOR]
    rows = store.table.read(version.table_version, names)
    if TEXT_HASH not in names:  # older software stored no hashes
        return 0
    return int((with_hashes(rows.select(*PRODUCT_SCHEMA))[TEXT_HASH] != rows[TEXT_HASH]).sum())
