"""A shop in which everything is known: where products lie, who is near whom, and what sessions are worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.diagnostics.session_sample import SessionSample
from ubm_embed.data.arrays import unit_rows
from ubm_embed.data.corpus import PRODUCT_SCHEMA, Corpus, iter_products

PRODUCTS, WIDTH, SESSIONS = 300, 16, 240


class LastProduct:
    """An embedder for which a session is its last product, or the same for all sessions."""

    def __init__(self, tokenizer: Any, matrix: np.ndarray, constant: np.ndarray | None = None) -> None:
        self.tokenizer, self.matrix, self.constant = tokenizer, matrix, constant

    def embed_table(self, texts: Any, sessions: Any) -> np.ndarray:
        del texts
        if self.constant is not None:
            return np.repeat(self.constant[None], len(sessions), axis=0)
        # The rows of the sample's products are not those of the space: their titles tell which they are.
        return self.matrix[self.rows[sessions.rows[sessions.offsets[1:] - 1]]]


@dataclass(frozen=True)
class ToySpace:
    """Products in memory."""

    embedder: Any
    frame: pl.DataFrame
    matrix: np.ndarray
    popularity: None = None
    name: str = "a toy"

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def product_ids(self) -> pl.Series:
        return self.frame["product_id"]

    def batches(self):
        yield from np.array_split(self.matrix, 3)

    def vectors(self, rows):
        return self.matrix[rows]

    def products(self, rows):
        return [*iter_products(self.frame[np.asarray(rows)])]

    def categories(self):
        return (np.arange(len(self)) % 3).astype(np.int32), ["a", "b", "c"]


@dataclass(frozen=True)
class Shop:
    """A space, and sessions that walk from product to near product; some products are chosen far more often."""

    space: ToySpace
    sample: SessionSample

    def constant(self, vector: np.ndarray) -> Shop:
        """The same with a model that gives this vector to every session."""
        embedder = LastProduct(self.space.embedder.tokenizer, self.space.matrix, vector)
        return replace(self, space=replace(self.space, embedder=embedder))

    @property
    def most_popular(self) -> np.ndarray:
        """Rows, the most popular first."""
        chosen = self.sample.counts.sort("sessions", "product_id", descending=True)["product_id"]
        return np.array([int(name[1:]) for name in chosen])


@pytest.fixture(scope="module")
def shop(tokenizer: Any) -> Shop:
    rng = np.random.default_rng(7)
    matrix = unit_rows(rng.standard_normal((PRODUCTS, WIDTH))).astype(np.float32)
    rows = [
        {"product_id": f"p{row}", "title": f"red shirt {row}", "category": None, "attributes": []}
        for row in range(PRODUCTS)
    ]
    products = pl.DataFrame(rows, schema=PRODUCT_SCHEMA)
    corpus = Corpus(products, walks(matrix, rng))
    sample = SessionSample.draw(corpus, SESSIONS // 2, 0)
    embedder = LastProduct(tokenizer, matrix)
    embedder.rows = np.array([int(name[1:]) for name in sample.corpus.products["product_id"]])
    return Shop(ToySpace(embedder, products, matrix), sample)


def walks(matrix: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """Sessions of four products, each among the ten nearest of the one before; a few products start many of them."""
    nearest = np.argsort(-(matrix @ matrix.T), axis=1)[:, 1:11]
    steps = []
    for session in range(SESSIONS):
        row = int(rng.integers(PRODUCTS)) if session % 4 else int(rng.integers(12))
        for position in range(4):
            steps.append((f"s{session}", position, f"p{row}"))
            row = int(rng.choice(nearest[row]))
    frame = pl.DataFrame(steps, schema=["session_id", "position", "product_id"], orient="row")
    return frame.with_columns(action=pl.lit("view"), query=pl.lit(None, pl.String))


@pytest.fixture
def index_of() -> Callable[..., Any]:
    from indexer.index.vector_index import VectorIndex

    return lambda matrix: VectorIndex.build([matrix], expected=len(matrix))
