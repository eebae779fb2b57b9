"""The searchable structure over a version's vectors.

Letters: B queries, C candidates, K matches, M products, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from indexer.index.backend import Engine
from indexer.index.candidates import NOISE, Look, Neighbours, Scope
from indexer.index.faiss_backend import FaissEngine
from indexer.index.faiss_module import load_faiss
from indexer.index.kinds import EF_SEARCH, FLAT, IndexForm, IndexKind
from ubm_embed.data.arrays import FloatArray, IntArray

__all__ = ["INDEX_FILE", "NOISE", "Neighbours", "VectorIndex", "load_faiss"]

INDEX_FILE = "index.faiss"

# Fetched beyond K: where scores are certain, one tells whether a tie at the K-th place was cut; else some more, which
# exact scores may bring up.
_MARGIN, _WIDE_MARGIN = 1, 8
_ROWS_AT_ONCE = 512
# An index is tuned with so many. To find as large a share of 100 took 1.5 to 2 times as many lists, of 500 2.5 to 3
# times, beside those that so many vectors fill.
_TUNED_K, _SPREAD = 10, 0.25
# So many allowed vectors are looked at one by one, whatever the index: a selective filter never finds too little.
_FEW = 4096
# How much further a search goes that was not enough.
_FURTHER = 4


class VectorIndex:
    """Search by inner product over vectors of length 1, exact or not, as its kind is.

    An engine finds candidates; here they become an answer, the same whatever found them. The same query gets the same
    answer alone and in a batch: where scores lie so close that the order of a sum could decide, they are added up anew
    from the vectors as they are stored, each in the same way, so that equal vectors score the same to the last bit and
    stand by position. Several threads may search at once: nothing of the index changes.
    """

    def __init__(self, engine: Engine, form: IndexForm) -> None:
        self.engine = engine
        self.form = form

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

        A kind that must be trained and has too few vectors for it becomes another one: `form` says what it is.

        Args:
            parts: the vectors, some at a time: each [N, D]. A kind that is trained goes through them more than once.
            expected: how many there will be; room is made for them at once.
            held_out: rows that it is not trained with, for they will be its questions.

        Raises:
            NotFound: faiss is not installed.
            ValueError: there are no vectors.
            InvalidData: an explicit factory string that faiss cannot make of these vectors.
        """
        engine = FaissEngine.build(parts, kind, expected, held_out)
        return cls(engine, engine.form)

    @classmethod
    def load(cls, file: str | Path, form: IndexForm | None = None) -> Self:
        """The index that `save` wrote.

        Args:
            form: what it is to be, as its manifest says; None is flat.

        Raises:
            NotFound: faiss is not installed.
            InvalidData: the file is missing, damaged, or an index of another kind.
        """
        form = form or FLAT.form(0, 1)
        return cls(FaissEngine.load(file, form), form)

    def save(self, file: str | Path) -> None:
        """Write an index that is in memory.

        Raises:
            OSError: as of any write; faiss itself would report a full disk as a RuntimeError.
        """
        assert isinstance(self.engine, FaissEngine), "what is on disk is there already"
        self.engine.save(file)

    def searched(self, breadth: int) -> VectorIndex:
        """The same index, searched more or less widely; both share the vectors."""
        return VectorIndex(self.engine, self.form.with_breadth(breadth))

    def move_to_gpu(self) -> bool:
        """Search on a GPU from now on, where there is one and the kind can; whether it does. Answers stay the same."""
        moved = self.engine.on_gpu() if isinstance(self.engine, FaissEngine) else None
        self.engine = moved or self.engine
        return moved is not None

    def __len__(self) -> int:
        return len(self.engine)

    @property
    def kind(self) -> str:
        """Name of its kind."""
        return self.form.kind.name

    @property
    def dimension(self) -> int:
        """Width of the vectors, D."""
        return self.engine.dimension

    @property
    def widest(self) -> int:
        """The breadth with which a search looks everywhere."""
        return self.engine.widest

    def vectors(self, positions: IntArray) -> FloatArray:
        """Vectors at these positions, as they are stored: [K] -> [K, D]."""
        return self.engine.vectors(positions)

    def scores(self, query: FloatArray, positions: IntArray) -> FloatArray:
        """Inner products of a query [D] and the vectors at these positions: [K] -> [K]."""
        scores: FloatArray = self._scores(query[None], np.asarray(positions, np.int64)[None])[0]
        return scores

    def search(self, queries: FloatArray, k: int, allowed: NDArray[np.bool_] | None = None) -> Neighbours:
        """The K nearest of each query: K = min(k, M). Equal scores stand by position.

        K come back whatever the kind: a search that finds too few goes further, and in the end looks at all.

        Args:
            queries: [B, D], of length 1.
            allowed: which vectors may be found, [M]; K is then at most how many there are. None is all of them.

        Raises:
            ValueError: `k` is below 1, or the queries are of another width or not finite.
        """
        queries = self._checked(queries, k)
        there = len(self) if allowed is None else int(np.count_nonzero(allowed))
        k = min(k, there)
        if allowed is not None and there <= _FEW:
            return self._looked_through(queries, k, allowed)
        scope = Scope(k, there, allowed)
        look = self._look(queries, scope)
        if len(queries) == 1 and self.engine.faithful and look.is_certain(k):
            return Neighbours(look.scores[:, :k], look.positions[:, :k])
        return self._settled(queries, scope, look)

    def _look(self, queries: FloatArray, scope: Scope, *, further: int = 1, everywhere: bool = False) -> Look:
        """Ask the engine for so many times more candidates than at first.

        Where few are allowed, the search is wider by as much: then it looks at as many vectors as it does otherwise,
        for those that are not allowed cost next to nothing. More than ten lie further away, and so does where to look.
        And it is at least so wide that there are enough.
        """
        engine, widest = self.engine, self.engine.widest
        margin = _MARGIN if engine.faithful else _WIDE_MARGIN
        fetch = min(further * (scope.k + margin), scope.there)
        least = fetch if self.form.kind.breadth == EF_SEARCH else scope.k  # a graph finds no more than that
        spread = self.form.breadth * max(scope.k / _TUNED_K, 1) ** _SPREAD * len(engine)
        wanted = math.ceil(max(spread + max(scope.k - _TUNED_K, 0) * widest, least * widest) / scope.there)
        breadth = min(wanted, widest) if self.form.kind.breadth and not everywhere else widest
        scores, positions = engine.candidates(queries, fetch, breadth, scope.allowed)
        return Look(scores, positions, fetch == scope.there, breadth == widest)

    def _settled(self, queries: FloatArray, scope: Scope, look: Look) -> Neighbours:
        """The nearest by a first look at every query, and by others at those which that does not settle.

        What a query gets depends on no other one of the batch.
        """
        k, further, left = scope.k, 1, np.arange(len(queries))
        found = Neighbours(np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64))
        while left.size:
            settled, short = look.is_settled(k), ~look.has_enough(k)
            found.put(left[settled], self._best(queries[left[settled]], look.of(settled), k))
            if short.any():
                found.put(left[short], self._found_everywhere(queries[left[short]], scope, look))
            left, further = left[~settled & ~short], _FURTHER * further
            if left.size:
                look = self._look(queries[left], scope, further=further, everywhere=look.widest)
        return found

    def _found_everywhere(self, queries: FloatArray, scope: Scope, look: Look) -> Neighbours:
        """The nearest of queries for which a look found too few."""
        if look.widest:  # a graph does not lead everywhere
            return self._looked_through(queries, scope.k, scope.allowed)
        return self._settled(queries, scope, self._look(queries, scope, everywhere=True))

    def _best(self, queries: FloatArray, look: Look, k: int) -> Neighbours:
        """The first K candidates of each query where their order is certain, else the best K by exact scores."""
        found = Neighbours(look.scores[:, :k].copy(), look.positions[:, :k].copy())
        steps = -np.diff(look.scores[:, : k + 1], axis=1)
        doubtful = np.full(len(queries), not self.engine.faithful)
        doubtful |= (steps <= NOISE).any(axis=1)
        if doubtful.any():
            found.put(doubtful, self._ranked(queries[doubtful], look.positions[doubtful], k))
        return found

    def _checked(self, queries: FloatArray, k: int) -> FloatArray:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.engine.dimension:
            raise ValueError(f"expected queries [B, {self.dimension}], got {list(queries.shape)}")
        if not math.isfinite(np.vdot(queries, queries)):  # one number that any of them spoils
            raise ValueError("a query is not finite")
        return queries

    def _looked_through(self, queries: FloatArray, k: int, allowed: NDArray[np.bool_] | None) -> Neighbours:
        """The best k of all that are allowed, each looked at."""
        positions = np.arange(len(self)) if allowed is None else np.flatnonzero(allowed)
        found = [self._ranked(query[None], positions[None], k) for query in queries]  # one by one, for the memory
        if not found:
            return Neighbours(np.empty((0, k), np.float32), np.empty((0, k), np.int64))
        return Neighbours(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def _ranked(self, queries: FloatArray, candidates: NDArray[np.int64], k: int) -> Neighbours:
        """The best k candidates of each query: [B, C] -> [B, K]."""
        scores = self._scores(queries, candidates)
        best = np.lexsort((candidates, -scores))[:, :k]
        rows = np.arange(len(queries))[:, None]
        return Neighbours(scores[rows, best], candidates[rows, best])

    def _scores(self, queries: FloatArray, candidates: NDArray[np.int64]) -> FloatArray:
        """Inner products of each query with its own candidates: [B, D] and [B, C] -> [B, C]; the worst of a -1."""
        (many, wide), none = candidates.shape, candidates < 0
        wanted, scores = np.where(none, 0, candidates), np.empty((many, wide), np.float32)
        at_once = max(_ROWS_AT_ONCE // max(wide, 1), 1)
        for row in range(0, many, at_once):
            for column in range(0, wide, _ROWS_AT_ONCE):
                part = slice(row, row + at_once), slice(column, column + _ROWS_AT_ONCE)
                vectors = self.vectors(wanted[part].ravel()).reshape(*wanted[part].shape, -1)
                scores[part] = _inner_products(vectors, queries[part[0], None])
        scores[none] = -np.inf
        return scores


def _inner_products(vectors: FloatArray, queries: FloatArray) -> FloatArray:
    """[..., D] and [..., D] -> [...]. Not a matrix product: BLAS adds up some rows in another order than others."""
    products: FloatArray = np.vecdot(vectors.astype(np.float64), queries.astype(np.float64)).astype(np.float32)
    return products
