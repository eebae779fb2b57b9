"""Recall against what a plain numpy search finds."""

import numpy as np
import pytest

from indexer.index.kinds import FLAT
from indexer.index.recall import recall_at_k, scores_of
from indexer.index.vector_index import Neighbours, VectorIndex


def unit_vectors(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def nearest(vectors: np.ndarray, queries: np.ndarray, k: int) -> Neighbours:
    scores = queries @ vectors.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Neighbours(np.take_along_axis(scores, order, axis=1), order)


def recall(index: VectorIndex, vectors: np.ndarray, queries: np.ndarray, k: int = 10) -> float:
    def search(asked: np.ndarray, wanted: int) -> np.ndarray:
        return index.search(asked, wanted).positions

    return recall_at_k(search, queries, nearest(vectors, queries, k), lambda positions: vectors[positions])


class Poor(VectorIndex):
    """Finds the nearest of the first half only."""

    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__(VectorIndex.build([vectors[: len(vectors) // 2]]).engine, FLAT.form(0, 1))


def test_recall_of_an_exact_index_is_1() -> None:
    vectors = unit_vectors(300)
    assert recall(VectorIndex.build([vectors]), vectors, unit_vectors(40, seed=1)) == 1.0


def test_recall_is_the_share_of_the_exact_ten() -> None:
    vectors, asked = unit_vectors(300), unit_vectors(40, seed=1)
    expected = (nearest(vectors, asked, 10).positions < 150).mean()
    assert recall(Poor(vectors), vectors, asked) == pytest.approx(expected)
    assert expected < 0.7


def test_what_is_not_found_does_not_count() -> None:
    vectors = unit_vectors(20)
    exact = nearest(vectors, vectors, 4)
    found = np.where(np.arange(4) < 1, exact.positions, -1)
    assert recall_at_k(lambda *_: found, vectors, exact, lambda positions: vectors[positions]) == 0.25


def test_recall_counts_any_of_several_equal_products() -> None:
    half = unit_vectors(20)
    vectors = np.concatenate([half, half])
    assert recall(Poor(vectors), vectors, half, k=1) == 1.0


def test_recall_over_fewer_than_ten_products() -> None:
    vectors = unit_vectors(3)
    assert recall(VectorIndex.build([vectors]), vectors, vectors) == 1.0


def test_an_index_whose_vectors_stand_in_another_order_has_no_recall() -> None:
    vectors = unit_vectors(300)
    assert recall(VectorIndex.build([vectors[::-1]]), vectors, unit_vectors(40, seed=1)) < 0.2


def test_scores_are_each_querys_with_its_own_candidates() -> None:
    queries, candidates = unit_vectors(3), unit_vectors(15, seed=1).reshape(3, 5, 16)
    expected = [[query @ one for one in some] for query, some in zip(queries, candidates, strict=True)]
    np.testing.assert_allclose(scores_of(queries, candidates), expected, atol=1e-6)
