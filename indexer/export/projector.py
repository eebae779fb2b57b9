"""Vectors and their labels for TensorBoard's Embedding Projector: two tables of tab-separated values.

The formats are those of its plugin and of its page: a row a line and no quoting; metadata of several columns begins
with their names, and a table of a single column would not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

import polars as pl
import pyarrow as pa

from indexer.export.sampled_rows import SampledRows
from indexer.store.table_schema import POPULARITY
from ubm_embed.progress import Progress

# The plugin sends no more to the browser than this, from the first on.
MAX_ROWS = 100_000
VECTORS_TSV, METADATA_TSV, CONFIG_FILE = "vectors.tsv", "metadata.tsv", "projector_config.pbtxt"

# The first column that is no number labels the points.
_FIRST = ("title", "product_id", "category", POPULARITY)
# What Python or a browser takes for the end of a line or of a value.
_SEPARATORS = "[\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]+"
# Of components between -1 and 1: a cosine is off by a millionth at most.
_DECIMALS = 7


def write_projector(rows: SampledRows, folder: Path, progress: Progress) -> None:
    """Fill a folder that `tensorboard --logdir` shows under PROJECTOR."""
    columns, done = _columns(rows.schema), 0
    with (folder / VECTORS_TSV).open("wb") as vectors_file, (folder / METADATA_TSV).open("wb") as metadata_file:
        write_labels(pl.DataFrame([columns], orient="row"), metadata_file)
        for frame, vectors in rows.batches():
            pl.DataFrame(vectors).write_csv(
                vectors_file, separator="\t", include_header=False, float_precision=_DECIMALS
            )
            write_labels(frame.select(columns), metadata_file)
            done += len(vectors)
            progress("exporting products", done, len(rows))
    (folder / CONFIG_FILE).write_text(_config(f"version {rows.live.revised.label}"), "utf-8")


def write_labels(rows: pl.DataFrame, file: IO[bytes]) -> None:
    """Write a line for each row, in which a value keeps to its column."""
    texts = rows.select(pl.all().cast(pl.String).fill_null("").str.replace_all(_SEPARATORS, " "))
    texts.write_csv(file, separator="\t", include_header=False, quote_style="never")


def _columns(shop: pa.Schema) -> list[str]:
    flat = [field.name for field in shop if not pa.types.is_nested(field.type) and not _is_binary(field.type)]
    return [*_FIRST, *(name for name in flat if name not in _FIRST)]


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _config(name: str) -> str:
    fields = {"tensor_name": name, "tensor_path": VECTORS_TSV, "metadata_path": METADATA_TSV}
    lines = "".join(f"  {field}: {json.dumps(value)}\n" for field, value in fields.items())
    return f"embeddings {{\n{lines}}}\n"
