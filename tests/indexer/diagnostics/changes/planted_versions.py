"""A store of some hundreds of products whose vectors are made by hand, one version after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.diagnostics.changes.changes import changes_section
from indexer.diagnostics.finding import Fault, Severity
from indexer.diagnostics.report import Section, Table
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index
from indexer.refresh.settings import GateLimits, RefreshSettings
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.pruning import KeepPolicy
from ubm_embed.data.arrays import FloatArray, unit_rows
from ubm_embed.data.corpus import PRODUCT_SCHEMA, Corpus
from ubm_embed.inference.embedder import Embedder

PRODUCTS, CATEGORIES, WIDTH = 400, 5, 16
SETTINGS = DiagnosisSettings(rounds=100)


def catalogue(count: int = PRODUCTS) -> pl.DataFrame:
    """Products in five categories."""
    rows = [
        {"product_id": f"p{row}", "title": f"red shirt {row}", "category": f"c{row % CATEGORIES}", "attributes": []}
        for row in range(count)
    ]
    return pl.DataFrame(rows, schema=PRODUCT_SCHEMA)


def vectors_of(products: pl.DataFrame) -> FloatArray:
    """Of length 1, around the centre of the category; they depend on the text alone."""
    rows = []
    for title, category in products.select("title", "category").iter_rows():
        centre = np.random.default_rng([1, int(category.removeprefix("c"))]).standard_normal(WIDTH)
        own = np.random.default_rng([2, *title.encode()]).standard_normal(WIDTH)
        rows.append(centre + own)
    return unit_rows(np.array(rows)).astype(np.float32)


@dataclass
class Versions:
    """A store, and the work on it.

    Attributes:
        model: the folder of its first model.
    """

    folder: Path
    model: Path

    @property
    def store(self) -> EmbeddingStore:
        """Opened anew."""
        return EmbeddingStore.open(self.folder / "store")

    def publish(self, products: pl.DataFrame, vectors: FloatArray, model: Path | None = None) -> int:
        """Build a version with these vectors and make it live."""
        file = self.folder / "products.parquet"
        products.write_parquet(file)
        by_id = dict(zip(products["product_id"], vectors, strict=True))

        def planted(_: Embedder, encoded: pl.DataFrame, **__: Any) -> FloatArray:
            return np.stack([by_id[product_id] for product_id in encoded["product_id"]])

        settings = RefreshSettings(keep=KeepPolicy(versions=9))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Embedder, "embed_products", planted)
            store = self.folder / "store"
            version = build_index(
                model=model or self.model, products=file, store=store, settings=settings, allow=[*Gate], device="cpu"
            )
        return version.version

    @contextmanager
    def spaces(self, before: int, after: int) -> Iterator[tuple[VersionSpace, VersionSpace]]:
        """Two versions, opened."""
        with ExitStack() as stack:
            first, second = (
                stack.enter_context(VersionSpace.open(self.store, number, "cpu")) for number in (before, after)
            )
            yield first, second

    def compare(self, before: int, after: int, *, sessions: int = 40, limits: GateLimits | None = None) -> Section:
        """The section of a report."""
        with self.spaces(before, after) as (first, second):
            sample = sample_of(sessions) if sessions else None
            return changes_section(first, second, sample, SETTINGS, refresh=limits and RefreshSettings(gates=limits))


def sample_of(sessions: int) -> SessionSample:
    """Sessions of two views."""
    rows = [
        {"session_id": f"s{number}", "position": position, "action": "view", "product_id": f"p{7 * number + position}"}
        for number in range(sessions)
        for position in range(2)
    ]
    interactions = pl.DataFrame(rows).with_columns(query=pl.lit(None, pl.String))
    return SessionSample.draw(Corpus(catalogue(), interactions), sessions, seed=0)


def metrics(section: Section) -> Mapping[str, float]:
    """Values by name."""
    return {metric.name: metric.value for metric in section.metrics}


def faults(section: Section) -> set[Fault]:
    """What the section warns of."""
    return {finding.fault for finding in section.findings if finding.severity is not Severity.NOTE}


def table(section: Section, name: str) -> Table:
    """A table by its name."""
    return next(one for one in section.tables if one.name == name)
