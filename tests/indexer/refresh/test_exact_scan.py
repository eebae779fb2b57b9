"""One pass finds what numpy finds with everything in memory."""

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.refresh.exact_scan import survey
from indexer.store.product_table import VectorBatch


def unit_vectors(count: int, width: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def batches(vectors: np.ndarray, rows: int) -> Iterator[VectorBatch]:
    for first in range(0, len(vectors), rows):
        part = vectors[first : first + rows]
        yield VectorBatch(pl.Series("product_id", [f"p{first + row}" for row in range(len(part))]), part)


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 5), st.integers(1, 12))
def test_a_pass_finds_what_numpy_finds(products: int, rows: int, asked: int, k: int) -> None:
    vectors, queries = unit_vectors(products), unit_vectors(asked, seed=1)
    found = survey(batches(vectors, rows), queries, k)
    scores = queries @ vectors.T
    order = np.argsort(-scores, axis=1)[:, :k]
    assert (found.rows, found.unsound) == (products, 0)
    np.testing.assert_allclose(found.centroid, vectors.mean(axis=0), atol=1e-6)
    assert found.nearest.positions.tolist() == order.tolist()
    np.testing.assert_allclose(found.nearest.scores, np.take_along_axis(scores, order, axis=1), atol=1e-6)


@pytest.mark.parametrize("rows", [1, 7, 100, 1000])
def test_the_size_of_the_batches_does_not_matter(rows: int) -> None:
    vectors, queries = unit_vectors(1000), unit_vectors(20, seed=1)
    found, whole = survey(batches(vectors, rows), queries, 10), survey(batches(vectors, 1000), queries, 10)
    assert (found.nearest.positions == whole.nearest.positions).all()
    np.testing.assert_allclose(found.nearest.scores, whole.nearest.scores, atol=1e-6)
    np.testing.assert_allclose(found.centroid, whole.centroid, atol=1e-6)


def test_equal_vectors_score_the_same_in_any_batch() -> None:
    vectors = np.repeat(unit_vectors(1), 30, axis=0)
    found = survey(batches(vectors, 7), unit_vectors(1, seed=1), 10)
    assert len(set(found.nearest.positions[0].tolist())) == 10
    np.testing.assert_allclose(found.nearest.scores, found.nearest.scores[0, 0], atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.01, 0.99])
def test_vectors_that_are_not_of_length_1_are_counted(value: float) -> None:
    vectors = unit_vectors(50)
    vectors[[3, 20, 49]] *= np.float32(value)
    with np.errstate(invalid="ignore"):
        assert survey(batches(vectors, 8), unit_vectors(2, seed=1), 5).unsound == 3
