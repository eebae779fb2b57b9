"""Updates of a store, with what the model encodes for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.updates.updater import Updater
from ubm_embed.inference.embedder import Embedder


@pytest.fixture
def updater(store: Path) -> Iterator[Updater]:
    """Of the toy shop's store."""
    with Updater(store, device="cpu") as updater:
        yield updater


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the products that are encoded from here on."""
    ids: list[str] = []
    embed = Embedder.embed_products

    def counted(self: Embedder, products: pl.DataFrame, **options: Any) -> Any:
        ids.extend(products["product_id"])
        return embed(self, products, **options)

    monkeypatch.setattr(Embedder, "embed_products", counted)
    return ids
