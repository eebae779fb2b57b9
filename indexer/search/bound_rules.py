"""Rules compiled for one version: which of its products they mean, as arrays that a search needs, and remembered.

Letters: M products, N boosted ones, D width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
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
# Seconds since a request used them, after which rules are no longer compiled for each revision that is published.
_IN_USE = 60.0


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

    def nbytes_beside(self, visible: Selection | None) -> int:
        """The most bytes that it takes beside what is visible; other selections and codes are counted as its own."""
        selections = {one for one in (self.allowed, self.searched) if one is not None and one is not visible}
        codes = sum(cap.codes.nbytes for cap in self.caps)
        return sum(one.nbytes for one in selections) + codes + self.boosted_vectors.nbytes


class _Entry(NamedTuple):
    """Rules as they are remembered, the bytes that they take, and when a request used them."""

    rules: Rules
    bound: BoundRules
    size: int
    used: float


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
        key, now = rules_key(rules), time.monotonic()
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self._entries[key] = entry._replace(used=now)  # put back as the last one used
                return entry.bound
        entry = self._compiled(rules, now)
        self._remember([entry])
        return entry.bound

    def bind_recent(self, before: RulesCache, seconds: float) -> None:
        """Bind the rules that requests used lately with another cache, those used last first, while there is time."""
        end, compiled = time.monotonic() + seconds, list[_Entry]()
        for entry in before._recent():
            if time.monotonic() >= end:
                break
            with suppress(InvalidData):  # another version may lack a column
                compiled.append(self._compiled(entry.rules, entry.used))
        self._remember(compiled[::-1])

    def _recent(self) -> list[_Entry]:
        """Those in use, the last first."""
        with self._lock:
            entries = list(self._entries.values())[::-1]
        oldest = time.monotonic() - _IN_USE
        return [entry for entry in entries if entry.used >= oldest]

    def _compiled(self, rules: Rules, used: float) -> _Entry:
        bound = BoundRules.bind(rules, self._catalogue, self._vectors)
        ids = _ID_BYTES * (len(rules.exclude) + len(rules.boost))
        return _Entry(rules, bound, bound.nbytes_beside(self._catalogue.visible) + ids + _ENTRY_BYTES, used)

    def _remember(self, entries: Iterable[_Entry]) -> None:
        """Remember rules, the last of them as those used last."""
        with self._lock:
            for entry in entries:
                if entry.size <= self._entries.maxsize:
                    self._entries[rules_key(entry.rules)] = entry


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
