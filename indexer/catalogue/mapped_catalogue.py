"""A version's products, read from the version's files by mapping them.

Letters: M products.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.catalogue_writer import POPULAR_FILE, POPULARITY_FILE, write_catalogue
from indexer.catalogue.column_codes import ColumnCodes, encoded
from indexer.catalogue.column_copies import ColumnCopies
from indexer.catalogue.filters import Filters
from indexer.catalogue.ordered_search import OrderedSearch
from indexer.catalogue.product_file import PRODUCTS_FILE, ProductFile
from indexer.catalogue.product_ids import ID_HASHES_FILE, ID_POSITIONS_FILE, ProductIds, mapped_array
from indexer.catalogue.single_flight_cache import SingleFlightCache
from indexer.index.selection import Selection
from indexer.store.table_schema import POPULARITY
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.session import Product
from ubm_embed.errors import InvalidData
from ubm_embed.file_guard import FileGuard

CATALOGUE_FILES = (PRODUCTS_FILE, ID_HASHES_FILE, ID_POSITIONS_FILE, POPULAR_FILE)
PRODUCT_COLUMNS = ("product_id", "title", "category", "attributes")

_CODES_BYTES = 2**27


class MappedCatalogue:
    """A `Catalogue` over the files that `catalogue_writer` writes. Opening it does not grow with the products.

    The files may be removed while it is open.

    Args:
        folder: of the files.
        count: M.
        guard: watches the files.
        own: as of `open`.

    Raises:
        InvalidData: a file is missing, truncated, damaged or of other products; also from any method.
    """

    def __init__(self, folder: Path, count: int, guard: FileGuard, own: Path | None = None) -> None:
        self._guard = guard
        self._products = ProductFile(folder / PRODUCTS_FILE, count, _popularity(own or folder, count))
        self._ids = ProductIds(folder, self._products)
        self._popular_file = (own or folder) / POPULAR_FILE
        self._popular = mapped_array(self._popular_file, np.dtype("<i8"))
        # Nothing refers back to the catalogue: it is freed when it is dropped, not when Python next looks for cycles.
        self._filters = Filters(count, ColumnCopies(self._products).positions_where, self.columns)
        self._codes = SingleFlightCache[str, ColumnCodes](_CODES_BYTES, lambda codes: codes.nbytes)

    @classmethod
    def open(cls, folder: Path, count: int, others: Iterable[Path] = (), own: Path | None = None) -> Self:
        """The catalogue of M products in a folder.

        Args:
            others: further files that `require_unchanged` watches.
            own: the folder of a version that shares the files of the folder, with a popularity of its own.
        """
        files = [own / name if own and name == POPULAR_FILE else folder / name for name in CATALOGUE_FILES]
        if missing := [file for file in files if not file.is_file()]:
            raise InvalidData("missing; the store is damaged", file=missing[0])
        popularity = (own or folder) / POPULARITY_FILE
        watched = [*files, *([popularity] if popularity.is_file() else []), *others]
        return cls(folder, count, FileGuard(dict.fromkeys(watched)), own)

    @classmethod
    def from_batches(cls, schema: pa.Schema, batches: Iterable[pa.RecordBatch], others: Iterable[Path] = ()) -> Self:
        """The catalogue of these rows, through files in TMPDIR that are removed at once: as `write_catalogue`."""
        with TemporaryDirectory(prefix="ubm-embed-") as folder:
            count = write_catalogue(Path(folder), schema, batches)
            return cls.open(Path(folder), count, others)

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """The catalogue of a table in memory."""
        return cls.from_batches(table.schema, table.to_batches())

    def __len__(self) -> int:
        return len(self._products)

    @cached_property
    def columns(self) -> Sequence[str]:
        """As `Catalogue`."""
        return list(self._products.schema.names)

    @property
    def file(self) -> Path:
        """The file of its rows."""
        return self._products.file

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        return self._products.schema

    @property
    def visible(self) -> Selection | None:
        """As `Catalogue`: all."""
        return None

    def revised(self, product_id: str) -> Hashable | None:
        """As `Catalogue`: nothing is."""
        del product_id
        return None

    def revised_rows(self, positions: Iterable[int]) -> Set[int]:
        """As `Catalogue`: none."""
        del positions
        return frozenset()

    def find(self, product_ids: Iterable[str]) -> Mapping[str, int]:
        """As `Catalogue`."""
        return self._ids.find(product_ids)

    def find_all(self, product_ids: pa.Array) -> NDArray[np.int64]:
        """The position of each id, -1 for those that are not there; a million within a second or two: [K]."""
        return self._ids.find_all(product_ids)

    def ordered_search(self) -> OrderedSearch:
        """A search for the ids of a whole catalogue, which mostly come in the order of the products."""
        return OrderedSearch(self._ids)

    def products(self, positions: Iterable[int]) -> dict[int, Product]:
        """As `Catalogue`."""
        distinct = list(dict.fromkeys(positions))
        rows = self._products.rows(PRODUCT_COLUMNS, distinct)
        try:
            return dict(zip(distinct, map(product_of, rows), strict=True))
        except (KeyError, TypeError, AttributeError):
            raise InvalidData("damaged: its attributes are no names and values", file=self._products.file) from None

    def rows(self, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
        """As `Catalogue`."""
        distinct = list(dict.fromkeys(positions))
        return dict(zip(distinct, self._products.rows(self._shown, distinct), strict=True))

    def values(self, column: str, positions: IntArray) -> Sequence[Any]:
        """As `Catalogue`."""
        return self._products.values(column, positions.tolist())

    def popularity(self, positions: IntArray) -> IntArray:
        """How often the products at these positions were chosen: [K]."""
        return self._products.popularity(positions)

    def codes(self, column: str) -> NDArray[np.int32]:
        """As `Catalogue`. The codes of the columns that were used last are kept."""
        return self.encoded(column).codes

    def encoded(self, column: str) -> ColumnCodes:
        """As `codes`, and what they stand for."""
        return self._codes.get(column, lambda: encoded(self._products.column(column)))

    def where(self, condition: str) -> Selection:
        """As `Catalogue`. The selections of the conditions that were used last are kept."""
        return self._filters.where(condition)

    @cached_property
    def popular(self) -> NDArray[np.int64]:
        """As `Catalogue`."""
        if self._popular.size and not 0 <= self._popular.min() <= self._popular.max() < len(self):
            raise InvalidData("damaged: it names products that are not there", file=self._popular_file)
        return self._popular

    def table(self, columns: Sequence[str]) -> pa.Table:
        """All values of these columns, without a copy."""
        return self._products.table(columns)

    def require_unchanged(self) -> None:
        """As `Catalogue`."""
        self._guard.require_unchanged()

    def close(self) -> None:
        """Release the files once nothing reads them any more."""
        self._guard.close()

    @cached_property
    def _shown(self) -> list[str]:
        return shown_columns(self.columns)


def shown_columns(columns: Iterable[str]) -> list[str]:
    """Those of the columns that a match shows."""
    return [name for name in columns if name not in ("attributes", POPULARITY)]


def product_of(row: Mapping[str, Any]) -> Product:
    """A product as the model reads it, by the values of its columns."""
    pairs = tuple((pair["name"] or "", pair["value"] or "") for pair in row["attributes"] or ())
    return Product(row["title"] or "", row["category"], pairs, row["product_id"])


def _popularity(folder: Path, count: int) -> NDArray[np.int64] | None:
    """The popularity that a folder has beside the products; None if it has none."""
    file = folder / POPULARITY_FILE
    return mapped_array(file, np.dtype("<i8"), count) if file.is_file() else None
