"""Logs written by tests and read back as events."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from ubm_embed.data.logs.cleaning import cleaned
from ubm_embed.data.logs.event_table import CLEAN_SCHEMA
from ubm_embed.data.logs.events import read_events
from ubm_embed.data.logs.report import Tally
from ubm_embed.data.tables.table_files import collect_tables

NOON = datetime(2024, 1, 1, 12)


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as the file's suffix says."""
    file.parent.mkdir(exist_ok=True)
    if file.suffix == ".parquet":
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(file)
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows))
    elif file.suffix == ".csv":
        texts = [{k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()} for row in rows]
        pl.DataFrame(texts, infer_schema_length=None).write_csv(file)
    else:
        file.write_text("\n".join(map(json.dumps, rows)))
    return file


def collect(file: Path, kind: str) -> pl.DataFrame:
    """The events of a file or folder, cleaned, in order."""
    events = read_events([file], kind)
    (frame,) = collect_tables([events.frame], events.files)
    events.require_valid(frame.lazy())
    assert frame["order"].to_list() == list(range(frame.height))
    with TemporaryDirectory() as folder:
        clean = cleaned(frame.lazy(), Path(folder) / "cleaned.parquet", Tally()).sort("order").collect()
    assert dict(clean.drop("order", "file").schema) == CLEAN_SCHEMA
    return clean


def kept(frame: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return frame.filter(pl.col("dropped").is_null()).select(*columns).rows()


def dropped(frame: pl.DataFrame) -> Counter[str]:
    return Counter(frame["dropped"].drop_nulls())
