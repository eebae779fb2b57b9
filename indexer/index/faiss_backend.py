"""FAISS in memory, with a copy on a GPU if there is one; scores always come from the index in memory.

Letters: B queries, C candidates, M vectors, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np

from indexer.index.backend import Neighbours, count_before_filter, filter_candidates
from indexer.index.faiss_factory import (
    build_faiss_index,
    empty_index,
    empty_like,
    layers_of,
    load_faiss,
    structure_of,
)
from indexer.index.index_file import IndexFile, read_index, write_index
from indexer.index.kinds import EF_SEARCH, FACTORY, FLAT, FP16, IVF_FP16, IVF_SQ8, NPROBE, IndexKind, IndexSpec
from indexer.index.listed_vectors import has_listed_codes
from indexer.index.search_parameters import search_parameters
from indexer.index.selection import Selection
from indexer.index.stacked_lists import StackedLists
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData

# The most candidates that one search on a GPU gives back, and the most lists that it looks into.
MAX_ON_GPU = 2048
# A smaller index is as fast on the CPU, and FAISS has hung on tiny ones (faiss#4260).
_MIN_VECTORS_ON_GPU = 10_000
_KINDS_ON_GPU = (FLAT, FP16, IVF_FP16, IVF_SQ8)
_ROWS_AT_ONCE = 65_536


class FaissBackend:
    """An `IndexBackend` over a FAISS index by inner product. Several threads may search at once: it never changes."""

    def __init__(self, file: IndexFile, spec: IndexSpec, gpu: GpuCopy | None = None) -> None:
        self.spec = spec
        self._file, self._index = file, file.index
        self._layers = layers_of(file.index)
        self._gpu = gpu
        # Read once: each attribute of a FAISS index costs as much as everything else that is done for a query.
        self._count = int(file.index.ntotal)
        self.dimension = int(file.index.d)
        self.max_search_value = spec.nlist if spec.kind.search_parameter == NPROBE else self._count
        # A GPU adds up in another way, and how the codes of an arbitrary factory string are compared is not known.
        self.exact_scores = gpu is None and spec.kind.name != FACTORY

    @classmethod
    def build(cls, parts: Iterable[FloatArray], kind: IndexKind, expected: int, held_out: IntArray | None) -> Self:
        """As `VectorIndex.build`."""
        index, spec = build_faiss_index(parts, kind, expected, held_out)
        return cls(IndexFile(index), spec)

    @classmethod
    def load(cls, file: str | Path, spec: IndexSpec) -> Self:
        """As `VectorIndex.load`."""
        opened = read_index(file)
        index, expected = opened.index, empty_index(spec.factory, opened.index.d)
        is_by_inner_product = index.metric_type == load_faiss().METRIC_INNER_PRODUCT
        if not is_by_inner_product or structure_of(index) != structure_of(expected):
            problem = f"expected an index {spec.factory!r} by inner product, found {type(index).__name__}"
            raise InvalidData(problem, file=file)
        return cls(opened, spec)

    def save(self, file: str | Path) -> None:
        """As `VectorIndex.save`."""
        write_index(self._index, file, self._file.lists.layout if self._file.lists else None)

    @property
    def faiss_index(self) -> Any:
        """FAISS's own, in the CPU's memory or mapped. Do not change it."""
        self._file.require_whole()
        return self._index

    def on_gpu(self, gpu: int) -> FaissBackend | None:
        """The same index with a copy on a GPU that finds the candidates; None if that GPU or kind cannot."""
        copy = GpuCopy.create(self._index, self.spec, gpu)
        return None if copy is None else FaissBackend(self._file, self.spec, copy)

    def __len__(self) -> int:
        return self._count

    def require_whole(self) -> None:
        """Raise `InvalidData` if the file of the index was cut short since it was mapped."""
        self._file.require_whole()

    def empty_like(self) -> Any:
        """An empty index of FAISS's that stores vectors as this one does; it uses centroids of this one."""
        return empty_like(self._index)

    def stacked(self, appended: Sequence[Any]) -> StackedLists | None:
        """This index and others of `empty_like`, to be searched as one; None if it has no lists, or is on a GPU."""
        if self._gpu or not has_listed_codes(self._index):
            return None
        return StackedLists([self._index, *appended])

    def vectors(self, positions: IntArray) -> FloatArray:
        """As `IndexBackend`."""
        self._file.require_whole()
        return self._file.vectors(np.asarray(positions, np.int64))

    def search(self, queries: FloatArray, count: int, search_value: int, allowed: Selection | None) -> Neighbours:
        """As `IndexBackend`."""
        self._file.require_whole()
        found = self._gpu.search(queries, count, search_value, allowed) if self._gpu else None
        if found is not None:
            return found
        factor = max(1.0, min(self.spec.kind.refine_factor, self._count / count))
        parameters = search_parameters(self._layers, search_value, factor, allowed)
        return self.checked(lambda: self._index.search(queries, count, params=parameters))

    def search_all(self, query: FloatArray, allowed: Selection | None) -> Neighbours | None:
        """As `IndexBackend`; None for graphs, whose links may not lead everywhere, and for inexact scores."""
        available = self._count if allowed is None else allowed.count
        if EF_SEARCH in self._layers or self.spec.kind.name == FACTORY or not available:
            return None
        self._file.require_whole()
        parameters = search_parameters(self._layers, self.max_search_value, 1.0, allowed)
        if self._layers != (NPROBE,):
            return self.checked(lambda: self._index.search(query, available, params=parameters))
        # Three times as fast as a search with K = P, but only where there are lists.
        found = self.checked(lambda: self._index.range_search(query, -math.inf, params=parameters)[1:])
        order = np.argsort(-found.scores)[None]
        return Neighbours(found.scores[order], found.positions[order])

    def checked(self, search: Callable[[], Iterable[Any]], count: int | None = None) -> Neighbours:
        """What FAISS finds; InvalidData if the file has damaged ids, which FAISS gives back or stumbles over.

        Args:
            count: how many vectors are searched, if some do not lie in the file.
        """
        try:
            found = Neighbours(*search())
        except RuntimeError as error:
            raise self._file.damaged(str(error).rpartition("Error: ")[2]) from None
        if found.positions.max(initial=-1) >= (count or self._count) or found.positions.min(initial=-1) < -1:
            raise self._file.damaged("it finds vectors that it does not have")
        return found


class GpuCopy:
    """A copy of an index on a GPU. Threads take turns: FAISS's memory on a GPU serves one of them at a time."""

    def __init__(self, index: Any, spec: IndexSpec) -> None:
        self._index = index
        self._spec = spec
        self._turn = Lock()

    @classmethod
    def create(cls, index: Any, spec: IndexSpec, gpu: int, *, faiss: Any = None) -> Self | None:
        """A copy on the GPU of this number, from 0; None without such a GPU, or for a kind that has no form there.

        Args:
            faiss: the library; by default the one that is installed.
        """
        faiss = faiss or load_faiss()
        # A build of faiss for GPUs also runs without one: what counts is how many it sees.
        if spec.kind not in _KINDS_ON_GPU or index.ntotal < _MIN_VECTORS_ON_GPU or gpu >= faiss.get_num_gpus():
            return None
        resources = faiss.StandardGpuResources()
        if spec.kind is not FP16:
            return cls(faiss.index_cpu_to_gpu(resources, gpu, index), spec)
        # On a GPU there is no scalar quantiser outside lists, but a flat index can store half precision.
        config = faiss.GpuIndexFlatConfig()
        config.device = gpu
        config.useFloat16 = True
        copy = faiss.GpuIndexFlatIP(resources, index.d, config)
        for first in range(0, index.ntotal, _ROWS_AT_ONCE):
            copy.add(index.reconstruct_n(first, min(_ROWS_AT_ONCE, index.ntotal - first)))
        return cls(copy, spec)

    def search(
        self, queries: FloatArray, count: int, search_value: int, allowed: Selection | None
    ) -> Neighbours | None:
        """As `IndexBackend`, or None if the GPU cannot give as many candidates, or as thoroughly.

        On a GPU FAISS accepts a selector and ignores it (faiss#3924), so more candidates are fetched and those that are
        not allowed are dropped; None too if that leaves too few.
        """
        fetched = count_before_filter(count, int(self._index.ntotal), allowed)
        in_lists = self._spec.kind.search_parameter is not None
        if fetched > MAX_ON_GPU or (in_lists and search_value > MAX_ON_GPU):
            return None
        options = {"params": load_faiss().SearchParametersIVF(nprobe=search_value)} if in_lists else {}
        with self._turn:
            found = Neighbours(*self._index.search(queries, fetched, **options))
        if allowed is not None:
            found = filter_candidates(found, allowed, count)
        return None if (found.positions < 0).any() else found
