"""One pass over batches computes what numpy computes with everything in memory."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.refresh.exact_scan import exact_scan

WIDTH = 8
EPS = np.finfo(np.float32).eps
# An inner product of unit vectors is a sum of WIDTH float32 products, added in any order.
ATOL = WIDTH * EPS


def unit_vectors(count: int, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def batches(vectors: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    return (vectors[first : first + rows] for first in range(0, len(vectors), rows))


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 5), st.integers(1, 12))
def test_a_pass_agrees_with_numpy(products: int, rows: int, queries_count: int, k: int) -> None:
    vectors, queries = unit_vectors(products), unit_vectors(queries_count, seed=1)
    statistics = exact_scan(batches(vectors, rows), queries, k)
    scores = queries @ vectors.T
    order = np.argsort(-scores, axis=1)[:, :k]
    assert (statistics.rows, statistics.not_unit_length) == (products, 0)
    # The scan sums in float64; only its result is rounded to float32.
    np.testing.assert_allclose(statistics.centroid, vectors.mean(axis=0, dtype=np.float64), atol=EPS)
    nearest = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_allclose(statistics.nearest.scores, nearest, atol=ATOL)
    # Up to ties: the rows returned may differ from numpy's only where their scores do not.
    np.testing.assert_allclose(np.take_along_axis(scores, statistics.nearest.positions, axis=1), nearest, atol=ATOL)
    assert all(len(set(row)) == len(row) for row in statistics.nearest.positions.tolist())


@pytest.mark.parametrize("rows", [1, 7, 100, 1000])
def test_the_size_of_the_batches_does_not_matter(rows: int) -> None:
    vectors, queries = unit_vectors(1000), unit_vectors(20, seed=1)
    statistics, whole = exact_scan(batches(vectors, rows), queries, 10), exact_scan(batches(vectors, 1000), queries, 10)
    np.testing.assert_allclose(statistics.nearest.scores, whole.nearest.scores, atol=ATOL)
    np.testing.assert_allclose(statistics.centroid, whole.centroid, atol=EPS)


def test_equal_vectors_score_the_same_in_any_batch() -> None:
    vectors = np.repeat(unit_vectors(1), 30, axis=0)
    statistics = exact_scan(batches(vectors, 7), unit_vectors(1, seed=1), 10)
    assert len(set(statistics.nearest.positions[0].tolist())) == 10
    np.testing.assert_allclose(statistics.nearest.scores, statistics.nearest.scores[0, 0], atol=ATOL)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.01, 0.99])
def test_vectors_that_are_not_of_length_1_are_counted(value: float) -> None:
    vectors = unit_vectors(50)
    vectors[[3, 20, 49]] *= np.float32(value)
    with np.errstate(invalid="ignore"):
        assert exact_scan(batches(vectors, 8), unit_vectors(2, seed=1), 5).not_unit_length == 3


@pytest.mark.parametrize("rows", [1, 8, 50])
def test_vectors_that_are_not_numbers_give_way_to_those_that_are(rows: int) -> None:
    vectors, queries = unit_vectors(50), unit_vectors(2, seed=1)
    vectors[:5] = np.nan
    nearest = exact_scan(batches(vectors, rows), queries, 5).nearest
    expected = np.sort(queries @ vectors[5:].T, axis=1)[:, :-6:-1]
    np.testing.assert_allclose(nearest.scores, expected, atol=ATOL)
