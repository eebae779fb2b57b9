"""Numbers for the values of a column, so that equal values are found by comparing integers.

Letters: M products.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MISSING = -1


class ColumnCodes(NamedTuple):
    """The codes of a column.

    Attributes:
        codes: a number for each value, -1 for a missing one: [M].
        values: by their numbers; None for nested types.
    """

    codes: NDArray[np.int32]
    values: pa.Array | None

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.codes.nbytes + (0 if self.values is None else self.values.nbytes)


def encoded(column: pa.ChunkedArray) -> ColumnCodes:
    """The codes of a column and what they stand for."""
    if pa.types.is_nested(column.type) or pa.types.is_null(column.type):
        return ColumnCodes(codes_of(column), None)
    chunks = column.dictionary_encode().chunks  # all by the same dictionary
    codes = _joined(chunk.indices.fill_null(MISSING) for chunk in chunks)
    values = chunks[0].dictionary if chunks else pa.array([], column.type)
    return ColumnCodes(codes, values)


def codes_beside(known: ColumnCodes, column: pa.ChunkedArray) -> NDArray[np.int32]:
    """A number for each of further values: that of an equal known one, or a new one; -1 for a missing one: [K].

    Raises:
        ValueError: the type is nested, so that it is not known what the codes stand for.
    """
    import pyarrow.compute as pc  # readers without revisions do without it

    if known.values is None:
        raise ValueError("the values of nested codes are not known")
    added = encoded(column)
    numbers = pc.index_in(added.values, value_set=known.values).fill_null(MISSING).to_numpy()
    is_new = numbers == MISSING
    numbers = numbers.copy()
    numbers[is_new] = len(known.values) + np.arange(np.count_nonzero(is_new))
    return np.append(numbers, np.int32(MISSING))[added.codes]  # the code of a missing value takes the last one


def codes_of(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """A number for each value: [M]. Equal values have equal numbers; a missing one has -1."""
    if pa.types.is_null(column.type):
        return np.full(len(column), MISSING, np.int32)
    if pa.types.is_nested(column.type):
        values = _structs_as_bytes(column) if pa.types.is_struct(column.type) else _lists_as_bytes(column)
        codes = codes_of(pa.chunked_array([values]))
        codes[column.is_null().to_numpy()] = MISSING
        return codes
    return encoded(column).codes


# Arrow does not number lists and structs. The codes of what is in them are bytes, which it does.
def _structs_as_bytes(column: pa.ChunkedArray) -> pa.Array:
    codes = np.stack([codes_of(field) for field in column.flatten()], axis=1)
    return pa.Array.from_buffers(pa.binary(codes[:1].nbytes), len(column), [None, pa.py_buffer(codes)])


def _lists_as_bytes(column: pa.ChunkedArray) -> pa.Array:
    values = codes_of(pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type))
    if pa.types.is_fixed_size_list(column.type):
        lengths = column.type.list_size * column.is_valid().to_numpy().astype(np.int32)
    else:
        lengths = _joined(chunk.value_lengths().fill_null(0) for chunk in column.chunks)
    ends = np.cumsum(lengths, dtype=np.int64) * values.itemsize
    buffers = [None, pa.py_buffer(np.append(0, ends)), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.large_binary(), len(column), buffers)


def _joined(chunks: Iterable[pa.Array]) -> NDArray[np.int32]:
    arrays = [chunk.to_numpy(zero_copy_only=False) for chunk in chunks]
    return np.concatenate([np.empty(0, np.int32), *arrays], dtype=np.int32)
