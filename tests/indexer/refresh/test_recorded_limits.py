"""A version keeps the limits that it was published with."""

from pathlib import Path

import polars as pl
import pytest

from indexer.refresh.recorded_limits import recorded_limits
from indexer.refresh.refresh import refresh
from indexer.refresh.settings import GateLimits, RefreshSettings
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.version import read_version
from ubm_embed.errors import InvalidData


def test_those_of_a_refresh(store: Path, products_file: Path) -> None:
    limits = GateLimits(max_lost=0.3, min_recall=0.8, min_overlap=0.2, max_shift=1.5, max_uniformity=0)
    pl.read_parquet(products_file).tail(-1).write_parquet(products_file)
    refresh(products=products_file, store=store, settings=RefreshSettings(gates=limits), device="cpu")
    assert recorded_limits(read_version(EmbeddingStore.open(store))) == limits


def test_the_defaults_where_a_first_version_had_nothing_to_pass(store: Path) -> None:
    assert recorded_limits(read_version(EmbeddingStore.open(store))) == GateLimits()


@pytest.mark.parametrize("gate", [{"limit": 7}, {"limit": "0.2"}, {}, 3])
def test_a_damaged_limit_names_the_manifest(store: Path, gate: object) -> None:
    version = read_version(EmbeddingStore.open(store))
    with pytest.raises(InvalidData, match=r"manifest\.json.*gates"):
        recorded_limits(version.replace(gates={**version.gates, "recall": gate}))
