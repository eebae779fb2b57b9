"""Numbers for the values of a column, so that equal values are found by comparing integers.

Letters: M products.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.product_file import as_python

MISSING = -1


def codes_of(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """A number for each value: [M]. Equal values have equal numbers; a missing one has -1."""
    if pa.types.is_nested(column.type) or pa.types.is_null(column.type):
        return _codes_of_nested(column)
    encoded = column.dictionary_encode()  # all chunks by the same dictionary
    chunks = (chunk.indices.fill_null(MISSING).to_numpy(zero_copy_only=False) for chunk in encoded.chunks)
    return np.concatenate([np.empty(0, np.int32), *chunks], dtype=np.int32)


def _codes_of_nested(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """Codes of lists and structs, which Arrow does not number: equal ones have the same `repr`."""
    seen: dict[str, int] = {}
    codes = np.full(len(column), MISSING, np.int32)
    for row, value in enumerate(column):
        if value.is_valid:
            codes[row] = seen.setdefault(repr(as_python(value)), len(seen))
    return codes
