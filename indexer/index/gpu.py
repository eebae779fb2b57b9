"""A copy of an index on a GPU, where FAISS sees one. The index itself stays: it says what the scores are.

Letters: B queries, C candidates, D width.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.index.backend import enough_to_filter, kept
from indexer.index.faiss_module import load_faiss
from indexer.index.kinds import FLAT, FP16, IVF_FP16, IVF_SQ8, IndexForm
from ubm_embed.data.arrays import FloatArray

# The most that one search on a GPU gives back, and the most lists that it looks into.
MOST = 2048
# Smaller ones are not worth the way, and FAISS has hung on tiny ones (faiss#4260).
_FEWEST = 10_000
_ROWS_AT_ONCE = 65_536
_COPIED = (FLAT, FP16, IVF_FP16, IVF_SQ8)


class GpuCopy:
    """Finds candidates. Threads take turns: FAISS's memory on a GPU is for one of them at a time."""

    def __init__(self, index: Any, form: IndexForm) -> None:
        self._index = index
        self._form = form
        self._turn = Lock()

    def search(
        self, queries: FloatArray, fetch: int, breadth: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[FloatArray, NDArray[np.int64]] | None:
        """The C best candidates of each query [B, D]: scores and positions, [B, C].

        None where so many cannot be asked for, or so widely. FAISS takes a selector here and never looks at it
        (faiss#3924), so more is asked for, and what is not allowed left out: None too where that leaves too few.
        """
        asked = enough_to_filter(fetch, int(self._index.ntotal), allowed)
        in_lists = self._form.kind.breadth is not None
        if asked > MOST or (in_lists and breadth > MOST):
            return None
        options = {"params": load_faiss().SearchParametersIVF(nprobe=breadth)} if in_lists else {}
        with self._turn:
            scores, positions = self._index.search(queries, asked, **options)
        if allowed is not None:
            scores, positions = kept(scores, positions, allowed, fetch)
        return None if (positions < 0).any() else (scores, positions)


def copy_to_gpu(index: Any, form: IndexForm) -> GpuCopy | None:
    """A copy on the first GPU; None where there is none, or the kind has none there."""
    faiss = load_faiss()
    # A build of faiss for GPUs also runs without one: what counts is what it sees.
    if form.kind not in _COPIED or index.ntotal < _FEWEST or not faiss.get_num_gpus():
        return None
    resources = faiss.StandardGpuResources()
    if form.kind is not FP16:
        return GpuCopy(faiss.index_cpu_to_gpu(resources, 0, index), form)
    # There is no scalar quantiser on a GPU but in lists; its flat index stores half precision by itself.
    config = faiss.GpuIndexFlatConfig()
    config.useFloat16 = True
    copy = faiss.GpuIndexFlatIP(resources, index.d, config)
    for first in range(0, index.ntotal, _ROWS_AT_ONCE):
        copy.add(index.reconstruct_n(first, min(_ROWS_AT_ONCE, index.ntotal - first)))
    return GpuCopy(copy, form)
