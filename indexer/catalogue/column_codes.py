"""Numbers for the values of a column, so that equal values are found by comparing integers.

Letters: M products.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MISSING = -1


def codes_of(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """A number for each value: [M]. Equal values have equal numbers; a missing one has -1."""
    if pa.types.is_null(column.type):
        return np.full(len(column), MISSING, np.int32)
    if pa.types.is_nested(column.type):
        values = _structs_as_bytes(column) if pa.types.is_struct(column.type) else _lists_as_bytes(column)
        codes = codes_of(pa.chunked_array([values]))
        codes[column.is_null().to_numpy()] = MISSING
        return codes
    encoded = column.dictionary_encode()  # all chunks by the same dictionary
    return _joined(chunk.indices.fill_null(MISSING) for chunk in encoded.chunks)


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
