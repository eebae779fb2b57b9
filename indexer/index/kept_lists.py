"""An index that is kept up: that of an earlier version without the vectors that are gone, and with those that are new.

Codes are copied as they are: no vector that stays is decoded, read from the table, or assigned to a list again.

Letters: M vectors, N of them added, L lists, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.index.faiss_backend import FaissBackend
from indexer.index.faiss_factory import empty_index, load_faiss
from indexer.index.index_file import IndexFile
from indexer.index.kinds import FLAT, FP16, IVF_FP16, IVF_SQ8, IndexSpec
from indexer.index.vector_index import VectorIndex
from ubm_embed.data.arrays import FloatArray, IntArray

KEPT_KINDS = (FLAT, FP16, IVF_FP16, IVF_SQ8)
_ROWS_AT_ONCE = 8192

# Vectors at these new positions: [K] -> [K, D].
AddedVectors = Callable[[NDArray[np.int64]], FloatArray]


def keep_up(index: VectorIndex, old_positions: IntArray, added: AddedVectors) -> VectorIndex | None:
    """An index over M vectors, those of an earlier index among them; None if its kind cannot be kept up.

    Kinds with links, with codes that are learned, on disk or of a factory string are built anew instead.

    Args:
        index: the earlier one, which does not change.
        old_positions: where each vector is in the earlier one, -1 for those that are added: [M]. No position twice.
        added: the vectors of those.
    """
    backend, spec = index.backend, index.spec
    if spec.kind not in KEPT_KINDS or not isinstance(backend, FaissBackend):
        return None
    old = backend.faiss_index
    new_positions = np.flatnonzero(old_positions < 0)
    if spec.kind in (FLAT, FP16):
        kept = _kept_codes(old, spec, old_positions, added)
    else:
        kept = _kept_lists(old, spec, old_positions)
        for positions in _parts(new_positions):
            kept.add_with_ids(np.ascontiguousarray(added(positions), np.float32), positions)
        kept.make_direct_map()
    return VectorIndex(FaissBackend(IndexFile(kept), spec), spec)


def list_imbalance(index: VectorIndex) -> float:
    """How uneven the lists are, as FAISS has it: 1 if all are equally long, and L if one has everything.

    A search that goes into n lists compares about n * M / L times as many vectors. 1 for an index without lists.
    """
    backend = index.backend
    if index.spec.kind not in (IVF_FP16, IVF_SQ8) or not isinstance(backend, FaissBackend):
        return 1.0
    return float(backend.faiss_index.invlists.imbalance_factor())


def _kept_codes(old: Any, spec: IndexSpec, old_positions: IntArray, added: AddedVectors) -> Any:
    """An index of codes by position, those of the old one where there are any."""
    faiss = load_faiss()
    kept, size = empty_index(spec.factory, old.d), int(old.code_size)
    codes = faiss.rev_swig_ptr(old.codes.data(), int(old.ntotal) * size).reshape(-1, size)
    kept.codes.resize(len(old_positions) * size)  # at once: an index that grows doubles its memory
    for positions in _parts(np.arange(len(old_positions))):
        before = old_positions[positions]
        part, is_new = (
            codes[np.maximum(before, 0)] if len(codes) else np.empty((before.size, size), np.uint8),
            before < 0,
        )
        if is_new.any():
            part[is_new] = kept.sa_encode(np.ascontiguousarray(added(positions[is_new]), np.float32))
        kept.add_sa_codes(part)
    return kept


def _kept_lists(old: Any, spec: IndexSpec, old_positions: IntArray) -> Any:
    """An index of the old one's lists, with what stays of them at its new positions."""
    faiss = load_faiss()
    kept, old_lists = _empty_lists(old, spec), old.invlists
    now = np.full(int(old.ntotal), -1, np.int64)
    known = np.flatnonzero(old_positions >= 0)
    now[old_positions[known]] = known
    for number in range(int(old.nlist)):
        count = int(old_lists.list_size(number))
        if not count:
            continue
        positions = now[faiss.rev_swig_ptr(old_lists.get_ids(number), count)]
        stays = positions >= 0
        codes = faiss.rev_swig_ptr(old_lists.get_codes(number), count * int(old.code_size)).reshape(count, -1)[stays]
        positions = positions[stays]
        pointers = faiss.swig_ptr(positions), faiss.swig_ptr(np.ascontiguousarray(codes))
        kept.invlists.add_entries(number, positions.size, *pointers)
    kept.ntotal = known.size
    return kept


def _empty_lists(old: Any, spec: IndexSpec) -> Any:
    """An empty index with the centroids of the old one, which encodes as it does."""
    faiss = load_faiss()
    kept = empty_index(spec.factory, old.d)
    kept.quantizer.add(old.quantizer.reconstruct_n(0, int(old.nlist)))
    faiss.copy_array_to_vector(faiss.vector_to_array(old.sq.trained), kept.sq.trained)
    kept.by_residual, kept.is_trained = old.by_residual, True
    return kept


def _parts(positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for first in range(0, positions.size, _ROWS_AT_ONCE):
        yield positions[first : first + _ROWS_AT_ONCE]
