"""Products to the lists of those that have each word, from nothing or from the lists of an earlier version.

Letters: K products, W words, E entries, M products of a version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.lexical.bm25 import quantised_frequencies
from indexer.lexical.words import length, product_words, word_hashes
from indexer.lexical.words_file import PostingLists
from ubm_embed.data.arrays import FloatArray, IntArray, offsets_of
from ubm_embed.data.session import Product

# The bits of a word's number, a position and a frequency in the 64 that are sorted.
_POSITION_BITS, _FREQUENCY_BITS = 31, 8
_MAX_WORDS = 1 << (64 - _POSITION_BITS - _FREQUENCY_BITS)


@dataclass(frozen=True)
class _Run:
    """Entries of some products, in any order.

    Attributes:
        hashes: of the words, each once: [W].
        words: of each entry, by its number among them: [E].
        products: positions: [E].
        frequencies: [E].
    """

    hashes: NDArray[np.uint64]
    words: NDArray[np.int32]
    products: NDArray[np.int32]
    frequencies: NDArray[np.uint8]


@dataclass(frozen=True)
class _NewRun:
    """Entries whose frequencies cannot be made before the mean length is known.

    Attributes:
        hashes, words, products: as of `_Run`.
        counts: how much each word occurs: [E].
        lengths: of the product of each entry: [E].
        product_lengths: of the products: [K].
    """

    hashes: NDArray[np.uint64]
    words: NDArray[np.int32]
    products: NDArray[np.int32]
    counts: NDArray[np.float16]
    lengths: NDArray[np.float16]
    product_lengths: FloatArray

    def with_frequencies(self, mean_length: float) -> _Run:
        counts, lengths = self.counts.astype(np.float32), self.lengths.astype(np.float32)
        return _Run(self.hashes, self.words, self.products, quantised_frequencies(counts, lengths, mean_length))


class PostingListsBuilder:
    """Collects the words of products. Memory grows by 12 bytes for each word of each product, and by 40 in `build`.

    Args:
        mean_length: of a product in words, where that is known from earlier lists; None measures it.
    """

    def __init__(self, mean_length: float | None = None) -> None:
        self._known_length = mean_length
        self._added_since = 0
        self._added = list[_NewRun]()
        self._carried = list[_Run]()

    def add(self, positions: IntArray, products: Sequence[Product]) -> None:
        """Add the words of products at these positions: K."""
        self._added_since += len(products)
        found = [product_words(product) for product in products]
        numbers: dict[str, int] = {}
        words = [numbers.setdefault(word, len(numbers)) for counts in found for word in counts]
        sizes, lengths = list(map(len, found)), np.array(list(map(length, found)), np.float32)
        self._added.append(
            _NewRun(
                word_hashes(numbers),
                np.array(words, np.int32),
                np.repeat(np.asarray(positions, np.int32), sizes),
                np.array([count for counts in found for count in counts.values()], np.float16),
                np.repeat(lengths, sizes).astype(np.float16),
                lengths,
            )
        )

    def carry(self, lists: PostingLists, now: NDArray[np.int32]) -> None:
        """Add the words of an earlier version's products.

        Args:
            now: where each of its products is now, -1 if it is gone: [M].
        """
        self._added_since += lists.added_since
        products = now[lists.products]
        kept = products >= 0
        words = np.repeat(np.arange(lists.hashes.size, dtype=np.int32), np.diff(lists.offsets))
        self._carried.append(_Run(lists.hashes, words[kept], products[kept], lists.frequencies[kept]))

    def build(self) -> PostingLists:
        """The lists of all products that were added."""
        mean = self._mean_length()
        runs = [*self._carried, *(run.with_frequencies(mean) for run in self._added)]
        hashes = np.unique(np.concatenate([np.empty(0, np.uint64), *(run.hashes for run in runs)]))
        assert hashes.size < _MAX_WORDS, "no shop has that many words"
        keys = np.concatenate([np.empty(0, np.uint64), *(_keys(run, hashes) for run in runs)])
        keys.sort()
        lengths = np.bincount(_bits(keys, _FREQUENCY_BITS + _POSITION_BITS, 64), minlength=hashes.size)
        return PostingLists(
            hashes[lengths > 0],
            offsets_of(lengths[lengths > 0]),
            _bits(keys, _FREQUENCY_BITS, _POSITION_BITS).astype(np.int32),
            _bits(keys, 0, _FREQUENCY_BITS).astype(np.uint8),
            mean,
            0 if self._known_length is None else self._added_since,
        )

    def _mean_length(self) -> float:
        if self._known_length is not None:
            return self._known_length
        lengths = np.concatenate([np.empty(0, np.float32), *(run.product_lengths for run in self._added)])
        return float(lengths.mean()) if lengths.size else 1.0


def posting_lists(products: Sequence[Product]) -> PostingLists:
    """The lists of products at the positions 0, 1, ..."""
    builder = PostingListsBuilder()
    builder.add(np.arange(len(products)), products)
    return builder.build()


def _keys(run: _Run, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each entry as one number; ascending, these are in the order of the lists."""
    numbers = np.searchsorted(hashes, run.hashes).astype(np.uint64)[run.words]
    keys: NDArray[np.uint64] = numbers << np.uint64(_POSITION_BITS + _FREQUENCY_BITS)
    keys |= run.products.astype(np.uint64) << np.uint64(_FREQUENCY_BITS)
    keys |= run.frequencies
    return keys


def _bits(keys: NDArray[np.uint64], first: int, count: int) -> NDArray[np.int64]:
    """`count` bits of each key from the `first` lowest on."""
    shifted = keys >> np.uint64(first)
    return (shifted if count == 64 else shifted & np.uint64((1 << count) - 1)).astype(np.int64)
