"""Arrow arrays from and to NumPy without pandas.

`pa.array` and `to_numpy` import pandas wherever it is installed, which takes half a second of a command's time, and
what computes, such as `is_null`, imports `pyarrow.compute`.

Letters: K values or rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray


def numbers(values: NDArray[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Numbers as an Arrow array of a type of numbers, by default 64-bit integers: [K]."""
    kind = pa.int64() if kind is None else kind
    stored = np.ascontiguousarray(values, kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, stored.size, [None, pa.py_buffer(stored)])


def vector(values: pa.Array) -> NDArray[Any]:
    """Numbers, none of them null: [K]."""
    dtype = np.dtype(values.type.to_pandas_dtype())
    return np.frombuffer(values.buffers()[1] or b"", dtype, len(values), values.offset * dtype.itemsize)


def mask(values: pa.BooleanArray) -> BoolArray:
    """Booleans, none of them null: [K]."""
    return _unpacked(values, values.buffers()[1] or b"")


def present(values: pa.Array) -> BoolArray:
    """Which values are not null: [K]."""
    bits = values.buffers()[0]
    return np.ones(len(values), bool) if bits is None else _unpacked(values, bits)


def _unpacked(values: pa.Array, bits: pa.Buffer | bytes) -> BoolArray:
    """The bits of the values in a buffer of an array: [K]."""
    unpacked = np.unpackbits(np.frombuffer(bits, np.uint8), count=values.offset + len(values), bitorder="little")
    return unpacked[values.offset :].astype(bool)


def matrix(vectors: pa.ChunkedArray, width: int) -> FloatArray:
    """The vectors in a column that are not null, of 32-bit numbers: [K, width]."""
    values = vectors.combine_chunks()
    stored, there = values.values, present(values)
    count = (values.offset + len(values)) * width
    rows = np.frombuffer(stored.buffers()[1] or b"", np.float32, count, 4 * stored.offset).reshape(-1, width)
    return rows[values.offset :] if there.all() else rows[values.offset :][there]


def taken(rows: pa.Table, at: IntArray) -> pa.Table:
    """These rows of a table, in this order: [K]."""
    return rows.take(numbers(at))
