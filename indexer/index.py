"""The searchable structure over a version's vectors.

Letters: B queries, C candidates, K matches, M products, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from indexer.indexes.faiss_index import (
    TRANSFORM,
    empty_index,
    layers_of,
    make_room,
    structure_of,
    trained_index,
    with_vectors,
)
from indexer.indexes.gpu import GpuCopy, copy_to_gpu
from indexer.indexes.kinds import EF_SEARCH, FACTORY, FLAT, NPROBE, IndexForm, IndexKind
from indexer.indexes.loading import load_faiss
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData

__all__ = ["INDEX_FILE", "NOISE", "Neighbours", "VectorIndex", "load_faiss"]

INDEX_FILE = "index.faiss"

# How far two ways of adding up one inner product of unit vectors may lie apart in float32.
NOISE = 2e-6
# Fetched beyond K, so that a tie at the K-th place is mostly seen without a second search.
_MARGIN = 8
_ROWS_AT_ONCE = 512
# So many allowed vectors are looked at one by one, whatever the index: a selective filter never finds too little.
_FEW = 4096
# How much further a search goes that was not enough.
_FURTHER = 4


class Neighbours(NamedTuple):
    """The nearest vectors of each query, best first.

    Attributes:
        scores: [B, K] inner products.
        positions: [B, K] rows of the vectors that the index was built from.
    """

    scores: FloatArray
    positions: NDArray[np.int64]


class VectorIndex:
    """Search by inner product over vectors of length 1, exact or not, as its kind is.

    The same query gets the same answer alone and in a batch: faiss finds candidates, and their scores are added up
    anew from the vectors as they are stored, each in the same way, so that equal vectors score the same to the last
    bit and stand by position. Several threads may search at once: nothing of the index changes.
    """

    def __init__(self, index: Any, form: IndexForm | None = None) -> None:
        self._index = index
        self._layers = layers_of(index)
        self._gpu: GpuCopy | None = None
        self.form = form or FLAT.form(0, 1)
        # How a query is searched that comes alone, by how many candidates are wanted: these are few different numbers.
        self._plans: dict[int, tuple[int, Any]] = {}

    @classmethod
    def build(
        cls,
        parts: Iterable[FloatArray],
        *,
        kind: IndexKind = FLAT,
        expected: int = 0,
        held_out: IntArray | None = None,
    ) -> Self:
        """An index over vectors of length 1, on the CPU.

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
        index, form = None, None
        for vectors in parts:
            if not len(vectors):
                continue
            if index is None:
                index, form = trained_index(kind, parts, vectors.shape[1], expected, held_out)
                make_room(index, expected)
            index.add(np.ascontiguousarray(vectors, np.float32))
        if index is None or not index.ntotal:
            raise ValueError("an index needs at least one vector")
        return cls(with_vectors(index, kind), form)

    @classmethod
    def load(cls, file: str | Path, form: IndexForm | None = None) -> Self:
        """The index that `save` wrote.

        Args:
            form: what it is to be, as its manifest says; None is flat.

        Raises:
            NotFound: faiss is not installed.
            InvalidData: the file is missing, damaged, or an index of another kind.
        """
        faiss, form = load_faiss(), form or FLAT.form(0, 1)
        if not Path(file).is_file():
            raise InvalidData("missing; the store is damaged", file=file)
        try:
            index = faiss.read_index(str(file))
        except (RuntimeError, MemoryError):  # a damaged header may ask for any amount of memory
            raise InvalidData("truncated or damaged; not an index that can be read", file=file) from None
        expected = empty_index(form.factory, index.d)
        if index.metric_type != faiss.METRIC_INNER_PRODUCT or structure_of(index) != structure_of(expected):
            problem = f"expected an index {form.factory!r} by inner product, found {type(index).__name__}"
            raise InvalidData(problem, file=file)
        return cls(index, form)

    def save(self, file: str | Path) -> None:
        """Write the index.

        Raises:
            OSError: as of any write; faiss itself would report a full disk as a RuntimeError.
        """
        faiss = load_faiss()
        with open(file, "wb") as stream:
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(stream.write))

    def searched(self, breadth: int) -> VectorIndex:
        """The same index, searched more or less widely; both share the vectors."""
        other = VectorIndex(self._index, self.form.with_breadth(breadth))
        other._gpu = self._gpu
        return other

    def move_to_gpu(self) -> bool:
        """Search on a GPU from now on, where there is one and the kind can; whether it does. Answers stay the same."""
        self._gpu = copy_to_gpu(self._index, self.form)
        return self._gpu is not None

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def kind(self) -> str:
        """Name of its kind."""
        return self.form.kind.name

    @property
    def dimension(self) -> int:
        """Width of the vectors, D."""
        return int(self._index.d)

    @property
    def widest(self) -> int:
        """The breadth with which a search looks everywhere."""
        return self.form.lists if self.form.kind.breadth == NPROBE else len(self)

    def vectors(self, positions: IntArray) -> FloatArray:
        """Vectors at these positions, as they are stored: [K] -> [K, D]."""
        found: FloatArray = self._index.reconstruct_batch(np.asarray(positions, np.int64))
        return found

    def scores(self, query: FloatArray, positions: IntArray) -> FloatArray:
        """Inner products of a query [D] and the vectors at these positions, as `search` has them: [K] -> [K]."""
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
        if len(queries) == 1 and allowed is None and (alone := self._alone(queries, k)):
            return alone
        found = Neighbours(np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64))
        left, fetch, further = np.arange(len(queries)), min(k + _MARGIN, there), 1
        while left.size:
            breadth = self._breadth(fetch, there, further)
            rough, candidates = self._candidates(queries[left], fetch, breadth, allowed, on_gpu=further == 1)
            enough = candidates[:, k - 1] >= 0
            # Unless the last candidate is clearly worse than the k-th, one that ties with it may have been left out.
            settled = enough & ((rough[:, -1] < rough[:, k - 1] - NOISE) | (fetch == there))
            done = left[settled]
            if done.size:
                found.scores[done], found.positions[done] = self._ranked(queries[done], candidates[settled], k)
            lost = left[~enough] if breadth == self.widest else left[:0]
            if lost.size:  # a graph may not lead everywhere
                found.scores[lost], found.positions[lost] = self._looked_through(queries[lost], k, allowed)
            left = left[~settled & (enough | (breadth < self.widest))]
            fetch, further = min(_FURTHER * fetch, there), _FURTHER * further
        return found

    def _alone(self, query: FloatArray, k: int) -> Neighbours | None:
        """What `search` finds for one query [1, D], where the first look settles it; None where it does not.

        After faiss has gone through the vectors nothing else is in the processor's caches, and each step of numpy takes
        microseconds: for a fast index together as long as the search itself. So here are as few as can be.
        """
        fetch = min(k + _MARGIN, len(self))
        plan = self._plans.get(fetch)
        if plan is None:
            breadth = self._breadth(fetch, len(self), 1)
            plan = self._plans.setdefault(fetch, (breadth, self._parameters(fetch, breadth, None)))
        breadth, parameters = plan
        found = self._gpu.search(query, fetch, breadth, None) if self._gpu else None
        rough, candidates = found or self._index.search(query, fetch, params=parameters)
        last = rough.item(fetch - 1)
        if candidates.item(fetch - 1) < 0 or not (last < rough.item(k - 1) - NOISE or fetch == len(self)):
            return None
        # What scores clearly less than the k-th is out, where a rough score is the score but for the order of its sum.
        kept = k if self.form.kind.name != FACTORY and not self._gpu else fetch
        while kept < fetch and rough.item(kept) >= rough.item(k - 1) - NOISE:
            kept += 1
        positions = candidates[0, :kept]
        scores = _inner_products(self._index.reconstruct_batch(positions), query)
        best = np.lexsort((positions, -scores))[:k]
        return Neighbours(scores[None, best], positions[None, best])

    def _breadth(self, fetch: int, there: int, further: int) -> int:
        """How widely to search for so many candidates, of which so many are there.

        Where few are allowed, the search is wider by as much: then it looks at as many vectors as it does otherwise,
        for those that are not allowed cost next to nothing. And it is at least so wide that there are enough.
        """
        wanted = max(self.form.breadth * len(self) / there, fetch * self.widest / there)
        return min(math.ceil(further * wanted), self.widest) if self.form.kind.breadth else self.widest

    def _candidates(
        self, queries: FloatArray, fetch: int, breadth: int, allowed: NDArray[np.bool_] | None, *, on_gpu: bool
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        """Scores and positions [B, C] of what may be nearest, best first; -1 where there are too few."""
        found = self._gpu.search(queries, fetch, breadth, allowed) if self._gpu and on_gpu else None
        return found or self._index.search(queries, fetch, params=self._parameters(fetch, breadth, allowed))

    def _parameters(self, fetch: int, breadth: int, allowed: NDArray[np.bool_] | None) -> Any:
        """What tells faiss how widely to search, and which vectors are allowed: for this search only."""
        faiss = load_faiss()
        chosen = {}
        if allowed is not None:
            chosen["sel"] = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        *outer, core = self._layers
        if core == NPROBE:
            found = faiss.SearchParametersIVF(nprobe=breadth, **chosen)
        elif core == EF_SEARCH:
            found = faiss.SearchParametersHNSW(efSearch=breadth, **chosen)
        else:
            found = faiss.SearchParameters(**chosen) if chosen else None
        for layer in reversed(outer):
            if layer == TRANSFORM:
                found = faiss.SearchParametersPreTransform(index_params=found)
            else:
                again = max(1.0, min(self.form.kind.refined, len(self) / fetch))
                found = faiss.IndexRefineSearchParameters(k_factor=again, base_index_params=found)
        return found

    def _checked(self, queries: FloatArray, k: int) -> FloatArray:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise ValueError(f"expected queries [B, {self.dimension}], got {list(queries.shape)}")
        if not np.isfinite(queries).all():
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
