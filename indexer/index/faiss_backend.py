"""FAISS in memory, on a GPU where there is one.

Letters: B queries, C candidates, M vectors, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from indexer.index.faiss_factory import (
    TRANSFORM,
    empty_index,
    layers_of,
    make_room,
    structure_of,
    trained_index,
    with_vectors,
)
from indexer.index.faiss_module import load_faiss
from indexer.index.gpu import GpuCopy, copy_to_gpu
from indexer.index.kinds import EF_SEARCH, FACTORY, NPROBE, IndexForm, IndexKind
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData


class FaissEngine:
    """An `Engine` over a FAISS index by inner product. Several threads may search at once: nothing of it changes."""

    def __init__(self, index: Any, form: IndexForm, gpu: GpuCopy | None = None) -> None:
        self.form = form
        self._index = index
        self._layers = layers_of(index)
        self._gpu = gpu
        # Looked up once: each look into a FAISS index takes as long as all else that is done for a query.
        self._count = int(index.ntotal)
        self.dimension = int(index.d)
        self.widest = form.lists if form.kind.breadth == NPROBE else self._count
        # Not on a GPU, nor with codes of which nobody here knows how they are compared.
        self.faithful = gpu is None and form.kind.name != FACTORY
        # What tells FAISS how to search where all may be found: a few different ones, and slow to make.
        self._kept: dict[tuple[int, int], Any] = {}

    @classmethod
    def build(cls, parts: Iterable[FloatArray], kind: IndexKind, expected: int, held_out: IntArray | None) -> Self:
        """As `VectorIndex.build`."""
        index, form = None, None
        for vectors in parts:
            if not len(vectors):
                continue
            if index is None:
                index, form = trained_index(kind, parts, vectors.shape[1], expected, held_out)
                make_room(index, expected)
            index.add(np.ascontiguousarray(vectors, np.float32))
        if index is None or form is None or not index.ntotal:
            raise ValueError("an index needs at least one vector")
        return cls(with_vectors(index, kind), form)

    @classmethod
    def load(cls, file: str | Path, form: IndexForm) -> Self:
        """As `VectorIndex.load`."""
        faiss = load_faiss()
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
        """As `VectorIndex.save`."""
        faiss = load_faiss()
        with open(file, "wb") as stream:
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(stream.write))

    def on_gpu(self) -> FaissEngine | None:
        """The same with a copy on a GPU that finds the candidates; None where there is no GPU, or none for its kind."""
        copy = copy_to_gpu(self._index, self.form)
        return None if copy is None else FaissEngine(self._index, self.form, copy)

    def __len__(self) -> int:
        return self._count

    def vectors(self, positions: IntArray) -> FloatArray:
        """Vectors at these positions, as they are stored: [K] -> [K, D]."""
        found: FloatArray = self._index.reconstruct_batch(np.asarray(positions, np.int64))
        return found

    def candidates(
        self, queries: FloatArray, fetch: int, breadth: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        """As `Engine`."""
        found = self._gpu.search(queries, fetch, breadth, allowed) if self._gpu else None
        return found or self._index.search(queries, fetch, params=self._parameters(fetch, breadth, allowed))

    def _parameters(self, fetch: int, breadth: int, allowed: NDArray[np.bool_] | None) -> Any:
        if allowed is not None:
            selector = load_faiss().IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
            return self._made(fetch, breadth, sel=selector)
        found = self._kept.get((fetch, breadth))
        return found or self._kept.setdefault((fetch, breadth), self._made(fetch, breadth))

    def _made(self, fetch: int, breadth: int, **chosen: Any) -> Any:
        """What tells FAISS how widely to search, and which vectors are allowed: for this search only."""
        faiss = load_faiss()
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
