"""The words of a version's products as an Arrow file, `words.arrow`: one row a word, by hash, mapped.

hash           64 bits of the word, as `words.word_hashes` makes them, ascending
products       the products that have it: {product: its position, frequency: 8 bits}, ascending by position

Words themselves are not there: two of a million words share a hash once in forty million files, and a match of a few
wrong products is what it would cost.

Letters: W words, E entries, M products, K of a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.arrow_arrays import numbers, vector
from ubm_embed.data.mapped_batch import damaged, list_offsets, read_mapped_batch
from ubm_embed.errors import InvalidData

WORDS_FILE = "words.arrow"
_WHAT = "words"
# In the schema's metadata: the mean length of a product in words, by which all frequencies in the file were made.
_LENGTH_KEY = b"ubm_embed.mean_length"
# How many products were added since it was measured; older files do not say.
_ADDED_KEY = b"ubm_embed.added_since"
_ENTRY = pa.struct([pa.field("product", pa.int32(), nullable=False), pa.field("frequency", pa.uint8(), nullable=False)])
_SCHEMA = pa.schema(
    [
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("products", pa.large_list(pa.field("item", _ENTRY, nullable=False)), nullable=False),
    ]
)


@dataclass(frozen=True)
class PostingLists:
    """Which products have each word, and how much it counts in them.

    Attributes:
        hashes: of the words, ascending: [W].
        offsets: where the list of each begins and ends: [W + 1].
        products: positions, ascending within a list: [E] int32.
        frequencies: as of `bm25.quantised_frequencies`: [E].
        mean_length: of the products by which the frequencies were made.
        added_since: how many products were added since that was measured.
    """

    hashes: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    products: NDArray[np.int32]
    frequencies: NDArray[np.uint8]
    mean_length: float
    added_since: int = 0

    def find(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The numbers of words, -1 for those that no product has: [N] -> [N]."""
        if not self.hashes.size:
            return np.full(hashes.size, -1, np.int64)
        numbers = np.minimum(np.searchsorted(self.hashes, hashes), self.hashes.size - 1)
        return np.where(self.hashes[numbers] == hashes, numbers, -1)

    def lengths(self, words: IntArray) -> NDArray[np.int64]:
        """How many products have each of these words, 0 for -1: [N] -> [N]."""
        if not self.hashes.size:
            return np.zeros(len(words), np.int64)
        return np.where(words >= 0, self.offsets[words + 1] - self.offsets[words], 0)

    def list_of(self, word: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """The products that have a word, and its frequencies there: [K] each, without a copy."""
        begin, end = self.offsets[word : word + 2].tolist()
        return self.products[begin:end], self.frequencies[begin:end]


@dataclass(frozen=True)
class VersionWords:
    """The words of a version's products.

    Attributes:
        lists: mapped.
        count: M.
        file: where they are from.
    """

    lists: PostingLists
    count: int
    file: Path

    def require_list(self, word: int) -> None:
        """Check a list before its positions are used; all lists would have to be read for the first answer.

        Raises:
            InvalidData: the list is damaged: it is not of ascending positions of the version.
        """
        products, _ = self.lists.list_of(word)
        if products.size and (products[0] < 0 or products[-1] >= self.count or (np.diff(products) <= 0).any()):
            problem = f"damaged: must be ascending positions below {self.count:,}"
            raise InvalidData(problem, file=self.file, row=word + 1, field="products.product")

    def require_valid(self) -> None:
        """Read all of the file.

        Raises:
            InvalidData: names the row that is damaged.
        """
        hashes = self.lists.hashes
        if unordered := np.flatnonzero(hashes[1:] <= hashes[:-1]).tolist():
            raise InvalidData("damaged: must ascend", file=self.file, row=unordered[0] + 2, field="hash")
        for word in range(hashes.size):
            self.require_list(word)


def write_words(file: Path, lists: PostingLists) -> None:
    """Write the words of a version.

    Raises:
        OSError: the disk is full, or the like.
    """
    children = [numbers(lists.products, pa.int32()), numbers(lists.frequencies, pa.uint8())]
    entries = pa.StructArray.from_arrays(children, fields=list(_ENTRY))
    offsets = pa.py_buffer(np.ascontiguousarray(lists.offsets, np.int64))
    kind = _SCHEMA.field("products").type
    rows = pa.LargeListArray.from_buffers(kind, lists.hashes.size, [None, offsets], children=[entries])
    schema = _SCHEMA.with_metadata({_LENGTH_KEY: repr(float(lists.mean_length)), _ADDED_KEY: str(lists.added_since)})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        # One batch, so that each part is one array when it is mapped.
        writer.write_batch(pa.record_batch([numbers(lists.hashes, pa.uint64()), rows], schema=schema))


def read_words(file: Path, products: int) -> VersionWords:
    """The words of a version, mapped: the file may be removed while they are read.

    What a query reads of the lists is checked when it is read.

    Args:
        products: M, as the version's manifest says.

    Raises:
        InvalidData: the file is missing, truncated or damaged.
    """
    batch, metadata = read_mapped_batch(file, _SCHEMA, _WHAT)
    try:
        mean_length, added = float(metadata[_LENGTH_KEY]), int(metadata.get(_ADDED_KEY, 0))
    except (KeyError, ValueError) as error:
        raise damaged(file, _WHAT, str(error)) from None
    hashes, rows = batch.columns
    offsets = list_offsets(rows)
    if offsets[0] != 0 or offsets[-1] > len(rows.values) or not np.isfinite(mean_length):
        raise damaged(file, _WHAT, "its lists do not begin where its entries do")
    entries = rows.values
    lists = PostingLists(
        vector(hashes),
        offsets,
        vector(entries.field(0)),
        vector(entries.field(1)),
        mean_length,
        added,
    )
    return VersionWords(lists, products, file)
