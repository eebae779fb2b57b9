"""Rows of a catalogue that are kept aside while it is read, so that they need not be read twice."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO

import polars as pl
import pyarrow as pa

# A feed of which more differs is read a second time instead.
_MAX_BYTES = 2**30


class RowSpool:
    """Rows in a file in TMPDIR without a name, which goes with this object."""

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._file: IO[bytes] = TemporaryFile(prefix="ubm-embed-")  # noqa: SIM115 (it lives as long as this object)
        weakref.finalize(self, self._file.close)
        self._writer: pa.RecordBatchStreamWriter | None = None
        self._schema: pa.Schema | None = None
        self._max_bytes = max_bytes

    def add(self, rows: pl.DataFrame) -> bool:
        """Whether rows, whose columns are always the same, were kept: not if there are too many."""
        table = rows.to_arrow()
        if self._writer is None:
            self._schema = table.schema
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_stream(self._file, table.schema, options=options)
        self._writer.write_table(table.cast(self._schema))
        return self._file.tell() <= self._max_bytes

    def batches(self) -> Iterator[pl.DataFrame]:
        """All rows in order, as they were added."""
        if self._writer is None:
            return
        self._writer.close()
        self._file.seek(0)
        for batch in pa.ipc.open_stream(self._file):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame), "a batch has columns"
            yield frame
