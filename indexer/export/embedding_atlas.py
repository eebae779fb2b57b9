"""A map of products for Embedding Atlas (github.com/apple/embedding-atlas), which reads one Parquet file.

Its names and types are those of its command line: two columns of coordinates, one of text, and one of neighbours, each
{"ids": [...], "distances": [...]} with the rows of the file, from 0, nearest first.

Letters: K products, D width.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.export.sampled_rows import SampledRows
from indexer.store.table_schema import VECTOR
from ubm_embed.data.arrays import FloatArray
from ubm_embed.evaluation.nearest import NearestOthers
from ubm_embed.evaluation.principal_plane import PrincipalPlane
from ubm_embed.progress import Progress

# The matrix of all pairs is computed: 100,000 rows take some minutes, and ten times as many a hundred times as long.
MAX_NEIGHBOUR_ROWS = 100_000
_NEIGHBOURS = 15  # as many as Embedding Atlas finds itself where it makes the map
_ADDED = ("text", "projection_x", "projection_y", "neighbors")


class AtlasColumns:
    """What the added columns are called in a file, and their types. A column of the shop keeps its name."""

    def __init__(self, shop: pa.Schema, width: int, *, with_neighbours: bool) -> None:
        self.text, self.x, self.y, self.neighbours = (_free_name(name, shop.names) for name in _ADDED)
        self.with_neighbours = with_neighbours
        neighbours = pa.struct({"ids": pa.list_(pa.int64()), "distances": pa.list_(pa.float32())})
        added = [(self.text, pa.string()), (self.x, pa.float32()), (self.y, pa.float32())]
        added += [(self.neighbours, neighbours)] * with_neighbours
        # The text has the attributes, and no chart of Embedding Atlas reads nested values.
        kept = [field for field in shop if not pa.types.is_nested(field.type)]
        self.schema = pa.schema(
            [*kept, *map(pa.field, *zip(*added, strict=True)), (VECTOR, pa.list_(pa.float32(), width))]
        )

    def command(self, file: Path) -> str:
        """What to type to see the map."""
        options = {"--text": self.text, "--x": self.x, "--y": self.y}
        if self.with_neighbours:
            options["--neighbors"] = self.neighbours
        return shlex.join(["embedding-atlas", str(file), *(word for pair in options.items() for word in pair)])


def write_embedding_atlas(rows: SampledRows, file: Path, progress: Progress) -> tuple[AtlasColumns, float]:
    """Write the file; return its columns, and the share of the variance that its plane explains."""
    learned = rows.vectors(MAX_NEIGHBOUR_ROWS)
    plane = PrincipalPlane.fit(learned)
    near = NearestOthers.find(learned, _NEIGHBOURS, progress) if len(learned) == len(rows) else None
    columns = AtlasColumns(rows.schema, rows.dimension, with_neighbours=near is not None)
    with pq.ParquetWriter(file, columns.schema) as writer:
        for batch in _batches(rows, columns, plane, near, progress):
            writer.write_batch(batch)
    return columns, plane.explained


def product_texts(rows: pl.DataFrame) -> pl.Series:
    """What the model reads of each product, a line for each of title, category and attributes: [K]."""
    pair = pl.element().struct
    pairs = pl.format("{}: {}", pair.field("name"), pair.field("value"))
    lines = [pl.col("title"), pl.col("category"), pl.col("attributes").list.eval(pairs).list.join("\n")]
    given = [pl.when(line != "").then(line) for line in lines]
    return rows.select(text=pl.concat_str(given, separator="\n", ignore_nulls=True))["text"]


def _batches(
    rows: SampledRows, columns: AtlasColumns, plane: PrincipalPlane, near: NearestOthers | None, progress: Progress
) -> Iterator[pa.RecordBatch]:
    done = 0
    for frame, vectors in rows.batches():
        part = slice(done, done + len(vectors))
        added = _added(frame, plane.project(vectors), vectors, columns)
        if near is not None:
            added[columns.neighbours] = _neighbours(near, part, columns.schema.field(columns.neighbours).type)
        shop = frame.to_arrow()
        arrays = [
            added[field.name] if field.name in added else shop.column(field.name).combine_chunks().cast(field.type)
            for field in columns.schema
        ]
        yield pa.record_batch(arrays, schema=columns.schema)
        done = part.stop
        progress("exporting products", done, len(rows))


def _added(
    frame: pl.DataFrame, positions: FloatArray, vectors: FloatArray, columns: AtlasColumns
) -> dict[str, pa.Array]:
    return {
        columns.text: product_texts(frame).to_arrow().cast(pa.string()),
        columns.x: pa.array(positions[:, 0]),
        columns.y: pa.array(positions[:, 1]),
        VECTOR: pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1]),
    }


def _neighbours(near: NearestOthers, part: slice, kind: pa.StructType) -> pa.Array:
    rows, distances = near.rows[part], (1 - near.cosines[part]).clip(0)
    offsets = pa.array(np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1])
    lists = [pa.ListArray.from_arrays(offsets, values.ravel()) for values in (rows, distances)]
    return pa.StructArray.from_arrays(lists, fields=list(kind))


def _free_name(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_1"
    return name
