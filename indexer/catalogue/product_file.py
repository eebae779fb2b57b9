"""The products of a version as an Arrow file, mapped: a row costs microseconds and memory is shared by processes.

Every part is checked in full before its first use, so that a damaged file is an error and not a crash.

Letters: M products, K positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.store.table_schema import POPULARITY
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.arrow_arrays import numbers
from ubm_embed.errors import InvalidData

PRODUCTS_FILE = "products.arrow"
# In the file's metadata: the rows of every record batch but the last.
ROWS_PER_BATCH_KEY = b"ubm_embed.rows_per_batch"
# Checked batches that are kept, some kilobytes each beside what is mapped.
_MAX_BATCHES = 8192


class ProductFile:
    """Products by position.

    Args:
        file: as `catalogue_writer` writes it. It may be removed once it is mapped.
        count: M.
        popularity: of each product, instead of the file's: [M]. None for the file's.

    Raises:
        InvalidData: from any method: the file is damaged.
    """

    def __init__(self, file: Path, count: int, popularity: NDArray[np.int64] | None = None) -> None:
        self.file = file
        self._popularity = popularity
        try:
            self._reader = pa.ipc.open_file(pa.memory_map(str(file)))
            self.schema: pa.Schema = self._reader.schema
            self._rows_per_batch = int(self.schema.metadata[ROWS_PER_BATCH_KEY])
            self._names: list[str] = self.schema.names
            _read_names(self.schema)
            ids = self.schema.field("product_id").type
        except FileNotFoundError:
            raise InvalidData("missing; the store is damaged", file=file) from None
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from None
        if not (pa.types.is_string(ids) or pa.types.is_large_string(ids)) or self._rows_per_batch < 1:
            raise self._damaged("it has other columns than products have")
        if self._reader.num_record_batches != -(-count // self._rows_per_batch):
            raise self._damaged(f"its parts do not hold {count:,} products")
        self._count = count
        self._batches: dict[int, dict[str, pa.Array]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return self._count

    def values(self, column: str, positions: Iterable[int]) -> list[Any]:
        """A column's values at these positions, as Python has them: [K]."""
        if column == POPULARITY and self._popularity is not None:
            return [int(self._popularity[position]) for position in positions]
        places = [self._at(position) for position in positions]
        try:
            return [columns[column][row].as_py() for columns, row in places]
        except (OverflowError, ValueError):
            return [as_python(columns[column][row]) for columns, row in places]

    def popularity(self, positions: IntArray) -> IntArray:
        """How often the products at these positions were chosen: [K]."""
        if self._popularity is not None:
            return self._popularity[positions]
        if POPULARITY not in self._names:
            return np.zeros(len(positions), np.int64)
        return np.array([count or 0 for count in self.values(POPULARITY, positions.tolist())], np.int64)

    def rows(self, columns: Sequence[str], positions: Iterable[int]) -> list[dict[str, Any]]:
        """Values of these columns by name, at these positions: [K]."""
        try:
            return [python_row(batch, columns, row) for batch, row in map(self._at, positions)]
        except KeyError as error:
            raise self._damaged(f"it has no column {error}") from None

    def column(self, name: str) -> pa.ChunkedArray:
        """All values of a column: [M], without a copy."""
        at, kind = self.schema.get_field_index(name), self.schema.field(name).type
        if name == POPULARITY and self._popularity is not None:
            return pa.chunked_array([numbers(self._popularity, kind)])
        chunks = [self._read_batch(batch).column(at) for batch in range(self._reader.num_record_batches)]
        self._check(*chunks)
        return pa.chunked_array(chunks, kind)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """All values of these columns, without a copy."""
        return pa.table({name: self.column(name) for name in columns})

    def _at(self, position: int) -> tuple[dict[str, pa.Array], int]:
        """The batch that holds a position, and its row there."""
        number, row = divmod(int(position), self._rows_per_batch)
        columns = self._batches.get(number)
        if columns is None:
            batch = self._read_batch(number)
            self._check(batch)
            if len(self._batches) >= _MAX_BATCHES:
                self._batches = {}
            columns = self._batches[number] = dict(zip(self._names, batch.columns, strict=True))
        return columns, row

    def _read_batch(self, number: int) -> pa.RecordBatch:
        try:
            with self._lock:
                batch = self._reader.get_batch(number)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None
        if batch.num_rows != min(self._rows_per_batch, self._count - number * self._rows_per_batch):
            raise self._damaged(f"part {number + 1} has {batch.num_rows:,} products")
        return batch

    def _check(self, *parts: pa.RecordBatch | pa.Array) -> None:
        """Check lengths, offsets and UTF-8: Arrow trusts what it maps, and would read outside of it."""
        try:
            for part in parts:
                part.validate(full=True)
        except pa.ArrowException as error:
            raise self._damaged(error) from None

    def _damaged(self, why: Exception | str) -> InvalidData:
        first = str(why).partition("\n")[0]
        return InvalidData(f"truncated or damaged, or not a file of products: {first}", file=self.file)


def _read_names(fields: Iterable[pa.Field]) -> None:
    """Read the names of fields and of those within them: Arrow reads them only when they are asked for."""
    for field in fields:
        _ = field.name
        _read_names(field.type.field(number) for number in range(field.type.num_fields))


def python_row(batch: Mapping[str, pa.Array], columns: Sequence[str], row: int) -> dict[str, Any]:
    """The values of a row by column, as Python has them."""
    try:
        return {name: batch[name][row].as_py() for name in columns}
    except (OverflowError, ValueError):
        return {name: as_python(batch[name][row]) for name in columns}


def as_python(value: pa.Scalar) -> Any:
    """A value as Python has it; None for a time beyond its range, such as a day of the year 10,000."""
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return None
