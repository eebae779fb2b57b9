"""A catalogue after a night: some products have another title, as many another price."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from ubm_embed.data.corpus import read_products


def change(catalogue: Path, share: float, night: int) -> Path:
    """Write the catalogue of the next night: `share` of its products have a new title, as many a new price."""
    rows = read_products(catalogue)
    order = np.random.default_rng([night, rows.height]).permutation(rows.height)
    count = max(1, round(share * rows.height))
    retitled, repriced = (pl.Series(np.isin(np.arange(rows.height), part)) for part in (order[:count], order[-count:]))
    changed = rows.with_columns(
        title=pl.when(retitled).then(pl.format("{} {}", "title", pl.lit(str(night)))).otherwise("title"),
        price=pl.when(repriced).then(pl.col("price") + night).otherwise("price"),
    )
    file = catalogue.with_name(f"night_{night}.parquet")
    changed.write_parquet(file)
    return file
