"""A store and the catalogue that it is refreshed from, one product of which is changed at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.report import RefreshReport
from indexer.refresh.settings import GateLimits, RefreshSettings
from indexer.revisions.version_rows import VersionRows
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import read_live
from indexer.versions.version import read_version
from ubm_embed.data.session import Action, Interaction, Session

SESSION = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))
# A vector is what a few layers make of it, each of which adds up to 64 float32 products (the tiny model's feed-forward
# width) in an order that depends on the batch.
VECTOR_ATOL = 64 * float(np.finfo(np.float32).eps)
# A score adds up the 16 products of two vectors that may each be off by VECTOR_ATOL.
SCORE_ATOL = 16 * VECTOR_ATOL


@dataclass
class Shop:
    """The toy shop with one version live.

    Attributes:
        store: the store's folder.
        file: the catalogue.
        encoded: ids of the products that the model encoded for the last refresh.
    """

    # With eight products one change moves the mean and the neighbours beyond the usual limits.
    LOOSE: ClassVar = GateLimits(max_lost=0.5, min_overlap=0, min_overlap_of_another_model=0, max_shift=2)

    store: Path
    file: Path
    encoded: list[str] = field(default_factory=list)

    def write(self, frame: pl.DataFrame) -> None:
        frame.write_parquet(self.file)

    @property
    def products(self) -> pl.DataFrame:
        return pl.read_parquet(self.file)

    def set(self, product_id: str, **values: Any) -> None:
        where = pl.col("product_id") == product_id
        self.write(
            self.products.with_columns(
                pl.when(where).then(pl.lit(value)).otherwise(name).alias(name) for name, value in values.items()
            )
        )

    def drop(self, *product_ids: str) -> None:
        self.write(self.products.filter(~pl.col("product_id").is_in(product_ids)))

    def add(self, product_id: str, title: str) -> None:
        new = self.products.head(1).with_columns(product_id=pl.lit(product_id), title=pl.lit(title))
        self.write(pl.concat([self.products, new]))

    def refresh(self, **options: Any) -> RefreshReport:
        """Refresh with loose gates."""
        self.encoded.clear()
        defaults = {"products": self.file, "store": self.store, "settings": RefreshSettings(gates=self.LOOSE)}
        return refresh(**(defaults | options))

    @property
    def opened(self) -> EmbeddingStore:
        return EmbeddingStore.open(self.store)

    def rows(self, number: int | None = None) -> pl.DataFrame:
        """Rows of a version with their vectors, by id."""
        version = read_version(self.opened, number)
        rows = VersionRows.open(self.opened, version, read_live(self.opened).revisions.get(version.version))
        return pl.concat(pl.DataFrame(pl.from_arrow(batch)) for batch in rows.batches(vectors=True)).sort("product_id")

    def files(self) -> dict[Path, tuple[bytes, int]]:
        """Every file with its contents and the time it was written, but the lock."""
        files = (file for file in self.store.rglob("*") if file.is_file() and file.name != ".lock")
        return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}

    def answer(self, **options: Any) -> dict[str, Any]:
        """The answer to `SESSION`, without the time it took."""
        retriever = Retriever.open(self.store, **options)
        answer = retriever.recommend(SESSION, 20, rules=Rules(exclude_seen=False)).to_dict()
        del answer["took_ms"]
        return answer

    def popularity(self) -> dict[str, int]:
        return dict(self.rows().select("product_id", "popularity").iter_rows())

    def require_as_built(self, model_folder: Path, tmp_path: Path) -> None:
        """The live version has the rows, vectors and answers of one that is built from the same catalogue.

        That one knows nothing of the shoppers, so counts are left out of the answers; and words, which a refresh weighs
        by the mean length of the texts that there were.
        """
        build_index(model=model_folder, products=self.file, store=tmp_path / "built", allow=set(Gate))
        built = Shop(tmp_path / "built", self.file)
        rows, expected = self.rows(), built.rows()
        assert rows.drop("vector", "popularity").equals(expected.drop("vector", "popularity"))
        np.testing.assert_allclose(rows["vector"].to_numpy(), expected["vector"].to_numpy(), atol=VECTOR_ATOL)
        answer = self.answer(counts=False, words=False)
        require_same_answer(answer, built.answer(words=False) | {"version": answer["version"]})


def require_same_answer(answer: Mapping[str, Any], expected: Mapping[str, Any], note: str = "") -> None:
    """Both have the same products with the same fields and scores; where scores tie, the order does not matter."""
    assert {**answer, "matches": None} == {**expected, "matches": None}, note
    scores, expected_scores = ([match["score"] for match in one["matches"]] for one in (answer, expected))
    assert scores == pytest.approx(expected_scores, abs=SCORE_ATOL), note
    by_id, expected_by_id = ({match["product_id"]: match for match in one["matches"]} for one in (answer, expected))
    assert by_id.keys() == expected_by_id.keys(), note
    for product_id, match in by_id.items():
        same = expected_by_id[product_id]
        assert match["score"] == pytest.approx(same["score"], abs=SCORE_ATOL), note
        assert match | {"score": 0, "rank": 0} == same | {"score": 0, "rank": 0}, note


def answer_of(store: Path) -> dict[str, Any]:
    """The live version's answer to `SESSION`, without the time it took."""
    answer = Retriever.open(store, device="cpu").recommend(SESSION, 20).to_dict()
    del answer["took_ms"]
    return answer


def stored(store: Path, number: int = 1) -> tuple[pl.DataFrame, np.ndarray]:
    """Rows and vectors of a version."""
    opened = EmbeddingStore.open(store)
    table_version = read_version(opened, number).table_version
    rows = opened.table.read(table_version)
    return rows, opened.table.vectors(table_version, np.arange(rows.height))
