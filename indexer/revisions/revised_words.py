"""The words of a version's products under a revision, by the positions that these have now.

A deleted product is not found, and one with a new text by its new words only: what a refresh with the same catalogue
makes of them.

Letters: M products of the version, N positions appended, W words, K candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from indexer.catalogue.catalogue import Catalogue
from indexer.index.selection import Selection
from indexer.lexical.bm25 import inverse_document_frequency, scores
from indexer.lexical.words import MAX_WORDS, word_hashes
from indexer.lexical.words_file import PostingLists, VersionWords
from indexer.revisions.appended_words import AppendedWords
from indexer.revisions.overlay import Overlay
from ubm_embed.data.arrays import FloatArray, summed

# Entries that one query reads to find products: those of its rarest words. A word of more products says too little
# about any of them.
MAX_ENTRIES = 1 << 15
# Of the words beyond that, a few add to the scores of the best products found; each costs a search for all of these.
_MAX_COMMON_WORDS, _MAX_RESCORED = 4, 2048

_Entries = tuple[NDArray[np.int64], NDArray[np.uint8]]


class RevisedWords:
    """The words of a version under a revision. They never change; a later revision makes new ones.

    Attributes:
        published: of the version.
        appended: of the positions that the revision appends.
        visible: which of the M + N positions have a product; None if all do.
    """

    def __init__(self, published: VersionWords, appended: AppendedWords, visible: Selection | None) -> None:
        self.published, self.appended, self.visible = published, appended, visible

    @classmethod
    def as_published(cls, published: VersionWords) -> RevisedWords:
        """The words without a revision."""
        return cls(published, AppendedWords(published.lists.mean_length), None)

    def revised(self, overlay: Overlay, catalogue: Catalogue, before: Overlay) -> RevisedWords:
        """The words under another revision. Words that this one has read are not read again.

        Args:
            catalogue: under the other revision.
            before: the overlay that this one is of.
        """
        known = self.appended if overlay.continues(before) else AppendedWords(self.appended.mean_length)
        new = range(overlay.base_count + known.count, len(overlay))
        alive = [at for at in new if overlay.visible is None or overlay.visible.mask[at]]
        products = catalogue.products(alive)
        return RevisedWords(self.published, known.extended([products.get(at) for at in new]), overlay.visible)

    def __len__(self) -> int:
        """M + N."""
        return self.published.count + self.appended.count

    def candidates(self, words: Sequence[str]) -> tuple[NDArray[np.int64], FloatArray]:
        """The products that have some of the words, ascending, and their scores: [K] each.

        Of many words only the first are read, and of these the rarest find products.

        Args:
            words: each once.

        Raises:
            InvalidData: the version's words are damaged.
        """
        hashes = word_hashes(islice(words, MAX_WORDS))
        numbers = [lists.find(hashes) for lists in self._lists]
        lengths = np.zeros(hashes.size, np.int64)
        for lists, found in zip(self._lists, numbers, strict=True):
            lengths += lists.lengths(found)
        order = [row for row in np.argsort(lengths, kind="stable").tolist() if lengths[row]]
        rare = int(np.searchsorted(np.cumsum(lengths[order]), MAX_ENTRIES, side="right"))
        by_word = np.stack(numbers, axis=1)
        read = [self._entries(by_word[row]) for row in order[:rare]]
        positions, sums = _summed([(at, scores(values, self._rarity(at.size))) for at, values in read])
        common = order[rare:][:_MAX_COMMON_WORDS]
        if common and positions.size > _MAX_RESCORED:
            best = np.sort(np.argpartition(-sums, _MAX_RESCORED)[:_MAX_RESCORED])
            positions, sums = positions[best], sums[best]
        for row in common:
            sums += self._added(by_word[row], positions, int(lengths[row]))
        return positions, sums

    @property
    def _lists(self) -> list[PostingLists]:
        return [self.published.lists, *self.appended.parts]

    def _parts(self, numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.uint8]]]:
        """The lists of one word, each with what is added to its positions.

        Args:
            numbers: of the word in each of the lists, -1 where these lack it.
        """
        for part, number in enumerate(numbers.tolist()):
            if number >= 0 and not part:
                yield 0, *self.published.lists.list_of(number)
            elif number >= 0:
                yield self.published.count, *self.appended.parts[part - 1].list_of(number)

    def _entries(self, numbers: NDArray[np.int64]) -> _Entries:
        """The products that have a word, ascending, and its frequencies there."""
        if numbers[0] >= 0:
            self.published.require_list(int(numbers[0]))
        parts = [(positions.astype(np.int64) + shift, values) for shift, positions, values in self._parts(numbers)]
        positions, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        if self.visible is None:
            return positions, values
        mask = self.visible.mask[positions]
        return positions[mask], values[mask]

    def _added(self, numbers: NDArray[np.int64], positions: NDArray[np.int64], having: int) -> FloatArray:
        """What a common word adds to the scores of products: [K] -> [K]."""
        added, rarity = np.zeros(positions.size, np.float32), self._rarity(having)
        for shift, there, values in self._parts(numbers):
            ranks = np.minimum(np.searchsorted(there, (positions - shift).astype(np.int32)), there.size - 1)
            added += np.where(there[ranks] == positions - shift, scores(values[ranks], rarity), np.float32(0))
        return added

    def _rarity(self, having: int) -> float:
        return inverse_document_frequency(len(self) if self.visible is None else self.visible.count, having)


def _summed(parts: Sequence[tuple[NDArray[np.int64], FloatArray]]) -> tuple[NDArray[np.int64], FloatArray]:
    """The sums of the scores of each product: ascending positions."""
    if not parts or not sum(positions.size for positions, _ in parts):
        return np.empty(0, np.int64), np.empty(0, np.float32)
    positions, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return summed(positions, values)
