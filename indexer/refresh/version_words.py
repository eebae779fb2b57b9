"""The words of a new version's products: those of texts that it took over, and those of the others read anew.

Letters: M products.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from indexer.catalogue.mapped_catalogue import PRODUCT_COLUMNS, product_of
from indexer.catalogue.product_file import PRODUCTS_FILE, ProductFile
from indexer.lexical.posting_lists import PostingListsBuilder
from indexer.lexical.words_file import WORDS_FILE, VersionWords, read_words, write_words
from indexer.refresh.earlier_version import EarlierVersion
from indexer.refresh.written_version import WrittenVersion
from indexer.store.embedding_store import EmbeddingStore, version_folder
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.arrow_arrays import taken
from ubm_embed.errors import InvalidData

_ROWS_AT_ONCE = 8192
# Of a table of vectors alone.
_NO_TEXT = dict.fromkeys(PRODUCT_COLUMNS)


def write_version_words(
    store: EmbeddingStore, earlier: EarlierVersion | None, written: WrittenVersion, folder: Path
) -> None:
    """Write the words of a version into its folder, which has the file of its products.

    A million texts take about half a minute; those of the version before take about a second.

    Args:
        earlier: the version that it took over texts from; None if there is none.

    Raises:
        OSError: the disk is full, or the like.
    """
    builder, unread = PostingListsBuilder(), np.arange(written.rows)
    if earlier is not None and written.origins is not None:
        new, before = np.flatnonzero(~written.origins.same_text), _words_of(store, earlier)
        # Where most texts are new since their mean length was measured, all are read: it is another one by now.
        if before is not None and new.size + before.lists.added_since <= written.rows // 2:
            builder, unread = PostingListsBuilder(before.lists.mean_length), new
            builder.carry(before.lists, written.origins.new_positions(before.count))
    _add(builder, ProductFile(folder / PRODUCTS_FILE, written.rows), unread)
    write_words(folder / WORDS_FILE, builder.build())


def _add(builder: PostingListsBuilder, products: ProductFile, positions: IntArray) -> None:
    table = products.table([name for name in PRODUCT_COLUMNS if name in products.schema.names])
    for first in range(0, len(products), _ROWS_AT_ONCE):
        begin, end = np.searchsorted(positions, [first, first + _ROWS_AT_ONCE])
        part = positions[begin:end]
        if part.size:
            rows = taken(table.slice(first, _ROWS_AT_ONCE), part - first).to_pylist()
            builder.add(part, [product_of(_NO_TEXT | row) for row in rows])


def _words_of(store: EmbeddingStore, earlier: EarlierVersion) -> VersionWords | None:
    """The words of a version, whose files were compared with their digests; None if it has none."""
    version = earlier.version
    if WORDS_FILE not in version.files:
        return None
    try:
        with store.storage.open_folder(version_folder(version.version)) as folder:
            return read_words(folder / WORDS_FILE, version.products)
    except (InvalidData, FileNotFoundError):
        return None
