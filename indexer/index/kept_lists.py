"""An index that is kept up: that of an earlier version without the vectors that are gone, and with those that are new.

Codes are copied as they are: no vector that stays is decoded, read from the table, or assigned to a list again. Nor are
they ever all in memory.

Letters: M vectors, N of them added, L lists, D width.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from indexer.index.faiss_backend import FaissBackend
from indexer.index.faiss_factory import empty_index, load_faiss
from indexer.index.index_file import IndexWriter, write_index
from indexer.index.kinds import FLAT, FP16, IVF_FP16, IVF_SQ8, IndexSpec
from indexer.index.listed_vectors import ListLayout
from indexer.index.vector_index import VectorIndex
from ubm_embed.data.arrays import FloatArray, IntArray, offsets_of

KEPT_KINDS = (FLAT, FP16, IVF_FP16, IVF_SQ8)
_ROWS_AT_ONCE = 8192
# What FAISS writes of an index without lists, in their place.
_NO_LISTS = b"il00"

# Vectors at these new positions: [K] -> [K, D].
AddedVectors = Callable[[NDArray[np.int64]], FloatArray]


def keep_up(index: VectorIndex, old_positions: IntArray, added: AddedVectors, file: Path) -> bool:
    """Write an index over M vectors, those of an earlier index among them; whether its kind can be kept up.

    Kinds with links, with codes that are learned, on disk or of a factory string are built anew instead.

    Args:
        index: the earlier one.
        old_positions: where each vector is in the earlier one, -1 for those that are added: [M]. No position twice.
        added: the vectors of those.
        file: as `VectorIndex.load` reads it, with the spec of the earlier one. Not the mapped file of that one.

    Raises:
        OSError: as of any write.
    """
    backend, spec = index.backend, index.spec
    if spec.kind not in KEPT_KINDS or not isinstance(backend, FaissBackend):
        return False
    old = backend.faiss_index
    if spec.kind in (FLAT, FP16):
        write_index(_kept_codes(old, spec, old_positions, added), file)
    else:
        _write_lists(old, spec, old_positions, _AddedCodes.encode(old, old_positions, added), file)
    return True


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
    for first in range(0, len(old_positions), _ROWS_AT_ONCE):
        positions = np.arange(first, min(first + _ROWS_AT_ONCE, len(old_positions)))
        before = old_positions[positions]
        part, is_new = (
            codes[np.maximum(before, 0)] if len(codes) else np.empty((before.size, size), np.uint8),
            before < 0,
        )
        if is_new.any():
            part[is_new] = kept.sa_encode(np.ascontiguousarray(added(positions[is_new]), np.float32))
        kept.add_sa_codes(part)
    return kept


@dataclass(frozen=True)
class _AddedCodes:
    """Vectors that are added, as an index of lists stores them, in the order of the lists.

    Attributes:
        positions: [N].
        codes: [N, bytes].
        offsets: where each list begins among them: [L + 1].
    """

    positions: NDArray[np.int64]
    codes: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def encode(cls, old: Any, old_positions: IntArray, added: AddedVectors) -> Self:
        """Those at the positions that are new, in the lists of the nearest centroids."""
        new, size, whole = np.flatnonzero(old_positions < 0), int(old.code_size), int(old.sa_code_size())
        coded = np.empty((new.size, whole), np.uint8)
        for first in range(0, new.size, _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            coded[part] = old.sa_encode(np.ascontiguousarray(added(new[part]), np.float32))
        # The number of the list stands before each code, in as many bytes as it needs.
        numbers = np.zeros((new.size, 8), np.uint8)
        numbers[:, : whole - size] = coded[:, : whole - size]
        lists = numbers.view("<i8").ravel()
        order = np.argsort(lists, kind="stable")
        offsets = offsets_of(np.bincount(lists, minlength=int(old.nlist)))
        return cls(new[order], np.ascontiguousarray(coded[order, whole - size :]), offsets)


def _write_lists(old: Any, spec: IndexSpec, old_positions: IntArray, added: _AddedCodes, file: Path) -> None:
    """Write an index with what stays of each list at its new positions, and after it what is added: list by list."""
    old_lists, nlist, size = old.invlists, int(old.nlist), int(old.code_size)
    now = np.full(int(old.ntotal), -1, np.int32)
    known = np.flatnonzero(old_positions >= 0)
    now[old_positions[known]] = known
    kept = [now[_ids_of(old_lists, number)] for number in range(nlist)]
    sizes = np.array([np.count_nonzero(positions >= 0) for positions in kept]) + np.diff(added.offsets)
    direct_map = np.empty(len(old_positions), np.int64)
    with file.open("wb") as stream:
        writer = IndexWriter(stream.write)
        writer.write(_header(old, spec, len(old_positions), sizes))
        for number, positions in enumerate(kept):
            stays, new = positions >= 0, slice(added.offsets[number], added.offsets[number + 1])
            positions = np.concatenate([positions[stays], added.positions[new]])
            direct_map[positions] = (number << 32) + np.arange(positions.size)
            for part in (
                _codes_of(old_lists, number, size)[stays],
                added.codes[new],
                positions.astype("<i8", copy=False),
            ):
                writer.write(part.data.cast("B") if part.size else b"")
        writer.finish(ListLayout(direct_map, nlist, size + 8))


def _ids_of(lists: Any, number: int) -> NDArray[np.int64]:
    count = int(lists.list_size(number))
    ids = load_faiss().rev_swig_ptr(lists.get_ids(number), count) if count else np.empty(0, np.int64)
    return np.asarray(ids, np.int64)


def _codes_of(lists: Any, number: int, size: int) -> NDArray[np.uint8]:
    count = int(lists.list_size(number))
    codes = load_faiss().rev_swig_ptr(lists.get_codes(number), count * size) if count else np.empty(0, np.uint8)
    return np.asarray(codes, np.uint8).reshape(count, size)


def _header(old: Any, spec: IndexSpec, count: int, sizes: NDArray[np.int64]) -> bytes:
    """What stands before the codes in a file of FAISS: an index with the centroids of the old one, and its sizes.

    FAISS would write a whole index only, of which all lists have to be in memory; what it writes of one without lists
    is the same up to these. A test compares both files byte by byte.
    """
    faiss = load_faiss()
    empty = empty_index(spec.factory, old.d)
    empty.quantizer.add(old.quantizer.reconstruct_n(0, int(old.nlist)))
    faiss.copy_array_to_vector(faiss.vector_to_array(old.sq.trained), empty.sq.trained)
    empty.by_residual, empty.nprobe, empty.is_trained, empty.ntotal = old.by_residual, old.nprobe, True, count
    empty.replace_invlists(None)
    start = faiss.serialize_index(empty).tobytes().removesuffix(_NO_LISTS)
    filled = np.flatnonzero(sizes)
    if filled.size > sizes.size // 2:
        kind, numbers = b"full", sizes
    else:
        kind, numbers = b"sprs", np.stack([filled, sizes[filled]], axis=1).ravel()
    fields = struct.pack("<QQ4sQ", sizes.size, int(old.code_size), kind, numbers.size)
    return b"".join([start, b"ilar", fields, numbers.astype("<u8").tobytes()])
