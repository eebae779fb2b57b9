"""Live products in memory, without a store, to compare catalogues with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl

from indexer.catalogue.catalogue_writer import TEXT_HASHES
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.refresh.live_rows import LiveRows
from indexer.refresh.product_hashes import row_hashes, text_hashes
from indexer.revisions.overlay import Overlay
from indexer.revisions.version_rows import VersionRows
from indexer.store.table_schema import ROW_HASH, TEXT_HASH
from indexer.versions.live import Live
from indexer.versions.software import software
from ubm_embed.data.products import product_batches

DIMENSION = 4


def conformed(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """The products as a catalogue is read."""
    frame.write_parquet(folder / "live.parquet")
    return pl.concat(product_batches(folder / "live.parquet"))


def live_rows(products: pl.DataFrame, popularity: list[int], *, hashed: bool = True) -> LiveRows:
    """Products as a version has them, in this order.

    Args:
        products: as a catalogue is read, at least one.
        hashed: whether the table has hashes, which older software did not write.
    """
    catalogue = MappedCatalogue.from_table(
        products.with_columns(popularity=pl.Series(popularity, dtype=pl.Int64)).to_arrow()
    )
    texts = text_hashes(products) if hashed else np.zeros(products.height, TEXT_HASHES)
    rows = row_hashes(products) if hashed else np.zeros(products.height, np.uint64)
    overlay = Overlay.of_base(catalogue, DIMENSION)
    version: Any = SimpleNamespace(version=1, files_version=1, table_version=1, software=software())
    table = VersionRows(
        cast(Any, None), version, overlay, texts, rows, np.array(popularity), np.ones(len(catalogue), bool)
    )
    hashes = {TEXT_HASH: pl.Binary(), ROW_HASH: pl.UInt64()} if hashed else {}
    return LiveRows(Live(version=1), version, table, table, pl.Schema({**products.schema, **hashes}))
