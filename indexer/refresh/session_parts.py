"""The interactions of a file in parts that have whole sessions, read as often as they are iterated over.

A log of some million rows is one part, in memory. A longer one is first divided by session into parts of that size, in
files in TMPDIR, so that a session's rows are together however they are spread over the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa

from ubm_embed.data.corpus import read_interactions
from ubm_embed.data.interactions import in_order, scan_interactions
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_files

# Of some 100 bytes each.
ROWS_IN_MEMORY = 2_000_000
_MAX_PARTS = 256
_BATCH_ROWS = 100_000
_COLUMNS = ("session_id", "position", "action", "product_id")


class SessionParts:
    """Parts of a log, each with all rows of its sessions in their order.

    Args:
        frame: the log, if it is in memory.
        files: of its parts, if it is not.
    """

    def __init__(self, frame: pl.DataFrame | None = None, files: Sequence[Path] = ()) -> None:
        self._frame, self._files = frame, files

    def __len__(self) -> int:
        return len(self._files) if self._frame is None else 1

    def __iter__(self) -> Iterator[pl.DataFrame]:
        if self._frame is not None:
            yield self._frame
        for file in self._files:
            if (rows := pl.read_ipc_stream(file)).height:
                yield in_order(rows)

    def product_ids(self) -> Iterator[pl.Series]:
        """The distinct products of each part."""
        columns = [self._frame["product_id"]] if self._frame is not None else map(_product_ids, self._files)
        for column in columns:
            yield column.drop_nulls().unique()


def _product_ids(file: Path) -> pl.Series:
    return pl.read_ipc_stream(file, columns=["product_id"])["product_id"]


@contextmanager
def session_parts(interactions: str | Path, rows_in_memory: int = ROWS_IN_MEMORY) -> Iterator[SessionParts]:
    """The parts of a file of interactions, for as long as the block lasts.

    Args:
        rows_in_memory: a longer file is divided.

    Raises:
        NotFound, InvalidData: as `read_interactions`.
    """
    files = table_files(interactions)
    (rows,) = collect_tables([scan_table(interactions).select(pl.len())], files)
    parts = min(_MAX_PARTS, -(-int(rows.item()) // rows_in_memory))
    if parts <= 1:
        yield SessionParts(read_interactions(interactions))
        return
    with TemporaryDirectory(prefix="ubm-embed-") as folder:
        yield SessionParts(files=_divided(interactions, Path(folder), parts))


def _divided(interactions: str | Path, folder: Path, parts: int) -> list[Path]:
    """The files of this number of parts."""
    frame = scan_interactions(interactions).select(_COLUMNS)
    schema = frame.collect_schema().to_frame().to_arrow().schema
    files = [folder / f"{part}.arrow" for part in range(parts)]
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(str(file), schema)) for file in files]
        for batch in frame.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
            part_of = batch["session_id"].hash(seed=0) % parts
            for part, writer in enumerate(writers):
                writer.write_table(batch.filter(part_of == part).to_arrow().cast(schema))
    return files
