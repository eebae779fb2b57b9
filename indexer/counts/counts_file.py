"""The counts of a version as an Arrow file, `counts.arrow`: one row a product in the index's order, mapped.

transitions    the entries of the product's row: {product: its position, value: 16 bits}, ascending by position
seen           how often the product was seen, as the bins of `ubm_embed.counts.ranking_weights.seen_bins`

The weights of the counts are in the schema's metadata.

Letters: M products, E entries, R products of a session, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.arrow_arrays import numbers, vector
from ubm_embed.data.mapped_batch import damaged, list_offsets, read_mapped_batch
from ubm_embed.errors import InvalidData

COUNTS_FILE = "counts.arrow"
_WHAT = "counts"
_WEIGHTS_KEY = b"ubm_embed.count_weights"
_ENTRY = pa.struct([pa.field("product", pa.int32(), nullable=False), pa.field("value", pa.float16(), nullable=False)])
_SCHEMA = pa.schema(
    [
        pa.field("transitions", pa.large_list(pa.field("item", _ENTRY, nullable=False)), nullable=False),
        pa.field("seen", pa.uint8(), nullable=False),
    ]
)
# What 16 bits hold.
_MIN_VALUE, _MAX_VALUE = float(np.finfo(np.float16).smallest_subnormal), float(np.finfo(np.float16).max)
# Entries that are checked at once.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class VersionCounts:
    """The counts of a version.

    Attributes:
        transitions: what came after what, by position; mapped.
        seen: how often each product was seen, in bins: [M].
        weights: of the counts beside the cosine.
        file: where they are from.
    """

    transitions: TransitionCounts
    seen: NDArray[np.uint8]
    weights: CountWeights
    file: Path

    def candidates(self, recent: IntArray, weights: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """The weighted sum of the rows of some products, without its zeros: positions [K] ascending, and sums [K].

        Args:
            recent: [R] positions of a session's products.
            weights: [R].

        Raises:
            InvalidData: an entry of them is damaged: it names no product, or its value is not a number above 0.
        """
        positions, sums = self.transitions.candidates(recent, weights)
        # Entries are checked when they are read: all of them would be read for the first answer.
        is_sum = np.isfinite(sums) & (sums >= 0)
        if positions.size and (positions[0] < 0 or positions[-1] >= self.seen.size or not is_sum.all()):
            for row in recent.tolist():
                self.require_valid(int(row), int(row) + 1)
        return positions, sums

    def require_valid(self, first: int = 0, stop: int | None = None) -> None:
        """Read the entries of these rows, by default all of them.

        Raises:
            InvalidData: names the row that is damaged.
        """
        offsets, stop = self.transitions.offsets, self.seen.size if stop is None else stop
        while first < stop:
            # Rows of about `_CHUNK` entries together, at least one.
            end = int(np.searchsorted(offsets, offsets[first] + _CHUNK, side="right")) - 1
            end = min(max(end, first + 1), stop)
            self._require_valid_rows(first, end)
            first = end

    def _require_valid_rows(self, first: int, stop: int) -> None:
        counts, here = (
            self.transitions,
            slice(int(self.transitions.offsets[first]), int(self.transitions.offsets[stop])),
        )
        neighbours, values = counts.neighbours[here], counts.values[here]
        rows = np.repeat(np.arange(first, stop), np.diff(counts.offsets[first : stop + 1]))
        outside = (neighbours < 0) | (neighbours >= self.seen.size)
        unordered = np.zeros(neighbours.size, bool)
        unordered[1:] = (neighbours[1:] <= neighbours[:-1]) & (rows[1:] == rows[:-1])
        for wrong, field, problem in (
            (outside, "transitions.product", f"must be a position below {self.seen.size:,}"),
            (unordered, "transitions.product", "must ascend within a row"),
            (~(np.isfinite(values) & (values > 0)), "transitions.value", "must be a finite number above 0"),
        ):
            if wrong.any():
                row = int(rows[np.flatnonzero(wrong)[0]]) + 1
                raise InvalidData(f"damaged: {problem}", file=self.file, row=row, field=field)


def write_counts(file: Path, counts: TransitionCounts, seen: NDArray[np.uint8], weights: CountWeights) -> None:
    """Write the counts of a version. A value beyond what 16 bits hold becomes the nearest of them.

    Args:
        seen: of each product, as `seen_bins` makes them: [M].

    Raises:
        ValueError: `seen` has another length than the counts.
        OSError: the disk is full, or the like.
    """
    if seen.size != counts.products:
        raise ValueError(f"seen must have {counts.products:,} values, got {seen.size:,}")
    values = np.clip(counts.values, _MIN_VALUE, _MAX_VALUE).astype(np.float16)
    children = [numbers(counts.neighbours, pa.int32()), numbers(values, pa.float16())]
    entries = pa.StructArray.from_arrays(children, fields=list(_ENTRY))
    offsets = pa.py_buffer(np.ascontiguousarray(counts.offsets, np.int64))
    kind = _SCHEMA.field("transitions").type
    rows = pa.LargeListArray.from_buffers(kind, counts.products, [None, offsets], children=[entries])
    schema = _SCHEMA.with_metadata({_WEIGHTS_KEY: weights.model_dump_json()})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        # One batch, so that each part is one array when it is mapped.
        writer.write_batch(pa.record_batch([rows, numbers(seen, pa.uint8())], schema=schema))


def read_counts(file: Path, products: int) -> VersionCounts:
    """The counts of a version, mapped: the file may be removed while they are read.

    What a query reads of the entries is checked when it is read, and `require_valid` reads all of them.

    Args:
        products: M, as the version's manifest says.

    Raises:
        InvalidData: the file is missing, truncated, damaged, or has other rows than the version.
    """
    batch, metadata = read_mapped_batch(file, _SCHEMA, _WHAT)
    if batch.num_rows != products:
        raise InvalidData(f"has {batch.num_rows:,} rows, but the manifest says {products:,}", file=file)
    rows, seen = batch.columns
    offsets = list_offsets(rows)
    if offsets[0] != 0 or offsets[-1] > len(rows.values):
        raise damaged(file, _WHAT, "its rows do not begin where its entries do")
    neighbours, values = (vector(rows.values.field(at)) for at in range(2))
    transitions = TransitionCounts(offsets, neighbours, values)
    weights = CountWeights.from_json(metadata.get(_WEIGHTS_KEY, b""), file=file)
    return VersionCounts(transitions, vector(seen), weights, file)
