"""A FAISS index in a file that is mapped instead of read, so that processes that search it share its pages.

FAISS reads such a file as one of its own, and ignores what follows: the direct map of an index of lists, which FAISS
would copy into the memory of each process, and a footer. A file without a footer, of older software, is read.

    list_starts  [L] int64    where the codes of each list begin in the file
    direct_map   [M] int64    of each vector: 2^32 times its list, plus its index in the list
    footer                    a mark, how many bytes FAISS wrote, L, M, and a checksum of the first bytes

FAISS does not survive a mapped file that was cut short, so the footer and the length are checked before.

Letters: M vectors, L lists.
"""

from __future__ import annotations

import mmap
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from indexer.index.faiss_factory import load_faiss
from indexer.index.listed_vectors import ListedVectors, ListLayout, has_listed_codes
from ubm_embed.data.arrays import FloatArray
from ubm_embed.errors import InvalidData

_FOOTER = struct.Struct("<8sQQQQ")
_MARK = b"UBMINDEX"
# Covers everything but the vectors of up to a million vectors of width 256 in lists, in about 10 ms.
_CHECKED_BYTES = 5 * 2**20
_NOTHING = np.empty(0, np.int64)
# FAISS maps files on these systems only.
_CAN_MAP = sys.platform in ("linux", "win32")


class IndexFile(NamedTuple):
    """An index, and the mapped file that its vectors are in.

    Attributes:
        index: FAISS's.
        lists: its vectors by position, if the index itself does not know where they are.
        mapped: the file; None if the index was read into memory.
        path: where it is; None if the index was built here.
    """

    index: Any
    lists: ListedVectors | None = None
    mapped: mmap.mmap | None = None
    path: Path | None = None

    def vectors(self, positions: NDArray[np.int64]) -> FloatArray:
        """Vectors at these positions: [K] -> [K, D].

        Raises:
            InvalidData: the file is damaged.
        """
        if self.lists is None:
            vectors: FloatArray = self.index.reconstruct_batch(positions)
            return vectors
        try:
            return self.lists.vectors(positions)
        except IndexError:
            raise self.damaged("its direct map leads out of it") from None

    def damaged(self, why: str) -> InvalidData:
        """The error for an index whose content is wrong."""
        return InvalidData(f"damaged: {why}; see: ubm-embed doctor", file=self.path)

    def require_whole(self) -> None:
        """Raise `InvalidData` if the mapped file was cut short: reading the lost part would end the process."""
        if self.mapped is not None and self.mapped.size() < len(self.mapped):
            problem = "was cut short while it was in use; see: ubm-embed doctor, and open the store again"
            raise InvalidData(problem, file=self.path)


class _Footer(NamedTuple):
    faiss_bytes: int
    nlist: int
    num_vectors: int
    checksum: int

    @classmethod
    def of(cls, mapped: mmap.mmap) -> Self | None:
        """The footer of a file; None if it has none that agrees with the file's length."""
        if len(mapped) < _FOOTER.size:
            return None
        mark, *numbers = _FOOTER.unpack_from(mapped, len(mapped) - _FOOTER.size)
        footer = cls(*numbers)
        length = footer.faiss_bytes + 8 * (footer.nlist + footer.num_vectors) + _FOOTER.size
        return footer if mark == _MARK and length == len(mapped) else None


class IndexWriter:
    """Passes what FAISS writes on to a file, and at the end adds what FAISS does not write."""

    def __init__(self, write: Callable[[bytes | memoryview], int]) -> None:
        self._write = write
        self.count, self.checksum = 0, 0

    def write(self, data: bytes | memoryview) -> int:
        """Count bytes, and compute the checksum of the first."""
        self.checksum = zlib.crc32(data[: max(_CHECKED_BYTES - self.count, 0)], self.checksum)
        self.count += len(data)
        return self._write(data)

    def finish(self, layout: ListLayout | None) -> None:
        """Write where the vectors are, if the index does not know that itself, and the footer."""
        starts = _NOTHING if layout is None else layout.starts(self.count)
        direct_map = _NOTHING if layout is None else layout.direct_map
        self._write(starts.astype("<i8", copy=False).data)
        self._write(direct_map.astype("<i8", copy=False).data)
        self._write(_FOOTER.pack(_MARK, *_Footer(self.count, len(starts), len(direct_map), self.checksum)))


def write_index(index: Any, file: str | Path, layout: ListLayout | None = None) -> None:
    """Write a FAISS index. No other thread may use one of lists meanwhile.

    Args:
        layout: where its vectors are, if it does not know that itself.

    Raises:
        OSError: as of any write; faiss itself would report a full disk as a RuntimeError.
    """
    faiss = load_faiss()
    listed = has_listed_codes(index) and layout is None
    layout = ListLayout.of(index) if listed else layout
    with open(file, "wb") as stream:
        writer = IndexWriter(stream.write)
        if listed:
            index.set_direct_map_type(faiss.DirectMap.NoMap)
        try:
            faiss.write_index(index, faiss.PyCallbackIOWriter(writer.write))
        finally:
            if listed:
                index.make_direct_map()
        writer.finish(layout)


def read_index(file: str | Path) -> IndexFile:
    """The index that a file holds, mapped if it has a footer.

    Raises:
        InvalidData: the file is missing, truncated or damaged.
    """
    if not Path(file).is_file():
        raise InvalidData("missing; the store is damaged", file=file)
    try:
        return _read(Path(file))
    # A damaged header may ask for any amount of memory, and a damaged map lead anywhere.
    except (RuntimeError, MemoryError, ValueError, IndexError):
        raise InvalidData("truncated or damaged; not an index that can be read", file=file) from None


def _read(file: Path) -> IndexFile:
    with open(file, "rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    footer = _Footer.of(mapped)
    if footer is None:
        return IndexFile(_read_all(file), path=file)
    if zlib.crc32(memoryview(mapped)[: min(footer.faiss_bytes, _CHECKED_BYTES)]) != footer.checksum:
        raise ValueError("the first bytes are not those that were written")
    faiss = load_faiss()
    index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC if _CAN_MAP else 0)
    if not footer.num_vectors:
        return IndexFile(index, None, mapped, file)
    numbers = np.frombuffer(mapped, "<i8", footer.nlist + footer.num_vectors, footer.faiss_bytes)
    lists = ListedVectors(index, mapped, numbers[: footer.nlist], numbers[footer.nlist :])
    lists.require_agreement()
    return IndexFile(index, lists, mapped, file)


def _read_all(file: Path) -> Any:
    """The index of a file without a footer, in memory."""
    faiss = load_faiss()
    with open(file, "rb") as stream:
        index = faiss.read_index(faiss.PyCallbackIOReader(stream.read))
        if stream.read(1):
            raise ValueError("something follows that FAISS did not write")
    if index.ntotal:
        index.reconstruct(0)  # fails without a direct map: it was cut off
    return index
