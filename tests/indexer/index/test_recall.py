"""Recall against what a plain numpy search finds, and the queries that it is measured with."""

import numpy as np
import pytest

from indexer.index.kinds import FLAT
from indexer.index.recall import TuningQueries, candidate_scores, midpoints_of, recall_at_k
from indexer.index.vector_index import VectorIndex
from tests.indexer.index.toy_vectors import EPS, exact_neighbours, unit_vectors


def recall(index: VectorIndex, vectors: np.ndarray, queries: np.ndarray, k: int = 10) -> float:
    def search(some: np.ndarray, wanted: int) -> np.ndarray:
        return index.search(some, wanted).positions

    return recall_at_k(search, queries, exact_neighbours(vectors, queries, k), lambda positions: vectors[positions])


class HalfIndex(VectorIndex):
    """Finds the nearest of the first half only."""

    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__(VectorIndex.build([vectors[: len(vectors) // 2]]).backend, FLAT.spec_for(0, 1))


def test_recall_of_an_exact_index_is_1() -> None:
    vectors = unit_vectors(300)
    assert recall(VectorIndex.build([vectors]), vectors, unit_vectors(40, seed=1)) == 1.0


def test_recall_is_the_share_of_the_exact_ten() -> None:
    vectors, queries = unit_vectors(300), unit_vectors(40, seed=1)
    expected = (exact_neighbours(vectors, queries, 10).positions < 150).mean()
    assert recall(HalfIndex(vectors), vectors, queries) == pytest.approx(expected)
    assert expected < 0.7


def test_a_missing_match_does_not_count() -> None:
    vectors = unit_vectors(20)
    exact = exact_neighbours(vectors, vectors, 4)
    positions = np.where(np.arange(4) < 1, exact.positions, -1)
    assert recall_at_k(lambda *_: positions, vectors, exact, lambda rows: vectors[rows]) == 0.25


def test_recall_counts_any_of_several_equal_products() -> None:
    half = unit_vectors(20)
    vectors = np.concatenate([half, half])
    assert recall(HalfIndex(vectors), vectors, half, k=1) == 1.0


def test_recall_over_fewer_than_ten_products() -> None:
    vectors = unit_vectors(3)
    assert recall(VectorIndex.build([vectors]), vectors, vectors) == 1.0


def test_an_index_that_holds_its_vectors_in_another_order_has_no_recall() -> None:
    vectors = unit_vectors(300)
    assert recall(VectorIndex.build([vectors[::-1]]), vectors, unit_vectors(40, seed=1)) < 0.2


def test_scores_are_those_of_each_query_and_its_own_candidates() -> None:
    queries, candidates = unit_vectors(3), unit_vectors(15, seed=1).reshape(3, 5, 16)
    expected = [[query @ one for one in some] for query, some in zip(queries, candidates, strict=True)]
    np.testing.assert_allclose(candidate_scores(queries, candidates), expected, atol=16 * EPS)  # a sum of 16 terms


class TestMidpoints:
    def test_they_are_as_near_to_one_vector_as_to_the_other_and_of_length_1(self) -> None:
        vectors = unit_vectors(10)
        midpoints = midpoints_of(vectors)
        np.testing.assert_allclose(np.linalg.norm(midpoints, axis=1), 1, atol=16 * EPS)
        one, other = (np.vecdot(midpoints, side) for side in (vectors, np.roll(vectors, 5, axis=0)))
        np.testing.assert_allclose(one, other, atol=2 * 16 * EPS)

    def test_opposite_vectors_and_a_single_one_have_none(self) -> None:
        vectors = unit_vectors(1)
        assert midpoints_of(np.concatenate([vectors, -vectors])).shape == (0, 16)
        assert midpoints_of(vectors).shape == (0, 16)


class TestTuningQueries:
    def queries(self, count: int, rows: np.ndarray) -> TuningQueries:
        vectors = unit_vectors(count)
        nearest, none = exact_neighbours(vectors, vectors[rows], 11), exact_neighbours(vectors, vectors[:0], 11)
        return TuningQueries(vectors[rows], rows, nearest, vectors[:0], none, lambda at: vectors[at], count)

    def test_they_are_held_out_of_training_unless_the_catalogue_is_small(self) -> None:
        rows = np.arange(10)
        assert self.queries(200, rows).held_out is rows
        assert self.queries(199, rows).held_out is None

    def test_without_midpoints_products_are_timed(self) -> None:
        queries = self.queries(20, np.arange(5))
        assert queries.like_sessions is queries.products

    def test_a_product_that_finds_itself_has_found_nothing(self) -> None:
        queries = self.queries(20, np.arange(5))
        itself = np.repeat(np.arange(5)[:, None], 11, axis=1)
        assert queries.recall_of(lambda *_: itself) == 0.0
