"""The searchable structure over a version's vectors.

Letters: B queries, C candidates, K matches, M products, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from indexer.index.appended_vectors import AppendedVectors
from indexer.index.backend import NOISE, Candidates, IndexBackend, Neighbours, SearchRequest
from indexer.index.exact_ranking import exact_scores, in_exact_order, rank, rank_ties
from indexer.index.faiss_backend import FaissBackend
from indexer.index.kinds import EF_SEARCH, FLAT, IndexKind, IndexSpec
from indexer.index.revised_backend import RevisedBackend
from indexer.index.scanned_selections import ScannedSelections
from indexer.index.selection import Selection
from ubm_embed.data.arrays import FloatArray, IntArray

INDEX_FILE = "index.faiss"

# Candidates beyond K. One shows whether a tie was cut at the K-th place, which is enough where scores are exact;
# otherwise exact scores may bring up some more.
_MARGIN, _MARGIN_OF_INEXACT = 1, 8
# An index is tuned for ten matches. At the same recall, 100 took 1.5 to 2 times as many lists and 500 took 2.5 to 3
# times, besides the lists that so many matches fill.
_TUNED_K, _WIDENING = 10, 0.25
# How many times more candidates the next search fetches, if one was not enough; and how many times as much it looks at,
# if that held too few.
_DEEPENING, _WIDER = 4, 8


class VectorIndex:
    """Search by inner product over vectors of length 1; exact or approximate, as its kind is.

    A backend finds candidates; here they become an answer that does not depend on the backend. The same query gets the
    same answer alone and in a batch: where two scores lie so close that the order of a sum could decide between them,
    both are computed anew from the stored vectors in one fixed way, so that equal vectors score the same to the last
    bit and are ordered by position. Several threads may search at once: an index never changes.

    Args:
        backend: what finds the candidates.
        spec: what the index is.
        visible: which vectors may be found at all; None for all of them.
    """

    def __init__(self, backend: IndexBackend, spec: IndexSpec, visible: Selection | None = None) -> None:
        self.backend = backend
        self.spec = spec
        self.visible = visible
        self._count = len(backend) if visible is None else visible.count
        # Not `self.vectors`: an index that is dropped is freed at once, with its file.
        self._selections = ScannedSelections(backend.vectors)

    @classmethod
    def build(
        cls,
        parts: Iterable[FloatArray],
        *,
        kind: IndexKind = FLAT,
        expected: int = 0,
        held_out: IntArray | None = None,
    ) -> Self:
        """An index over vectors of length 1, in the CPU's memory.

        A kind that must be trained and has too few vectors for it becomes half precision: `spec` says what it is.

        Args:
            parts: the vectors, some at a time: each [N, D]. A kind that is trained goes through them more than once.
            expected: how many there will be; memory for them is allocated at once.
            held_out: rows that it is not trained with, because its recall will be measured with them.

        Raises:
            NotFound: faiss is not installed.
            ValueError: there are no vectors.
            InvalidData: faiss cannot build these vectors into the index of an explicit factory string.
        """
        backend = FaissBackend.build(parts, kind, expected, held_out)
        return cls(backend, backend.spec)

    @classmethod
    def load(cls, file: str | Path, spec: IndexSpec | None = None) -> Self:
        """The index that `save` wrote.

        Args:
            spec: what it must be, as its manifest says; by default flat.

        Raises:
            NotFound: faiss is not installed.
            InvalidData: the file is missing, damaged, or an index of another kind.
        """
        spec = spec or FLAT.spec_for(0, 1)
        return cls(FaissBackend.load(file, spec), spec)

    def save(self, file: str | Path) -> None:
        """Write an index that is in memory.

        Raises:
            OSError: as of any write; faiss itself would report a full disk as a RuntimeError.
        """
        assert isinstance(self.backend, FaissBackend), "an index on disk is saved where it was built"
        self.backend.save(file)

    def with_search_value(self, value: int) -> VectorIndex:
        """The same index, searched more or less thoroughly; both share the vectors.

        Args:
            value: of the kind's search parameter, `nprobe` or `efSearch`.
        """
        return VectorIndex(self.backend, self.spec.with_search_value(value), self.visible)

    def revised(self, appended: AppendedVectors, visible: Selection | None) -> VectorIndex:
        """The same index with N more vectors, at the positions M, M + 1, ..., of which some may no longer be found.

        Args:
            appended: extended from `AppendedVectors.empty(self)`.
            visible: which of the M + N vectors may be found; None for all of them.
        """
        return VectorIndex(RevisedBackend(self.backend, appended, visible), self.spec, visible)

    def move_to_gpu(self, gpu: int = 0) -> bool:
        """Search on a GPU from now on, if there is one of this number and the kind can; whether it does.

        Answers stay the same.
        """
        moved = self.backend.on_gpu(gpu) if isinstance(self.backend, FaissBackend) else None
        self.backend = moved or self.backend
        return moved is not None

    def __len__(self) -> int:
        return len(self.backend)

    @property
    def kind(self) -> str:
        """Name of its kind."""
        return self.spec.kind.name

    @property
    def dimension(self) -> int:
        """Width of the vectors, D."""
        return self.backend.dimension

    @property
    def max_search_value(self) -> int:
        """The value of the search parameter with which nothing is skipped."""
        return self.backend.max_search_value

    def vectors(self, positions: IntArray) -> FloatArray:
        """Vectors at these positions, as they are stored: [K] -> [K, D]."""
        return self.backend.vectors(positions)

    def scores(self, query: FloatArray, positions: IntArray) -> FloatArray:
        """Inner products of a query [D] and the vectors at these positions: [K] -> [K]."""
        scores: FloatArray = exact_scores(self.vectors, query[None], np.asarray(positions, np.int64)[None])[0]
        return scores

    def search(self, queries: FloatArray, k: int, allowed: Selection | None = None) -> Neighbours:
        """The K nearest of each query: K = min(k, M). Equal scores are ordered by position.

        K come back whatever the kind: a search that finds too few goes on, and in the end compares all vectors.

        Args:
            queries: [B, D], of length 1.
            allowed: which of the M vectors may be found, all of them visible; K is then at most their number. None for
                all that are visible.

        Raises:
            ValueError: `k` is below 1, or the queries have another width or are not finite.
        """
        queries = self._checked(queries, k)
        available = self._count if allowed is None else allowed.count
        k = min(k, available)
        if not k:
            return Neighbours(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64))
        allowed = self.visible if allowed is None else allowed
        # All that are visible are no small selection of the index: it is searched like one without a revision.
        if allowed is not None and allowed is not self.visible and ScannedSelections.are_faster(allowed):
            return self._selections.search(queries, k, allowed)
        request = SearchRequest(k, available, allowed)
        candidates = self._find_candidates(queries, request)
        if len(queries) == 1 and self.backend.exact_scores and candidates.has_certain_order(k):
            return Neighbours(candidates.scores[:, :k], candidates.positions[:, :k])
        return self._nearest(queries, request, candidates)

    def search_all(self, query: FloatArray, allowed: Selection | None = None) -> Iterator[Neighbours]:
        """All that may be found for one query [D], best first as of `search`, in parts of some hundreds: [1, N] each.

        One pass over the vectors, and four numbers in memory for each of them. A part is put into its exact order when
        it is asked for.

        Raises:
            ValueError: as of `search`.
        """
        query = self._checked(query[None], 1)
        allowed = self.visible if allowed is None else allowed
        candidates = self.backend.search_all(query, allowed)
        if candidates is None:
            positions = np.arange(len(self)) if allowed is None else allowed.positions
            candidates = rank(exact_scores(self.vectors, query, positions[None]), positions[None], len(positions))
        return in_exact_order(self.vectors, query, candidates)

    def _find_candidates(
        self, queries: FloatArray, request: SearchRequest, *, factor: int = 1, width: int = 1
    ) -> Candidates:
        """Search the backend for `factor` times as many candidates as at first, `width` times as thoroughly.

        With few vectors allowed the search value grows by as much: it then compares as many vectors as without a
        filter, since those that are not allowed cost next to nothing. It also grows with K beyond ten, and is always
        large enough for K matches to be found at all.
        """
        backend, highest, k = self.backend, self.backend.max_search_value, request.k
        margin = _MARGIN if backend.exact_scores else _MARGIN_OF_INEXACT
        count = min(factor * (k + margin), request.available)
        needed = count if self.spec.kind.search_parameter == EF_SEARCH else k  # a graph finds at most efSearch
        tuned = self.spec.search_value * max(k / _TUNED_K, 1) ** _WIDENING * self._count
        wanted = math.ceil(max(tuned + max(k - _TUNED_K, 0) * highest, needed * highest) / request.available)
        value = min(width * wanted, highest) if self.spec.kind.search_parameter else highest
        scores, positions = backend.search(queries, count, value, request.allowed)
        return Candidates(scores, positions, count == request.available, value == highest)

    def _nearest(
        self, queries: FloatArray, request: SearchRequest, candidates: Candidates, width: int = 1
    ) -> Neighbours:
        """The nearest by a first search of every query, and by deeper ones of those that it does not decide.

        What a query gets depends on no other query of the batch.
        """
        k, factor, left = request.k, 1, np.arange(len(queries))
        nearest = Neighbours(np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64))
        while left.size:
            decided, short = candidates.decide(k), ~candidates.has_enough(k)
            nearest.put(left[decided], self._best(queries[left[decided]], candidates.of_queries(decided), k))
            if short.any():
                nearest.put(left[short], self._search_wider(queries[left[short]], request, candidates, width))
            left, factor = left[~decided & ~short], _DEEPENING * factor
            if left.size:
                candidates = self._find_candidates(queries[left], request, factor=factor, width=width)
        return nearest

    def _search_wider(
        self, queries: FloatArray, request: SearchRequest, candidates: Candidates, width: int
    ) -> Neighbours:
        """The nearest of queries for which a search found too few candidates.

        What may be found can lie far from the query, behind much that may not. Skipping that costs next to nothing, so
        the search is widened step by step instead of going everywhere at once.
        """
        if candidates.exhaustive:  # the links of a graph do not lead everywhere
            return self._scan(queries, request.k, request.allowed)
        width *= _WIDER
        return self._nearest(queries, request, self._find_candidates(queries, request, width=width), width)

    def _best(self, queries: FloatArray, candidates: Candidates, k: int) -> Neighbours:
        """The first K candidates of each query, in exact order where theirs is uncertain."""
        if not self.backend.exact_scores:
            return self._rank(queries, candidates.positions, k)
        best = Neighbours(candidates.scores[:, :k].copy(), candidates.positions[:, :k].copy())
        uncertain = (np.diff(candidates.scores[:, : k + 1], axis=1) >= -NOISE).any(axis=1)
        for row in np.flatnonzero(uncertain):
            one = np.array([row])
            found = Neighbours(candidates.scores[one], candidates.positions[one])
            best.put(one, rank_ties(self.vectors, queries[one], found, k))
        return best

    def _checked(self, queries: FloatArray, k: int) -> FloatArray:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.backend.dimension:
            raise ValueError(f"expected queries [B, {self.dimension}], got {list(queries.shape)}")
        if not math.isfinite(np.vdot(queries, queries)):  # one number that any of them spoils
            raise ValueError("a query is not finite")
        return queries

    def _scan(self, queries: FloatArray, k: int, allowed: Selection | None) -> Neighbours:
        """The best K of all vectors that may be found, each of them scored."""
        positions = np.arange(len(self)) if allowed is None else allowed.positions
        best = [self._rank(query[None], positions[None], k) for query in queries]  # one by one, to save memory
        return Neighbours(*(np.concatenate(parts) for parts in zip(*best, strict=True)))

    def _rank(self, queries: FloatArray, candidates: NDArray[np.int64], k: int) -> Neighbours:
        """The best K candidates of each query by exact scores: [B, C] -> [B, K]."""
        return rank(exact_scores(self.vectors, queries, candidates), candidates, k)
