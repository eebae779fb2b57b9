"""Products found by id, through files of sorted hashes that are mapped.

Letters: M products.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.id_hashes import id_hashes
from indexer.catalogue.product_file import ProductFile
from ubm_embed.data.arrays import BoolArray, IntArray, evenly_spaced
from ubm_embed.data.arrow_arrays import mask, numbers
from ubm_embed.errors import InvalidData

ID_HASHES_FILE, ID_POSITIONS_FILE = "id_hashes.npy", "id_positions.npy"
_SAMPLE = 4
# With at least this many ids, comparing all of them at once is faster than one by one.
_MANY = 512


class ProductIds:
    """Positions by product id.

    Args:
        folder: with both files, as `catalogue_writer` writes them.
        products: which they belong to: equal hashes are told apart by the ids themselves.

    Raises:
        InvalidData: from any method: a file is missing or damaged, or belongs to other products.
    """

    def __init__(self, folder: Path, products: ProductFile) -> None:
        self._products = products
        self._file = folder / ID_HASHES_FILE
        self._hashes = mapped_array(self._file, np.dtype("<u8"), len(products))
        self._positions = mapped_array(folder / ID_POSITIONS_FILE, np.dtype("<u4"), len(products))
        self._require_sample()

    def find(self, product_ids: Iterable[str]) -> dict[str, int]:
        """Positions by id, of the products that are there."""
        names = list(dict.fromkeys(product_ids))
        if not names or not self._hashes.size:
            return {}
        wanted = id_hashes(names)
        ranks = np.searchsorted(self._hashes, wanted)
        hits = np.flatnonzero(self._hashes[np.minimum(ranks, self._hashes.size - 1)] == wanted)
        positions = self._positions_at(ranks[hits])
        found = {}
        for hit, position, there in zip(hits, positions, self._products.values("product_id", positions), strict=True):
            name = names[hit]
            same = position if there == name else self._after(name, int(ranks[hit]))
            if same is not None:
                found[name] = same
        return found

    def find_all(self, product_ids: pa.Array, hashes: NDArray[np.uint64] | None = None) -> NDArray[np.int64]:
        """The position of each id, -1 for those that are not there: [K].

        Args:
            hashes: of the ids, if they are known: [K].
        """
        names = product_ids.to_pylist()
        if len(names) < _MANY or not self._hashes.size:
            by_name = self.find(names)
            return np.array([by_name.get(name, -1) for name in names], np.int64)
        wanted, found = id_hashes(names) if hashes is None else hashes, np.full(len(names), -1, np.int64)
        order = np.argsort(wanted)  # in order, each finds in the processor's cache what the one before has read
        ranks = np.empty(len(names), np.int64)
        ranks[order] = np.searchsorted(self._hashes, wanted[order])
        hits = np.flatnonzero(self._hashes[np.minimum(ranks, self._hashes.size - 1)] == wanted)
        found[hits] = self._positions_at(ranks[hits])
        for hit in hits[self._differ(product_ids, hits, found[hits])].tolist():
            after = self._after(names[hit], int(ranks[hit]))
            found[hit] = -1 if after is None else after
        return found

    def _differ(self, product_ids: pa.Array, rows: IntArray, positions: IntArray) -> BoolArray:
        """Whether these ids are others than those at these positions: [K]."""
        import pyarrow.compute as pc  # only those who look for many ids need it

        if not positions.size:
            return np.empty(0, bool)
        first = int(positions.min())  # Arrow copies all that it takes a part of
        there = self.column.slice(first, int(positions.max()) - first + 1).take(numbers(positions - first))
        differ = pc.not_equal(there, product_ids.take(numbers(rows)).cast(there.type))
        return np.concatenate([mask(chunk) for chunk in differ.chunks])

    @cached_property
    def column(self) -> pa.ChunkedArray:
        """All ids by position: [M], without a copy."""
        return self._products.column("product_id")

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """Of all ids, by position: [M]."""
        if self._positions.size and self._positions.max() >= len(self._products):
            raise self._damaged()
        hashes = np.zeros(len(self._products), np.uint64)
        hashes[self._positions] = self._hashes
        return hashes

    def _after(self, name: str, rank: int) -> int | None:
        """The position of an id that has the hash at a rank, but another id stands there: it is one of the next."""
        last = np.searchsorted(self._hashes, self._hashes[rank], side="right")
        positions = self._positions_at(np.arange(rank + 1, last))
        ids = self._products.values("product_id", positions)
        return next((position for position, there in zip(positions, ids, strict=True) if there == name), None)

    def _positions_at(self, ranks: IntArray) -> list[int]:
        positions = self._positions[ranks]
        if positions.size and positions.max() >= len(self._products):
            raise self._damaged()
        found: list[int] = positions.tolist()
        return found

    def _require_sample(self) -> None:
        positions = evenly_spaced(len(self._products), _SAMPLE).tolist()
        expected = dict(zip(self._products.values("product_id", positions), positions, strict=True))
        if self.find(expected) != expected:
            raise self._damaged()

    def _damaged(self) -> InvalidData:
        return InvalidData(f"damaged: it does not find the ids of {self._products.file.name}", file=self._file)


def mapped_array(file: Path, dtype: np.dtype[Any], count: int | None = None) -> NDArray[Any]:
    """An array of one dimension that numpy saved, mapped for reading.

    Args:
        count: its length, if that is known.

    Raises:
        InvalidData: the file is missing or damaged, or holds another array.
    """
    try:
        # As a plain array: indexing numpy's own class for mapped ones takes ten times as long.
        array = np.asarray(np.lib.format.open_memmap(file, mode="r"))
    except FileNotFoundError:
        raise InvalidData("missing; the store is damaged", file=file) from None
    except Exception as error:  # numpy reads the header as Python, which fails in many ways
        raise InvalidData(f"truncated or damaged: {str(error).partition(chr(10))[0]}", file=file) from None
    if array.dtype != dtype or array.ndim != 1 or count not in (None, array.size):
        expected = f"{'some' if count is None else format(count, ',')} numbers of type {dtype}"
        raise InvalidData(f"damaged: expected {expected}, got {array.shape} of type {array.dtype}", file=file)
    return array
