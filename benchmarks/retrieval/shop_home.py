"""HOME, the folder that `benchmarks.retrieval.trained_shop` makes and other runners read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from indexer.export.vectors import VECTORS_FILE
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.corpus import Corpus

QUERIES_FILE = "queries.npy"


@dataclass(frozen=True)
class TrainedShop:
    """The contents of HOME.

    Attributes:
        home: the folder.
    """

    home: Path

    @property
    def model(self) -> Path:
        """Folder of the trained model."""
        return self.home / "model"

    @property
    def corpus(self) -> Path:
        """Folder of the large shop."""
        return self.home / "corpus"

    @property
    def store(self) -> Path:
        """Folder of the store with its products."""
        return self.home / "store"

    @property
    def vectors(self) -> FloatArray:
        """Vectors of the products in the order of the store's table, memory-mapped: [M, D]."""
        return cast(FloatArray, np.load(self.home / VECTORS_FILE, mmap_mode="r"))

    @property
    def queries(self) -> FloatArray:
        """Vectors of sessions: [B, D]."""
        return cast(FloatArray, np.load(self.home / QUERIES_FILE))

    def sessions(self) -> list[dict[str, Any]]:
        """Session documents as in a session file, with product ids, without the last interaction of each."""
        interactions = Corpus.open(self.corpus).interactions.sort("session_id", "position")
        grouped = interactions.group_by("session_id", maintain_order=True)
        return [_document(str(name), rows) for (name,), rows in grouped if rows.height > 1]


def _document(session_id: str, rows: pl.DataFrame) -> dict[str, Any]:
    interactions = rows.select("action", "product_id", "query").head(rows.height - 1).iter_rows(named=True)
    entries = [{name: value for name, value in row.items() if value is not None} for row in interactions]
    return {"session_id": session_id, "interactions": entries}
