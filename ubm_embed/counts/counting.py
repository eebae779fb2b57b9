"""Transitions of training sessions, counted part by part in bounded memory.

NumPy alone: what refreshes a store has no SciPy.

Letters: S sessions, M products, E entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray, offsets_of, ragged_index
from ubm_embed.data.batches.session_table import SessionTable

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NEIGHBOURS = 200  # entries that a row keeps
_MAX_DISTANCE = 5  # of a pair that counts
_BITS = _MAX_DISTANCE.bit_length()
_WEIGHTS = (1 / np.maximum(np.arange(1 << _BITS), 1)).astype(np.float32)  # by distance
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
        # Earlier product x M + later product, ascending.
        self._keys, self._sums = np.empty(0, np.int64), np.empty(0, np.float32)
        self._seen = np.zeros(products, dtype=np.int64)

    def add(self, sessions: SessionTable) -> Self:
        """Count more sessions, none of which was counted before."""
        viewed = only_products(sessions.take_back(), self._seen.size)
        self._seen += np.bincount(viewed.rows, minlength=self._seen.size)
        pairs = [_pairs_apart(viewed, distance) for distance in range(1, _MAX_DISTANCE + 1)]
        keys = [(one[0].astype(np.int64) * self._seen.size + one[1]) << _BITS for one in pairs]
        # Numbers that say all are sorted in a quarter of the time that an order takes.
        codes = np.sort(np.concatenate([one + distance for distance, one in enumerate(keys, 1)]))
        self._merge(*sums_of_runs(codes >> _BITS, _WEIGHTS[codes & (_WEIGHTS.size - 1)]))
        if self._keys.size > self._max_entries:
            self._shorten()
        return self

    @property
    def seen(self) -> NDArray[np.int64]:
        """[M] interactions with each product."""
        return self._seen

    @property
    def pairs(self) -> int:
        """E, of all pairs so far."""
        return self._keys.size

    def finish(self, wanted: BoolArray | None = None) -> TransitionCounts:
        """The counts, softened, each row cut to its largest entries.

        Args:
            wanted: [M] products that have counts; None for all. Those of the others are dropped.
        """
        if wanted is not None:
            products = self._seen.size
            self._keep(wanted[self._keys // products] & wanted[self._keys % products])
        if self._weights.backward:
            self._count_backward()
        self._keep(self._largest(self._neighbours))
        neighbours = (self._keys % max(self._seen.size, 1)).astype(np.int32)
        return TransitionCounts(offsets_of(self._lengths()), neighbours, self._softened())

    def _merge(self, keys: NDArray[np.int64], sums: FloatArray) -> None:
        """Add the sums of a part, whose keys ascend, too."""
        at = np.searchsorted(self._keys, keys)
        known = np.zeros(keys.size, bool)
        inside = at < self._keys.size
        known[inside] = self._keys[at[inside]] == keys[inside]
        self._sums[at[known]] += sums[known]
        self._keys = np.insert(self._keys, at[~known], keys[~known])
        self._sums = np.insert(self._sums, at[~known], sums[~known])

    def _count_backward(self) -> None:
        """Add the pairs to the rows of their later products."""
        if self._keys.size > self._max_entries // 2:
            self._shorten()
        products, backward = max(self._seen.size, 1), np.float32(self._weights.backward)
        turned = self._keys % products * products + self._keys // products
        keys = np.concatenate([self._keys, turned])
        self._keys, self._sums = summed(keys, np.concatenate([self._sums, backward * self._sums]))

    def _shorten(self) -> None:
        """Drop the smallest entries of the longest rows until half of what may be held is left."""
        self._keep(self._largest(_longest_row(self._lengths(), self._max_entries // 2)))

    def _lengths(self) -> NDArray[np.int64]:
        """[M] entries of each row."""
        products = self._seen.size
        return np.diff(np.searchsorted(self._keys, np.arange(products + 1, dtype=np.int64) * products))

    def _softened(self) -> FloatArray:
        """[E] the sums over the popularity of the later product."""
        popularity = np.maximum(self._seen, 1).astype(np.float32) ** np.float32(-self._weights.softening)
        softened: FloatArray = self._sums * popularity[self._keys % max(self._seen.size, 1)]
        return softened

    def _largest(self, count: int) -> BoolArray:
        return largest_of_rows(offsets_of(self._lengths()), self._softened(), count)

    def _keep(self, kept: BoolArray) -> None:
        if not kept.all():
            self._keys, self._sums = self._keys[kept], self._sums[kept]


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


def summed(keys: NDArray[np.int64], values: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """The distinct keys, ascending, each with the sum of its values: [N] each -> [E] each."""
    order = np.argsort(keys, kind="stable")
    return sums_of_runs(keys[order], values[order])


def sums_of_runs(keys: NDArray[np.int64], values: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """As `summed`, of keys that ascend already."""
    firsts = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[firsts], np.add.reduceat(values, firsts) if firsts.size else values


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


def _pairs_apart(sessions: SessionTable, distance: int) -> tuple[IntArray, IntArray]:
    """Pairs of different products `distance` apart in a session: the earlier ones [P], the later ones [P]."""
    session_of = sessions.session_of()
    earlier, later = sessions.rows[:-distance], sessions.rows[distance:]
    paired = (session_of[:-distance] == session_of[distance:]) & (earlier != later)
    return earlier[paired], later[paired]
