"""The interactions of shoppers as a refresh reads them: how often each product was chosen, and what followed what.

A log of some million rows is counted in memory. A longer one is first divided by session into parts of that size, in
files in TMPDIR, so that a session's rows are together however they are spread over the log.

Letters: P products of the log, K products.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.id_hashes import id_hashes
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.corpus import read_interactions
from ubm_embed.data.interactions import in_order, scan_interactions
from ubm_embed.data.removals import taken_back
from ubm_embed.data.tables.json_files import open_text
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_files, table_kind
from ubm_embed.progress import Notice

# Alignment is measured on a sample of 1,000 pairs, so a long log's pairs need not all be kept.
_PAIRS = 10_000
_BLANK = 1 << 16
# Of some 100 bytes each.
_ROWS_IN_MEMORY = 2_000_000
_MAX_PARTS = 256
_BATCH_ROWS = 100_000
_COLUMNS = ("session_id", "position", "action", "product_id")


@dataclass(frozen=True)
class InteractionCounts:
    """Counts over a file of interactions.

    Attributes:
        hashes: of the ids of its products, sorted: [P].
        counts: number of interactions of each; what was taken back out of the cart does not count: [P].
        pairs: a sample of ids of products that follow one another in a session, as two columns; what was taken back
            follows nothing.
    """

    hashes: NDArray[np.uint64]
    counts: NDArray[np.int64]
    pairs: pl.DataFrame

    @classmethod
    def empty(cls) -> InteractionCounts:
        """The counts of no interactions."""
        pairs = pl.DataFrame(schema={"product_id": pl.String, "following": pl.String})
        return cls(np.empty(0, np.uint64), np.empty(0, np.int64), pairs)

    @classmethod
    def read(
        cls, interactions: str | Path, *, min_pairs: int = _PAIRS, rows_in_memory: int = _ROWS_IN_MEMORY
    ) -> InteractionCounts:
        """Count the interactions of a file.

        Args:
            min_pairs: pairs are taken evenly from the whole file, so that at least this many stay if there are more.
            rows_in_memory: a longer file is counted in parts.

        Raises:
            NotFound, InvalidData: as `read_interactions`.
        """
        files = table_files(interactions)
        (rows,) = collect_tables([scan_table(interactions).select(pl.len())], files)
        parts = min(_MAX_PARTS, -(-int(rows.item()) // rows_in_memory))
        if parts <= 1:
            return cls._of([read_interactions(interactions)], min_pairs)
        with TemporaryDirectory(prefix="ubm-embed-") as folder:
            return cls._of(_by_session(interactions, Path(folder), parts), -(-min_pairs // parts))

    @classmethod
    def _of(cls, parts: Iterator[pl.DataFrame] | list[pl.DataFrame], min_pairs: int) -> InteractionCounts:
        """The counts of parts that have whole sessions."""
        total, pairs = cls.empty(), [cls.empty().pairs]
        for part in parts:
            rows = part.filter(~taken_back(part) & pl.col("product_id").is_not_null())
            counted = rows.group_by("product_id").len("count")
            total = total.plus(id_hashes(counted["product_id"].to_list()), counted["count"].to_numpy())
            pairs.append(_sample(rows, min_pairs))
        return cls(total.hashes, total.counts, pl.concat(pairs))

    def plus(self, hashes: NDArray[np.uint64], counts: IntArray) -> InteractionCounts:
        """The sums with the counts of further products."""
        distinct, rows = np.unique(np.concatenate([self.hashes, hashes]), return_inverse=True)
        sums = np.zeros(distinct.size, np.int64)
        np.add.at(sums, rows, np.concatenate([self.counts, counts.astype(np.int64)]))
        return InteractionCounts(distinct, sums, self.pairs)

    def of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The count of each product, by the hash of its id: [K] -> [K]."""
        if not self.hashes.size:
            return np.zeros(hashes.size, np.int64)
        ranks = np.minimum(np.searchsorted(self.hashes, hashes), self.hashes.size - 1)
        return np.where(self.hashes[ranks] == hashes, self.counts[ranks], 0)


def _sample(rows: pl.DataFrame, min_pairs: int) -> pl.DataFrame:
    """Evenly spaced pairs of products that follow one another in a session, and differ."""
    following = pl.col("product_id").shift(-1).over("session_id")
    pairs = rows.select("product_id", following=following).filter(pl.col("product_id") != pl.col("following"))
    return pairs.gather_every(max(1, pairs.height // min_pairs))


def _by_session(interactions: str | Path, folder: Path, parts: int) -> Iterator[pl.DataFrame]:
    """The interactions of a file in this number of parts, each with all rows of its sessions in their order."""
    frame = scan_interactions(interactions).select(_COLUMNS)
    schema = frame.collect_schema().to_frame().to_arrow().schema
    files = [folder / f"{part}.arrow" for part in range(parts)]
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(str(file), schema)) for file in files]
        for batch in frame.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
            part_of = batch["session_id"].hash(seed=0) % parts
            for part, writer in enumerate(writers):
                writer.write_table(batch.filter(part_of == part).to_arrow().cast(schema))
    for file in files:
        rows = pl.read_ipc_stream(file)
        file.unlink()
        if rows.height:
            yield in_order(rows)


def read_counts(interactions: str | Path | None, notice: Notice) -> InteractionCounts | None:
    """The counts of a file of interactions; None without one, or if it has none, which is said.

    Raises:
        NotFound, InvalidData: as `read_interactions`.
    """
    if interactions is None:
        return None
    if _has_no_rows(Path(interactions)):
        notice(f"{interactions} has no interactions; popularity is as without --interactions")
        return None
    return InteractionCounts.read(interactions)


def _has_no_rows(path: Path) -> bool:
    files = table_files(path)
    if all(map(_is_blank, files)):
        return True
    (first,) = collect_tables([scan_table(path).head(1)], files)
    return first.is_empty()


def _is_blank(file: Path) -> bool:
    """Whether a file of text has nothing, or an empty JSON array."""
    if table_kind(file) == "Parquet":
        return False
    if file.stat().st_size == 0:
        return True
    with open_text(file) as stream:
        start = stream.read(_BLANK)
    return len(start) < _BLANK and start.strip().removeprefix("\ufeff").strip() in ("", "[]")
