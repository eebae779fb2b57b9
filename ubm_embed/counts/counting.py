"""Transitions of training sessions, counted part by part in bounded memory.

NumPy alone: what refreshes a store has no SciPy.

Letters: S sessions, M products, E entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray, offsets_of, ragged_index, summed, sums_of_runs
from ubm_embed.data.batches.session_table import SessionTable

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NEIGHBOURS = 100  # entries that a row keeps
_MAX_DISTANCE = 5  # of a pair that counts
_BITS = _MAX_DISTANCE.bit_length()
_WEIGHTS = (1 / np.maximum(np.arange(1 << _BITS), 1)).astype(np.float32)  # by distance
_OFTEN = 100  # interactions with a product from which on its counts are rates, and its popularity tells
_MAX_ENTRIES = 32_000_000  # held between two parts: 12 bytes each, and as much again while a part is added


class TransitionCounter:
    """Adds up the transitions of sessions, given in parts.

    A pair of different products at most 5 positions apart adds 1 / distance to the row of the earlier one, and less to
    that of the later one. Search phrases, and what was taken back out of the cart, are no positions.

    Args:
        products: M; text rows from M on are search phrases.
        weights: say how to count (`backward`, `softening`); None for the defaults.
        neighbours: entries that a row keeps in the end.
        max_entries: held between two parts; beyond them the smallest of the longest rows go.
    """

    def __init__(
        self,
        products: int,
        weights: CountWeights | None = None,
        *,
        neighbours: int = NEIGHBOURS,
        max_entries: int = _MAX_ENTRIES,
    ) -> None:
        self._weights = weights or CountWeights()
        self._neighbours, self._max_entries = neighbours, max_entries
        self._pairs = _PairSums(products, np.empty(0, np.int64), np.empty(0, np.float32))
        self._seen = np.zeros(products, dtype=np.int64)

    def add(self, sessions: SessionTable) -> Self:
        """Count more sessions, none of which was counted before."""
        viewed = only_products(sessions.take_back(), self._seen.size)
        self._seen += np.bincount(viewed.rows, minlength=self._seen.size)
        pairs = [pairs_apart(viewed, distance) for distance in range(1, _MAX_DISTANCE + 1)]
        keys = [(one[0].astype(np.int64) * self._seen.size + one[1]) << _BITS for one in pairs]
        # Numbers that say all are sorted in a quarter of the time that an order takes.
        codes = np.sort(np.concatenate([one + distance for distance, one in enumerate(keys, 1)]))
        self._pairs.add(*sums_of_runs(codes >> _BITS, _WEIGHTS[codes & (_WEIGHTS.size - 1)]))
        if self.pairs > self._max_entries:
            self._pairs = self._shortened(self._weights.softening)
        return self

    @property
    def seen(self) -> NDArray[np.int64]:
        """[M] interactions with each product."""
        return self._seen

    @property
    def pairs(self) -> int:
        """E, of all pairs so far."""
        return self._pairs.keys.size

    def finish(self, wanted: BoolArray | None = None, weights: CountWeights | None = None) -> TransitionCounts:
        """The counts, softened, each row cut to its largest entries. More sessions may be added after.

        Args:
            wanted: [M] products that have counts; None for all. Those of the others are dropped.
            weights: say how to count, in place of those of the counter.
        """
        weights = weights or self._weights
        pairs = self._shortened(weights.softening) if self.pairs > self._max_entries // 2 else self._pairs
        pairs = pairs.between(wanted) if wanted is not None else pairs
        pairs = pairs.with_backward(weights.backward) if weights.backward else pairs
        values = pairs.softened(self._seen, weights.softening)
        kept = largest_of_rows(pairs.offsets, values, self._neighbours)
        pairs = pairs.take(kept)
        return TransitionCounts(pairs.offsets, (pairs.keys % pairs.products).astype(np.int32), values[kept])

    def _shortened(self, softening: float) -> _PairSums:
        """Without the smallest entries of the longest rows: half of what may be held."""
        row = _longest_row(np.diff(self._pairs.offsets), self._max_entries // 2)
        values = self._pairs.softened(self._seen, softening)
        return self._pairs.take(largest_of_rows(self._pairs.offsets, values, row))


@dataclass
class _PairSums:
    """The sum of each pair of products so far.

    Attributes:
        products: M.
        keys: [E] earlier product x M + later product, ascending.
        sums: [E].
    """

    products: int
    keys: NDArray[np.int64]
    sums: FloatArray

    @property
    def offsets(self) -> NDArray[np.int64]:
        """[M + 1] where the row of each earlier product begins and ends."""
        return np.searchsorted(self.keys, np.arange(self.products + 1, dtype=np.int64) * self.products)

    def add(self, keys: NDArray[np.int64], sums: FloatArray) -> None:
        """Add other sums, whose keys ascend, too."""
        at = np.searchsorted(self.keys, keys)
        known = np.zeros(keys.size, bool)
        inside = at < self.keys.size
        known[inside] = self.keys[at[inside]] == keys[inside]
        self.sums[at[known]] += sums[known]
        self.keys = np.insert(self.keys, at[~known], keys[~known])
        self.sums = np.insert(self.sums, at[~known], sums[~known])

    def take(self, kept: BoolArray) -> _PairSums:
        """The entries of a mask [E]."""
        return self if kept.all() else _PairSums(self.products, self.keys[kept], self.sums[kept])

    def between(self, wanted: BoolArray) -> _PairSums:
        """The pairs of two products of a mask [M]."""
        return self.take(wanted[self.keys // self.products] & wanted[self.keys % self.products])

    def with_backward(self, weight: float) -> _PairSums:
        """With each pair in the row of its later product as well, at this weight."""
        turned = self.keys % self.products * self.products + self.keys // self.products
        sums = np.concatenate([self.sums, np.float32(weight) * self.sums])
        return _PairSums(self.products, *summed(np.concatenate([self.keys, turned]), sums))

    def softened(self, seen: IntArray, softening: float) -> FloatArray:
        """[E] the sums, as counts while the row's product was hardly seen and as rates once it was seen often.

        So they stay in bounds as a log grows. The popularity of the other product divides them, softened.
        """
        often = (1 + seen / _OFTEN).astype(np.float32)
        softened: FloatArray = self.sums / often[self.keys // self.products]
        softened *= (often ** np.float32(-softening))[self.keys % self.products]
        return softened


def count_transitions(
    sessions: SessionTable, products: int, weights: CountWeights | None = None, *, neighbours: int = NEIGHBOURS
) -> TransitionCounts:
    """The softened transition counts of sessions that are in memory as a whole, see `TransitionCounter`."""
    return TransitionCounter(products, weights, neighbours=neighbours).add(sessions).finish()


def only_products(sessions: SessionTable, products: int) -> SessionTable:
    """The sessions without their search phrases; some may be empty."""
    is_product = sessions.rows < products
    offsets = offsets_of(is_product.astype(np.int64))[sessions.offsets]
    return SessionTable(sessions.actions[is_product], sessions.rows[is_product], offsets)


def largest_of_rows(offsets: NDArray[np.int64], values: FloatArray, count: int) -> BoolArray:
    """[E] which entries are among the `count` largest of their row; of equal ones those further left."""
    kept = np.ones(values.size, bool)
    lengths = np.diff(offsets)
    long = np.flatnonzero(lengths > count)
    entries = ragged_index(offsets[long], lengths[long])
    rows = np.repeat(long, lengths[long])
    order = np.lexsort((-values[entries], rows))
    rank = np.arange(order.size) - np.repeat(offsets_of(lengths[long])[:-1], lengths[long])
    kept[entries[order[rank >= count]]] = False
    return kept


def to_sparse(counts: TransitionCounts) -> csr_array:
    """[M, M] float32."""
    from scipy.sparse import csr_array

    shape = (counts.products, counts.products)
    return csr_array((counts.values.astype(np.float32), counts.neighbours, counts.offsets), shape=shape)


def _longest_row(lengths: IntArray, entries: int) -> int:
    """How long rows may be, so that they have at most this many entries in all; at least 1."""
    at_least = np.cumsum(np.bincount(lengths)[::-1])[::-1]  # [length] rows that are at least so long
    return max(1, int(np.searchsorted(np.cumsum(at_least[1:]), entries, side="right")))


def pairs_apart(sessions: SessionTable, distance: int) -> tuple[IntArray, IntArray]:
    """Pairs of different products `distance` apart in a session: the earlier ones [P], the later ones [P]."""
    session_of = sessions.session_of()
    earlier, later = sessions.rows[:-distance], sessions.rows[distance:]
    paired = (session_of[:-distance] == session_of[distance:]) & (earlier != later)
    return earlier[paired], later[paired]
