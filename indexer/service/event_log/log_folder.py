"""A folder of Parquet files, each of them whole: written aside and renamed."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from indexer.service.event_log.log_rows import ANSWER_COLUMNS, EVENT_COLUMNS, LogRow
from ubm_embed.outputs import output_file

if TYPE_CHECKING:
    import pyarrow as pa

# A file that is written aside is renamed within seconds; an older one was left by a process that was killed.
_LEFTOVER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class LogFolder:
    """A folder with the files of one table.

    Attributes:
        columns: `EVENT_COLUMNS` or `ANSWER_COLUMNS`.
    """

    path: Path
    columns: tuple[str, ...]

    def batch(self, rows: Sequence[LogRow]) -> pa.RecordBatch:
        """Rows as columns.

        Raises:
            ArrowException, ArithmeticError, TypeError, ValueError: a value is not of its column's type.
        """
        import pyarrow as pa

        schema, columns = _schema(self.columns), zip(*(row.values for row in rows), strict=True)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
        return pa.record_batch(arrays, schema)

    def require_writable(self) -> None:
        """Return if files can be made here; the folder is made if it is not there.

        Raises:
            OSError: the system refuses it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self.path, prefix="."):
            pass

    def write(self, batches: Sequence[pa.RecordBatch]) -> Path:
        """A new file. Names sort by time, and no two processes, be it on two machines, share one.

        Raises:
            OSError: the system refuses it.
            Conflict: the folder is below a file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = self.path / _new_name()
        with output_file(file) as partial:
            pq.write_table(pa.Table.from_batches(batches, _schema(self.columns)), partial, compression="zstd")
        return file

    def clean(self) -> None:
        """Remove what processes left that were killed while they wrote."""
        for file in self.path.glob(".*.parquet.*.partial"):
            if time.time() - file.stat().st_mtime > _LEFTOVER_SECONDS:
                file.unlink(missing_ok=True)


def _new_name() -> str:
    now = time.time_ns() // 1_000
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 1_000_000))
    return f"{moment}.{now % 1_000_000:06}Z-{os.getpid()}-{uuid.uuid4().hex[:12]}.parquet"


@cache
def _schema(columns: tuple[str, ...]) -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    types = dict.fromkeys((*EVENT_COLUMNS, *ANSWER_COLUMNS), text) | {
        "timestamp": pa.timestamp("us", "UTC"),
        "attributes": pa.list_(pa.struct({"name": text, "value": text})),
        "version": pa.int64(),
        "product_ids": pa.list_(text),
        "scores": pa.list_(pa.float32()),
        "teams": pa.list_(pa.int8()),
        "k": pa.int32(),
        "took_ms": pa.float32(),
    }
    return pa.schema([(name, types[name]) for name in columns])
