"""Rules compiled for one version: which of its products they mean, as arrays that a search needs, and remembered.

Letters: M products, N boosted ones, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from indexer.catalogue.catalogue import Catalogue
from indexer.index.exact_ranking import inner_products
from indexer.index.selection import Selection
from indexer.search.ranking import Ranked, Rules
from indexer.search.reranker import Cap
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData

# 250 of the largest rules over a million products, all small ones.
_CACHE_BYTES = 2**28
# Bytes that an id of a rule takes, and an entry besides its ids.
_ID_BYTES, _ENTRY_BYTES = 128, 4096


@dataclass(frozen=True, slots=True)
class BoundRules:
    """What rules say about the products of one version.

    Attributes:
        allowed: the products that may match; None if every position has one that may.
        searched: those of them that are not boosted; None if these are all.
        boosts: the boosted products that may match, by position, with what is added to their scores.
        boosted_vectors: their vectors, [N, D].
        caps: how many matches may share a value.
        max_matches: no answer has more.
    """

    allowed: Selection | None
    searched: Selection | None
    boosts: Ranked
    boosted_vectors: FloatArray
    caps: tuple[Cap, ...]
    max_matches: int

    @classmethod
    def bind(cls, rules: Rules, catalogue: Catalogue, vectors: Callable[[IntArray], FloatArray]) -> BoundRules:
        """The rules over the products of a catalogue; ids that it does not have are ignored.

        Args:
            vectors: at positions: [N] -> [N, D].

        Raises:
            InvalidData: the rules name a column that is not there, or their condition is invalid.
        """
        for column in rules.max_per:
            if column not in catalogue.columns:
                known = ", ".join(catalogue.columns)
                raise InvalidData(f"no such column; there is: {known}", field=f"max_per.{column}")
        allowed = catalogue.visible if rules.where is None else catalogue.where(rules.where)
        allowed = _without(allowed, np.array(list(catalogue.find(rules.exclude).values()), np.int64), len(catalogue))
        boosts = _boosts(rules, catalogue, allowed)
        caps = tuple(_cap(catalogue.codes(column), limit) for column, limit in rules.max_per.items())
        return cls(
            allowed,
            _without(allowed, boosts.positions, len(catalogue)),
            boosts,
            vectors(boosts.positions) if len(boosts) else np.empty((0, 0), np.float32),
            caps,
            min([_num_allowed(allowed, len(catalogue)), *(_max_matches(cap, allowed) for cap in caps)]),
        )

    def boosted(self, query: FloatArray) -> Ranked:
        """The boosted products with their scores for a query [D], as exact as of `VectorIndex.scores`."""
        if not len(self.boosts):
            return self.boosts
        return Ranked(self.boosts.positions, inner_products(self.boosted_vectors, query) + self.boosts.scores)

    @property
    def nbytes(self) -> int:
        """The most bytes that it takes; codes and selections that it shares are counted as its own."""
        selections = sum(one.nbytes for one in (self.allowed, self.searched) if one is not None)
        return selections + sum(cap.codes.nbytes for cap in self.caps) + self.boosted_vectors.nbytes


class _Entry(NamedTuple):
    """Rules as they are remembered, and the bytes that they take."""

    rules: Rules
    bound: BoundRules
    size: int


class RulesCache:
    """Rules bound to one version, those used last remembered by their value. Several threads may ask at once."""

    def __init__(
        self, catalogue: Catalogue, vectors: Callable[[IntArray], FloatArray], max_bytes: int = _CACHE_BYTES
    ) -> None:
        self._catalogue, self._vectors = catalogue, vectors
        self._entries: LRUCache[Hashable, _Entry] = LRUCache(max_bytes, getsizeof=lambda entry: entry.size)
        self._lock = Lock()

    def __contains__(self, rules: Rules) -> bool:
        """Whether rules are remembered."""
        return rules_key(rules) in self._entries

    def bind(self, rules: Rules) -> BoundRules:
        """As `BoundRules.bind`. Two threads may compile the same rules at the same time."""
        key = rules_key(rules)
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self._entries[key] = entry  # put back as the last one used, also for `recent`
                return entry.bound
        bound = BoundRules.bind(rules, self._catalogue, self._vectors)
        size = bound.nbytes + _ID_BYTES * (len(rules.exclude) + len(rules.boost)) + _ENTRY_BYTES
        if size <= self._entries.maxsize:
            with self._lock:
                self._entries[key] = _Entry(rules, bound, size)
        return bound

    def recent(self) -> list[Rules]:
        """The rules that are remembered, those used last first."""
        with self._lock:
            return [entry.rules for entry in self._entries.values()][::-1]


def rules_key(rules: Rules) -> Hashable:
    """What rules say about products: equal for rules that are compiled to the same.

    Excluded ids are many and boosts are few: a frozenset computes its hash once.
    """
    return rules.where, rules.exclude, frozenset(rules.boost.items()), frozenset(rules.max_per.items())


def _without(allowed: Selection | None, positions: IntArray, size: int) -> Selection | None:
    if not positions.size:
        return allowed
    return (allowed or Selection(np.ones(size, bool))).without(positions)


def _boosts(rules: Rules, catalogue: Catalogue, allowed: Selection | None) -> Ranked:
    found = catalogue.find(rules.boost) if rules.boost else {}
    pairs = sorted((row, rules.boost[name]) for name, row in found.items() if allowed is None or allowed.mask[row])
    positions, boosts = [row for row, _ in pairs], [boost for _, boost in pairs]
    return Ranked(np.array(positions, np.int64), np.array(boosts, np.float32))


def _cap(codes: NDArray[np.int32], limit: int) -> Cap:
    return Cap(codes, int(codes.max(initial=-1)) + 1, min(limit, codes.size))


def _num_allowed(allowed: Selection | None, size: int) -> int:
    return size if allowed is None else allowed.count


def _max_matches(cap: Cap, allowed: Selection | None) -> int:
    """How many of the allowed products a cap lets through."""
    codes = cap.codes if allowed is None else cap.codes[allowed.mask]
    unlimited, *_ = counts = np.bincount(codes + 1, minlength=cap.num_values + 1)
    return int(unlimited + np.minimum(counts[1:], cap.limit).sum())
