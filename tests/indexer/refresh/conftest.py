"""A shop to refresh, which counts what the model encodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.indexer.refresh.shop import Shop
from ubm_embed.inference.embedder import Embedder


@pytest.fixture
def shop(store: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The toy shop with one version that is live."""
    shop, embed = Shop(store, products_file), Embedder.embed_products

    def counted(self: Embedder, products: pl.DataFrame, **options: Any) -> Any:
        shop.encoded.extend(products["product_id"])
        return embed(self, products, **options)

    monkeypatch.setattr(Embedder, "embed_products", counted)
    return shop
